/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* The calls of redirected RDMA as they come in registers. Order of checks: handles, then what hv_put_rtces checks. */
#include "redirect.h"

/* The table of a storage adapter of the caller's partition; null when the handle names none. */
static struct hv_adapter *hv_storage_of(struct hv_caller *caller, uint64_t liobn)
{
	uint64_t index = (liobn - HV_LIOBN_BASE) >> 2;
	struct hv_adapter *adapter;

	if (liobn < HV_LIOBN_BASE || index >= caller->state->adapters || liobn & 3)
		return 0;
	adapter = hv_adapter(caller->state, index);
	return adapter->storage && adapter->partition == caller->attachment->partition ? adapter : 0;
}

/* Big-endian I/O addresses in a page at a logical address; copied before they are looked at. */
static int hv_copy_list(struct hv_caller *caller, uint64_t list, uint64_t count, uint64_t copied[TCE_LIST])
{
	const struct hv_attachment *attachment = caller->attachment;
	uint64_t bytes = attachment->ram_bytes[attachment->partition];

	if (count > TCE_LIST || list % TCE_PAGE || list >= bytes || bytes - list < TCE_PAGE)
		return 0;
	memcpy(copied, attachment->ram[attachment->partition] + list, count * sizeof *copied);
	for (uint64_t index = 0; index < count; index++)
		copied[index] = hv_swap64(copied[index]);
	return 1;
}

/* Reads and changes attributes; of all there are, only the bit bucket's can be changed, where the platform has one. */
static int64_t hv_liobn_attributes(struct hv_caller *caller, uint64_t *r, struct hv_adapter **named)
{
	struct hv_adapter *storage = hv_storage_of(caller, r[0]);
	uint64_t changes = r[1] | r[2], allowed = caller->state->facts.bit_bucket ? LIOBN_BIT_BUCKET : 0, old;

	*named = storage;
	if (!storage || changes & ~allowed)
		return H_PARAMETER;
	old = __atomic_load_n(&storage->attributes, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&storage->attributes, &old, (old & ~r[1]) | r[2], 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	r[0] = (old & ~r[1]) | r[2];
	return H_SUCCESS;
}

int64_t hv_redirect_call(struct hv_caller *caller, uint64_t r[SEAM_REGISTERS], enum hv_call_index call, struct hv_adapter **named)
{
	int indirect = call == CALL_H_PUT_RTCE_INDIRECT;
	struct hv_cloning cloning = { .first = r[1], .ioba = r[3], .count = r[4] };
	uint64_t list[TCE_LIST], reached = 0;
	struct hv_pane client;
	int64_t code;

	if (call == CALL_H_LIOBN_ATTRIBUTES)
		return hv_liobn_attributes(caller, r, named);
	if (!hv_pane_of(caller, r[indirect], &client) || !(client.key & HV_LINKED))
		return H_PARAMETER;
	*named = client.through;
	cloning.client = &client;
	cloning.storage = hv_storage_of(caller, r[2]);
	if (!cloning.storage || !cloning.count)
		return H_PARAMETER;
	if (indirect) {
		if (!hv_copy_list(caller, r[0], cloning.count, list))
			return H_PARAMETER;
		cloning.list = list;
	}
	code = hv_fault(caller, client.through, call);
	if (code)
		return code;
	if (call == CALL_H_REMOVE_RTCE)
		return hv_remove_rtces(caller, &cloning);
	code = hv_put_rtces(caller, &cloning, &reached);
	if (code == H_R_PARM || code == H_IN_USE || code == H_RESOURCE)
		r[0] = reached;
	return code;
}
