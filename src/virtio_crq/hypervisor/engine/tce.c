/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* TCEs: what a partition shows of its memory. Taking back returns only when no call through the old entry runs. */
#include "redirect.h"

/* Kept in a stored TCE: what stood there before is being taken back, and is not yet. Not an access bit, never shown. */
#define TCE_PENDING 4u
#define TCE_KEPT (~(uint64_t)(TCE_PAGE - 1) | TCE_ACCESS)

static int hv_tce_valid(const struct hv_caller *caller, uint64_t tce)
{
	uint64_t page = tce & ~(uint64_t)(TCE_PAGE - 1);

	return !(tce & TCE_ACCESS) || (page < caller->own->memory && TCE_PAGE <= caller->own->memory - page);
}

/* Whether what stood in an entry is taken back by what comes: an entry stored once more as it is keeps its clones. */
static int hv_takes_back(uint64_t old, uint64_t tce)
{
	return (old & TCE_PENDING) || ((old & TCE_ACCESS) && old != tce);
}

/* Whether a clone that may not become a bit bucket stands behind an entry that is to be taken back. */
static int hv_held_by_clones(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t first, const uint64_t *tces,
			     uint64_t count, int one_value)
{
	const uint64_t *entries = hv_tces(caller->state, adapter) + first;

	for (uint64_t index = 0; index < count; index++)
		if (hv_takes_back(__atomic_load_n(&entries[index], __ATOMIC_RELAXED), tces[one_value ? 0 : index] & TCE_KEPT) &&
		    hv_clones_hold(caller->state, adapter, first + index, 1))
			return 1;
	return 0;
}

/* The entries from `first` to before `end`, which stand with their new values: no call runs through an old one. */
static int64_t hv_settle_run(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t first, uint64_t end)
{
	uint64_t *entries = hv_tces(caller->state, adapter);
	int64_t code = H_BUSY;

	if (!hv_range_in_use(caller->state, adapter, first * TCE_PAGE, (end - first) * TCE_PAGE))
		code = hv_revoke_clones(caller->state, adapter, first, end - first);
	for (uint64_t page = first; !code && page < end; page++)
		__atomic_fetch_and(&entries[page], ~(uint64_t)TCE_PENDING, __ATOMIC_RELAXED);
	return code;
}

/* The runs of entries that are marked, of all that were stored. */
static int64_t hv_settle(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t first, uint64_t count)
{
	const uint64_t *entries = hv_tces(caller->state, adapter);
	uint64_t page = first, run;
	int64_t code = H_SUCCESS;

	while (!code && page < first + count) {
		for (run = page; page < first + count && __atomic_load_n(&entries[page], __ATOMIC_RELAXED) & TCE_PENDING;)
			page++;
		if (page > run)
			code = hv_settle_run(caller, adapter, run, page);
		else
			page++;
	}
	return code;
}

/* Stores `count` entries, from a list or all of one value. H_Busy (our choice; LoPAR names no busy code for TCE calls):
 * the entries are stored, but a call through an old one still runs; the same call again waits for it. H_Resource: a clone
 * of an entry exists that may not become a bit bucket. */
int64_t hv_put_tces(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t ioba, const uint64_t *tces, uint64_t count,
		    int one_value)
{
	uint64_t first = ioba / TCE_PAGE;
	uint64_t *entries = hv_tces(caller->state, adapter) + first;
	int64_t code;
	int marked = 0;

	if (adapter->storage || count > adapter->window / TCE_PAGE || !hv_inside(adapter, ioba, count * TCE_PAGE) || ioba % TCE_PAGE)
		return H_PARAMETER;
	for (uint64_t index = 0; index < (one_value ? 1 : count); index++)
		if (!hv_tce_valid(caller, tces[index]))
			return H_PARAMETER;
	if (hv_held_by_clones(caller, adapter, first, tces, count, one_value))
		return H_RESOURCE;
	for (uint64_t index = 0; index < count; index++) {
		uint64_t tce = tces[one_value ? 0 : index] & TCE_KEPT;
		uint64_t mark = hv_takes_back(__atomic_load_n(&entries[index], __ATOMIC_RELAXED), tce) ? TCE_PENDING : 0;

		__atomic_store_n(&entries[index], tce | mark, __ATOMIC_RELEASE);
		marked |= !!mark;
		STOP(tce_stored);
	}
	if (!marked)
		return H_SUCCESS;
	hv_barrier();
	code = hv_settle(caller, adapter, first, count);
	if (code)
		STOP(tce_marked);
	else
		STOP(tce_settled);
	return code;
}

/* The list is a 4 KiB page of big-endian TCEs at a logical address; it is copied before it is looked at (LoPAR). */
int64_t hv_put_tce_indirect(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t ioba, uint64_t list, uint64_t count)
{
	const struct hv_attachment *attachment = caller->attachment;
	uint64_t bytes = attachment->ram_bytes[attachment->partition];
	uint64_t copied[TCE_LIST];

	if (count > TCE_LIST || list % TCE_PAGE || list >= bytes || bytes - list < TCE_PAGE)
		return H_PARAMETER;
	memcpy(copied, attachment->ram[attachment->partition] + list, count * sizeof *copied);
	for (uint64_t index = 0; index < count; index++)
		copied[index] = hv_swap64(copied[index]);
	return hv_put_tces(caller, adapter, ioba, copied, count, 0);
}

void hv_clear_tces(struct hv_header *state, struct hv_adapter *adapter)
{
	uint64_t *entries = hv_tces(state, adapter);

	/* Most of a window was never mapped: reading first leaves its pages of the table unallocated. */
	for (uint64_t index = 0; index < adapter->window / TCE_PAGE; index++)
		if (__atomic_load_n(&entries[index], __ATOMIC_RELAXED))
			__atomic_store_n(&entries[index], 0, __ATOMIC_RELEASE);
}
