// SPDX-License-Identifier: GPL-2.0-only
/*
 * The window's entries of lent pages: many are made and taken back in a call.
 *
 * A call that is busy, or that a clone in use holds up (CRQ-F-95), is made
 * again, but not for ever, since interrupts are off.  A page that the platform
 * keeps for VCRQ_BUSY_MOST is stuck: from then on it is tried by itself, once
 * whenever somebody needs it back, and as long as one is stuck nobody waits
 * that long for another.  Its address stays taken.
 */
#include <linux/bitmap.h>
#include <linux/ktime.h>
#include <asm/firmware.h>
#include <asm/hvcall.h>
#include <asm/plpar_wrappers.h>

#include "lend.h"

#define VCRQ_GAP_MOST	8	/* unused pages between two, that one call goes over */
#define VCRQ_BUSY_MOST	NSEC_PER_SEC
#define VCRQ_BUSY_LEAST	NSEC_PER_MSEC	/* much longer than any copy */

/* Until when busy calls are made again. */
static u64 vcrq_patience(bool least)
{
	return ktime_get_mono_fast_ns() +
	       (least ? VCRQ_BUSY_LEAST : VCRQ_BUSY_MOST);
}

static bool vcrq_call_again(long rc, u64 until)
{
	return (rc == H_BUSY || rc == H_RESOURCE || H_IS_LONG_BUSY(rc)) &&
	       ktime_get_mono_fast_ns() < until;
}

/* loans->lock is held. */
static bool vcrq_enter_one(struct vcrq_adapter *adapter, unsigned int page,
			   unsigned long entry, u64 until)
{
	struct vcrq_loans *loans = adapter->loans;
	long rc;

	do {
		rc = plpar_tce_put(adapter->liobn,
				   vcrq_lent_address(loans, page), entry);
		loans->calls++;
	} while (vcrq_call_again(rc, until));
	return rc == H_SUCCESS;
}

static unsigned long vcrq_entry_of(const struct vcrq_loan *loan)
{
	return loan->users ? __pa(loan->page) | loan->access : 0;
}

/* loans->lock is held.  What is in between is empty, and stays so. */
static bool vcrq_enter_run(struct vcrq_adapter *adapter, unsigned int first,
			   unsigned int end, u64 until)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned int page;
	long rc = H_FUNCTION;

	if (end - first > 1 && firmware_has_feature(FW_FEATURE_PUT_TCE_IND)) {
		for (page = first; page < end; page++)
			loans->list[page - first] =
				cpu_to_be64(vcrq_entry_of(&loans->loans[page]));
		do {
			rc = plpar_tce_put_indirect(adapter->liobn,
						    vcrq_lent_address(loans, first),
						    __pa(loans->list), end - first);
			loans->calls++;
		} while (vcrq_call_again(rc, until));
	}
	for (page = first; rc != H_SUCCESS && page < end; page++)
		if (loans->loans[page].users &&
		    !vcrq_enter_one(adapter, page,
				    vcrq_entry_of(&loans->loans[page]), until))
			return false;
	return true;
}

/* loans->lock is held.  What of the run's stale pages does not come back is stuck. */
static void vcrq_clear_run(struct vcrq_adapter *adapter, unsigned int first,
			   unsigned int end, u64 until)
{
	struct vcrq_loans *loans = adapter->loans;
	long rc = H_FUNCTION;
	unsigned int page;

	if (end - first > 1 && firmware_has_feature(FW_FEATURE_STUFF_TCE)) {
		do {
			rc = plpar_tce_stuff(adapter->liobn,
					     vcrq_lent_address(loans, first), 0,
					     end - first);
			loans->calls++;
		} while (vcrq_call_again(rc, until));
	}
	for (page = first; rc != H_SUCCESS && page < end; page++) {
		if (!test_bit(page, loans->stale) ||
		    vcrq_enter_one(adapter, page, 0, until))
			continue;
		__set_bit(page, loans->stuck);
		loans->stuck_count++;
	}
	bitmap_clear(loans->stale, first, end - first);
}

/*
 * loans->lock is held.  The end of a run of marked pages that begins at
 * `first`.  It goes over some that are not marked, but over none that is in the
 * table: to enter a page once more is to revoke its clones (LoPAR).
 */
static unsigned int vcrq_run_end(const struct vcrq_loans *loans,
				 const unsigned long *marked,
				 unsigned int first)
{
	unsigned int end = first + 1, next, at;

	while ((next = find_next_bit(marked, loans->count, end)) < loans->count &&
	       next - end <= VCRQ_GAP_MOST && next - first < VCRQ_LIST_MOST) {
		for (at = end; at < next; at++)
			if (loans->loans[at].users ||
			    test_bit(at, loans->stale) ||
			    test_bit(at, loans->stuck))
				return end;
		end = next + 1;
	}
	return end;
}

/*
 * Any context: what marked pages an announcement relies on is in the table
 * afterwards.  False: the platform refused one, and nothing is to be announced.
 */
bool vcrq_lend_enter(struct vcrq_adapter *adapter)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned int first, end;
	unsigned long flags;
	bool entered = true;
	u64 until;

	if (!loans || !READ_ONCE(loans->any_due))
		return true;
	spin_lock_irqsave(&loans->lock, flags);
	until = vcrq_patience(loans->refused);
	for (first = find_first_bit(loans->due, loans->count);
	     first < loans->count && entered;
	     first = find_next_bit(loans->due, loans->count, end)) {
		end = vcrq_run_end(loans, loans->due, first);
		entered = vcrq_enter_run(adapter, first, end, until);
		if (entered)
			bitmap_clear(loans->due, first, end - first);
	}
	WRITE_ONCE(loans->any_due, !entered);
	if (!entered)
		loans->refused = true;
	spin_unlock_irqrestore(&loans->lock, flags);
	return entered;
}

/* loans->lock is held.  No copy runs through what was stale, but for what is stuck now. */
void vcrq_take_back(struct vcrq_adapter *adapter)
{
	struct vcrq_loans *loans = adapter->loans;
	u64 until = vcrq_patience(loans->stuck_count);
	unsigned int first, end;

	for (first = find_first_bit(loans->stale, loans->count);
	     first < loans->count;
	     first = find_next_bit(loans->stale, loans->count, end)) {
		end = vcrq_run_end(loans, loans->stale, first);
		vcrq_clear_run(adapter, first, end, until);
	}
	WRITE_ONCE(loans->any_owed, loans->stuck_count);
}

/* loans->lock is held.  One call for a stuck page: it may have come free. */
void vcrq_try_stuck(struct vcrq_adapter *adapter, unsigned int page)
{
	struct vcrq_loans *loans = adapter->loans;

	if (!vcrq_enter_one(adapter, page, 0, 0))
		return;
	__clear_bit(page, loans->stuck);
	loans->stuck_count--;
	if (!loans->loans[page].page)
		__clear_bit(page, loans->busy);
}

/*
 * Any context: what was given back is out of the server's reach afterwards.
 * False: something of this device's is not, and its driver may not have it
 * (CRQ-F-99).  Other devices' drivers are told when they ask.
 */
bool vcrq_lend_recall(const struct vcrq_device *device)
{
	struct vcrq_adapter *adapter = device->adapter;
	struct vcrq_loans *loans = adapter->loans;
	unsigned long flags;
	unsigned int page;
	bool back = true;

	if (!loans || !READ_ONCE(loans->any_owed))
		return true;
	spin_lock_irqsave(&loans->lock, flags);
	for_each_set_bit(page, loans->stuck, loans->count)
		vcrq_try_stuck(adapter, page);
	vcrq_take_back(adapter);
	for_each_set_bit(page, loans->stuck, loans->count)
		if (loans->loans[page].page &&
		    loans->loans[page].device == device)
			back = false;
	spin_unlock_irqrestore(&loans->lock, flags);
	return back;
}
