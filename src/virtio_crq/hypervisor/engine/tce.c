/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* TCEs: what a partition shows of its memory. Taking back returns only when no call through the old entry runs. */
#include "redirect.h"

/* Kept in a stored TCE: a revocation was answered H_Busy and is not over. Not an access bit, never shown. */
#define TCE_PENDING 4u
#define TCE_KEPT (~(uint64_t)(TCE_PAGE - 1) | TCE_ACCESS)

static int hv_tce_valid(const struct hv_caller *caller, uint64_t tce)
{
	uint64_t page = tce & ~(uint64_t)(TCE_PAGE - 1);

	return !(tce & TCE_ACCESS) || (page < caller->own->memory && TCE_PAGE <= caller->own->memory - page);
}

static void hv_mark_pending(uint64_t *entries, uint64_t count)
{
	for (uint64_t index = 0; index < count; index++)
		__atomic_fetch_or(&entries[index], TCE_PENDING, __ATOMIC_RELAXED);
	STOP(tce_marked);
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
	int revokes = 0;

	if (adapter->storage || count > adapter->window / TCE_PAGE || !hv_inside(adapter, ioba, count * TCE_PAGE) || ioba % TCE_PAGE)
		return H_PARAMETER;
	for (uint64_t index = 0; index < (one_value ? 1 : count); index++)
		if (!hv_tce_valid(caller, tces[index]))
			return H_PARAMETER;
	if (hv_clones_hold(caller->state, adapter, first, count))
		return H_RESOURCE;
	for (uint64_t index = 0; index < count; index++) {
		uint64_t tce = tces[one_value ? 0 : index] & TCE_KEPT;
		uint64_t old = __atomic_load_n(&entries[index], __ATOMIC_RELAXED);

		revokes |= (old & TCE_PENDING) || ((old & TCE_ACCESS) && old != tce);
		__atomic_store_n(&entries[index], tce, __ATOMIC_RELEASE);
		STOP(tce_stored);
	}
	if (!revokes)
		return H_SUCCESS;
	hv_barrier();
	code = hv_range_in_use(caller->state, adapter, ioba, count * TCE_PAGE) ? H_BUSY : H_SUCCESS;
	if (!code)
		code = hv_revoke_clones(caller->state, adapter, first, count);
	if (code)
		hv_mark_pending(entries, count);
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
