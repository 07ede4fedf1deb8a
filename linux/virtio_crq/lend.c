// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O addresses that are lent: a buffer within one IOMMU page has its address
 * when its driver maps it, but the page is in the window's table only from the
 * announcement of its request (CRQ-F-98) until its completion was read, before
 * the driver sees that (CRQ-F-99).  So one call enters the pages of many
 * requests, another one takes many back, and no byte is copied.
 *
 * A driver's unmap takes back what still is in the table, whatever became of
 * the request: after it the server reaches nothing, as after the platform's.
 *
 * The addresses are reserved from the platform as one mapping, whose entries
 * are cleared at once.  Buffers that cross a page, or come when no address is
 * free, the platform maps.  They are given in turn, those of buffers that travel
 * in records apart from the others: so the data of requests that are announced
 * together has neighbouring addresses, which one call enters, and one of the
 * server's copies goes on from one request's pages to the next one's.
 */
#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <asm/firmware.h>
#include <asm/hvcall.h>
#include <asm/plpar_wrappers.h>

#include "virtio_crq.h"

#define VCRQ_LIST_MOST	(VCRQ_IOMMU_PAGE / sizeof(__be64))	/* entries in one call */
#define VCRQ_GAP_MOST	8	/* unused pages between two, that one call goes over */
#define VCRQ_CARRIED_SHARE	3	/* header, data and status: one in three is not carried */
#define VCRQ_BUSY_MOST	NSEC_PER_SEC	/* for which a busy call is repeated */
#define VCRQ_READABLE	1UL
#define VCRQ_WRITABLE	2UL

struct vcrq_loan {
	void *page;		/* an IOMMU page of the driver's */
	u16 access;
	u16 users;		/* announced requests that name it, or about to be */
};

struct vcrq_loans {
	spinlock_t lock;	/* any context, innermost */
	unsigned int count;	/* pages */
	unsigned int next;	/* where an address is looked for */
	unsigned int next_carried;	/* the same for what records carry */
	dma_addr_t dma;
	unsigned long *busy;	/* has a buffer */
	unsigned long *due;	/* to be entered before the next announcement */
	unsigned long *stale;	/* to be taken back before drivers go on */
	bool any_due;
	bool any_stale;
	bool refused;		/* the platform entered a page not: no more are lent */
	__be64 *list;
	u64 entered;		/* pages */
	u64 calls;		/* for them, both ways */
	u64 passed;		/* buffers that found no address */
	struct vcrq_loan loans[];
};

/* Whether an I/O address is one of these; its page's number. */
static bool vcrq_is_lent(const struct vcrq_loans *loans, u64 dma,
			 unsigned int *page)
{
	if (!loans || dma < loans->dma)
		return false;
	dma = (dma - loans->dma) / VCRQ_IOMMU_PAGE;
	*page = dma;
	return dma < loans->count;
}

static u64 vcrq_lent_address(const struct vcrq_loans *loans, unsigned int page)
{
	return loans->dma + (u64)page * VCRQ_IOMMU_PAGE;
}

/*
 * Busy answers, and a clone that is in use (CRQ-F-95): the same call again.  Not
 * for ever, since interrupts are off: a server that keeps its copy going has
 * its session ended.
 */
static bool vcrq_call_again(long rc, u64 begun)
{
	return (rc == H_BUSY || rc == H_RESOURCE || H_IS_LONG_BUSY(rc)) &&
	       ktime_get_mono_fast_ns() - begun < VCRQ_BUSY_MOST;
}

/* loans->lock is held. */
static bool vcrq_enter_one(struct vcrq_adapter *adapter, unsigned int page,
			   unsigned long entry)
{
	struct vcrq_loans *loans = adapter->loans;
	u64 begun = ktime_get_mono_fast_ns();
	long rc;

	do {
		rc = plpar_tce_put(adapter->liobn,
				   vcrq_lent_address(loans, page), entry);
		loans->calls++;
	} while (vcrq_call_again(rc, begun));
	return rc == H_SUCCESS;
}

static unsigned long vcrq_entry_of(const struct vcrq_loan *loan)
{
	return loan->users ? __pa(loan->page) | loan->access : 0;
}

/* loans->lock is held.  What is in between is empty, and stays so. */
static bool vcrq_enter_run(struct vcrq_adapter *adapter, unsigned int first,
			   unsigned int pages)
{
	struct vcrq_loans *loans = adapter->loans;
	u64 begun = ktime_get_mono_fast_ns();
	unsigned int at;
	long rc = H_FUNCTION;

	if (pages > 1 && firmware_has_feature(FW_FEATURE_PUT_TCE_IND)) {
		for (at = 0; at < pages; at++)
			loans->list[at] =
				cpu_to_be64(vcrq_entry_of(&loans->loans[first + at]));
		do {
			rc = plpar_tce_put_indirect(adapter->liobn,
						    vcrq_lent_address(loans, first),
						    __pa(loans->list), pages);
			loans->calls++;
		} while (vcrq_call_again(rc, begun));
	}
	for (at = 0; rc != H_SUCCESS && at < pages; at++)
		if (loans->loans[first + at].users &&
		    !vcrq_enter_one(adapter, first + at,
				    vcrq_entry_of(&loans->loans[first + at])))
			return false;
	return true;
}

/* loans->lock is held.  None of them has users. */
static bool vcrq_clear_run(struct vcrq_adapter *adapter, unsigned int first,
			   unsigned int pages)
{
	struct vcrq_loans *loans = adapter->loans;
	u64 begun = ktime_get_mono_fast_ns();
	long rc = H_FUNCTION;
	unsigned int at;

	if (pages > 1 && firmware_has_feature(FW_FEATURE_STUFF_TCE)) {
		do {
			rc = plpar_tce_stuff(adapter->liobn,
					     vcrq_lent_address(loans, first), 0,
					     pages);
			loans->calls++;
		} while (vcrq_call_again(rc, begun));
	}
	for (at = 0; rc != H_SUCCESS && at < pages; at++)
		if (!vcrq_enter_one(adapter, first + at, 0))
			return false;
	return true;
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
			if (loans->loans[at].users || test_bit(at, loans->stale))
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

	if (!loans || !READ_ONCE(loans->any_due))
		return true;
	spin_lock_irqsave(&loans->lock, flags);
	for (first = find_first_bit(loans->due, loans->count);
	     first < loans->count && entered;
	     first = find_next_bit(loans->due, loans->count, end)) {
		end = vcrq_run_end(loans, loans->due, first);
		entered = vcrq_enter_run(adapter, first, end - first);
		if (entered)
			bitmap_clear(loans->due, first, end - first);
	}
	WRITE_ONCE(loans->any_due, !entered);
	if (!entered)
		loans->refused = true;
	spin_unlock_irqrestore(&loans->lock, flags);
	return entered;
}

/* loans->lock is held.  True when no copy runs through what was marked. */
static bool vcrq_recall(struct vcrq_adapter *adapter)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned int first, end;
	bool cleared = true;

	for (first = find_first_bit(loans->stale, loans->count);
	     first < loans->count && cleared;
	     first = find_next_bit(loans->stale, loans->count, end)) {
		end = vcrq_run_end(loans, loans->stale, first);
		cleared = vcrq_clear_run(adapter, first, end - first);
		if (cleared)
			bitmap_clear(loans->stale, first, end - first);
	}
	WRITE_ONCE(loans->any_stale, !cleared);
	return cleared;
}

/*
 * Any context: what was given back is out of the server's reach afterwards.
 * False: it is not, and its driver may not have it (CRQ-F-99).
 */
bool vcrq_lend_recall(struct vcrq_adapter *adapter)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned long flags;
	bool cleared;

	if (!loans || !READ_ONCE(loans->any_stale))
		return true;
	spin_lock_irqsave(&loans->lock, flags);
	cleared = vcrq_recall(adapter);
	spin_unlock_irqrestore(&loans->lock, flags);
	return cleared;
}

/* Any context: a request that is about to be announced names this address. */
void vcrq_lend(struct vcrq_adapter *adapter, u64 dma)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned long flags;
	unsigned int page;

	if (!vcrq_is_lent(loans, dma, &page))
		return;
	spin_lock_irqsave(&loans->lock, flags);
	if (!loans->loans[page].users++) {
		__clear_bit(page, loans->stale);
		__set_bit(page, loans->due);
		WRITE_ONCE(loans->any_due, true);
		loans->entered++;
	}
	spin_unlock_irqrestore(&loans->lock, flags);
}

/* Any context: that request was used; vcrq_lend_recall() is to follow. */
void vcrq_give_back(struct vcrq_adapter *adapter, u64 dma)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned long flags;
	unsigned int page;

	if (!vcrq_is_lent(loans, dma, &page))
		return;
	spin_lock_irqsave(&loans->lock, flags);
	if (loans->loans[page].users && !--loans->loans[page].users) {
		__clear_bit(page, loans->due);
		__set_bit(page, loans->stale);
		WRITE_ONCE(loans->any_stale, true);
	}
	spin_unlock_irqrestore(&loans->lock, flags);
}

/* Any context.  Where a lent address leads in own memory, or NULL. */
void *vcrq_lent_memory(struct vcrq_adapter *adapter, u64 dma)
{
	unsigned int page;

	if (!vcrq_is_lent(adapter->loans, dma, &page))
		return NULL;
	return adapter->loans->loans[page].page + dma % VCRQ_IOMMU_PAGE;
}

/*
 * loans->lock is held.  A page without a buffer: the next one from `begin` to
 * before `end`, and another only if these are taken; loans->count: none is free.
 */
static unsigned int vcrq_free_page(struct vcrq_loans *loans, unsigned int begin,
				   unsigned int end, unsigned int *next)
{
	unsigned int page;

	page = find_next_zero_bit(loans->busy, end, max(*next, begin));
	if (page >= end)
		page = find_next_zero_bit(loans->busy, end, begin);
	if (page >= end)
		page = find_first_zero_bit(loans->busy, loans->count);
	*next = page + 1;
	return page;
}

/* loans->lock is held.  The same for a buffer that a record carries, and for others. */
static unsigned int vcrq_choose_page(struct vcrq_adapter *adapter, bool carried)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned int border = loans->count / VCRQ_CARRIED_SHARE;

	if (carried)
		return vcrq_free_page(loans, border, loans->count,
				      &loans->next_carried);
	return vcrq_free_page(loans, 0, READ_ONCE(adapter->push) ? border :
			      loans->count, &loans->next);
}

/* Any context.  False: the platform is to map it. */
bool vcrq_lend_map(struct vcrq_adapter *adapter, void *memory, size_t size,
		   enum dma_data_direction direction, bool carried,
		   dma_addr_t *dma)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned int offset = (unsigned long)memory % VCRQ_IOMMU_PAGE;
	unsigned long flags;
	unsigned int page;

	if (!loans || loans->refused || !size ||
	    offset + size > VCRQ_IOMMU_PAGE)
		return false;
	spin_lock_irqsave(&loans->lock, flags);
	page = vcrq_choose_page(adapter, carried);
	if (page >= loans->count) {
		loans->passed++;
		spin_unlock_irqrestore(&loans->lock, flags);
		return false;
	}
	__set_bit(page, loans->busy);
	loans->loans[page] = (struct vcrq_loan) {
		.page = memory - offset,
		.access = (direction != DMA_FROM_DEVICE ? VCRQ_READABLE : 0) |
			  (direction != DMA_TO_DEVICE ? VCRQ_WRITABLE : 0),
	};
	spin_unlock_irqrestore(&loans->lock, flags);
	*dma = vcrq_lent_address(loans, page) + offset;
	return true;
}

/* Any context.  False: the address was not lent. */
bool vcrq_lend_unmap(struct vcrq_adapter *adapter, dma_addr_t dma)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned long flags;
	unsigned int page;

	if (!vcrq_is_lent(loans, dma, &page))
		return false;
	spin_lock_irqsave(&loans->lock, flags);
	if (loans->loans[page].users) {
		/* Its request was not used: the queue or the device was reset. */
		loans->loans[page].users = 0;
		__clear_bit(page, loans->due);
		__set_bit(page, loans->stale);
	}
	/* An address that still leads to this buffer is no other's. */
	if (!test_bit(page, loans->stale) || vcrq_recall(adapter))
		__clear_bit(page, loans->busy);
	spin_unlock_irqrestore(&loans->lock, flags);
	return true;
}

/* Process context: nothing of the window is there, and nobody gets these addresses. */
static int vcrq_reserve(struct vcrq_adapter *adapter, struct vcrq_loans *loans)
{
	size_t bytes = (size_t)loans->count * VCRQ_IOMMU_PAGE;
	void *memory = alloc_pages_exact(bytes, GFP_KERNEL | __GFP_ZERO |
						__GFP_NOWARN);
	unsigned int page;
	bool cleared = true;

	if (!memory)
		return -ENOMEM;
	loans->dma = dma_map_single(vcrq_dev(adapter), memory, bytes,
				    DMA_TO_DEVICE);
	if (dma_mapping_error(vcrq_dev(adapter), loans->dma)) {
		free_pages_exact(memory, bytes);
		return -ENOMEM;
	}
	adapter->loans = loans;
	for (page = 0; page < loans->count && cleared; page += VCRQ_LIST_MOST)
		cleared = vcrq_clear_run(adapter, page,
					 min_t(unsigned int, VCRQ_LIST_MOST,
					       loans->count - page));
	if (!cleared) {
		adapter->loans = NULL;
		dma_unmap_single(vcrq_dev(adapter), loans->dma, bytes,
				 DMA_TO_DEVICE);
	}
	loans->calls = 0;
	free_pages_exact(memory, bytes);
	return cleared ? 0 : -EIO;
}

static void vcrq_drop_loans(struct vcrq_loans *loans)
{
	bitmap_free(loans->busy);
	bitmap_free(loans->due);
	bitmap_free(loans->stale);
	free_page((unsigned long)loans->list);
	kvfree(loans);
}

/*
 * Process context, probe, before any device is there.  An indirect table's
 * buffers are not seen, and so not lent.
 */
void vcrq_make_loans(struct vcrq_adapter *adapter)
{
	u64 bytes = (u64)vcrq_lend_kib * SZ_1K;
	unsigned int count = bytes / VCRQ_IOMMU_PAGE;
	struct vcrq_loans *loans;
	int error = -ENOMEM;

	if (!count || vcrq_indirect || bytes > adapter->window / VCRQ_POOL_SHARE)
		return;
	loans = kvzalloc(struct_size(loans, loans, count), GFP_KERNEL);
	if (!loans)
		return;
	spin_lock_init(&loans->lock);
	loans->count = count;
	loans->busy = bitmap_zalloc(count, GFP_KERNEL);
	loans->due = bitmap_zalloc(count, GFP_KERNEL);
	loans->stale = bitmap_zalloc(count, GFP_KERNEL);
	loans->list = (__be64 *)get_zeroed_page(GFP_KERNEL);
	if (loans->busy && loans->due && loans->stale && loans->list)
		error = vcrq_reserve(adapter, loans);
	if (error) {
		/* The platform maps everything, as it did before there were loans. */
		vcrq_drop_loans(loans);
		return;
	}
	adapter->window_left -= bytes;
}

/* Process context, no device is left, and the platform's operations are back. */
void vcrq_free_loans(struct vcrq_adapter *adapter)
{
	struct vcrq_loans *loans = adapter->loans;

	if (!loans)
		return;
	adapter->loans = NULL;
	dma_unmap_single(vcrq_dev(adapter), loans->dma,
			 (size_t)loans->count * VCRQ_IOMMU_PAGE, DMA_TO_DEVICE);
	vcrq_drop_loans(loans);
}

/* Process context: how many pages were entered, and by how many calls, both ways. */
static ssize_t loans_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct vcrq_adapter *adapter = dev_get_drvdata(dev);
	struct vcrq_loans *loans = adapter ? adapter->loans : NULL;
	u64 entered, calls, passed;

	if (!loans)
		return sysfs_emit(buf, "none\n");
	spin_lock_irq(&loans->lock);
	entered = loans->entered;
	calls = loans->calls;
	passed = loans->passed;
	spin_unlock_irq(&loans->lock);
	return sysfs_emit(buf, "pages %u\nentered %llu\ncalls %llu\npassed %llu\n",
			  loans->count, entered, calls, passed);
}
DEVICE_ATTR_RO(loans);
