/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* After a death: what the machine does in the dead partition's place. No thread of it runs any more. */
#define _GNU_SOURCE
#include <fcntl.h>

#include "redirect.h"

/* Finishes or undoes the enqueue that was cut off. The ring is still the partner's: the dead call's publication has
 * kept the partner's H_FREE_CRQ and its TCEs waiting. */
static void hv_recover_intent(struct hv_caller *caller, struct hv_adapter *adapter)
{
	struct hv_sender *send = &adapter->send;
	const struct hv_attachment *attachment = caller->attachment;
	struct hv_adapter *to;
	const uint64_t *slot;
	uint64_t found;

	if (!__atomic_load_n(&send->intent, __ATOMIC_ACQUIRE))
		return;
	to = hv_adapter(caller->state, adapter->partner);
	slot = (const uint64_t *)(attachment->ram[to->partition] + send->place);
	found = hv_swap64(__atomic_load_n(slot, __ATOMIC_ACQUIRE));
	/* The header is clear and the mark still there: never visible. Otherwise it is there, or was seen and freed. */
	if (found != hv_slot_mark(send->high)) {
		if (send->cursor == send->at)
			send->cursor = send->at + HV_ENTRY == to->length ? 0 : send->at + HV_ENTRY;
		hv_raise(caller, adapter);
	}
	__atomic_store_n(&send->intent, 0, __ATOMIC_RELEASE);
}

static void hv_drop_publications(struct hv_header *state, uint64_t first, uint64_t *claimed, uint64_t count)
{
	for (uint64_t index = 0; index < count; index++)
		hv_withdraw(hv_publication(state, first + index));
	__atomic_store_n(claimed, 0, __ATOMIC_RELEASE);
}

static void hv_recover(struct hv_caller *caller)
{
	struct hv_header *state = caller->state;
	struct hv_partition *own = caller->own;

	for (uint32_t index = 0; index < own->adapters; index++) {
		hv_recover_intent(caller, hv_adapter(state, own->first_adapter + index));
		hv_sub_recover(caller, hv_adapter(state, own->first_adapter + index));
	}
	for (uint32_t index = 0; index < own->adapters; index++) {
		struct hv_adapter *adapter = hv_adapter(state, own->first_adapter + index);

		hv_drop_publications(state, adapter->publications, &adapter->claimed, HV_ADAPTER_PUBLICATIONS);
		adapter->lock = adapter->send.lock = 0;
	}
	hv_drop_publications(state, own->publications, &own->claimed, HV_GENERAL_PUBLICATIONS);
}

/* Nobody waits any more who died; and the dead obstruct nothing. */
static void hv_withdraw_alarms(struct hv_caller *caller)
{
	struct hv_partition *own = caller->own;

	__atomic_store_n(&own->obstructs, 0, __ATOMIC_RELEASE);
	for (uint32_t index = 0; index < own->adapters; index++) {
		const struct hv_adapter *adapter = hv_adapter(caller->state, own->first_adapter + index);

		if (adapter->partner != HV_NONE)
			__atomic_store_n(&hv_partition(caller->state, hv_adapter(caller->state, adapter->partner)->partition)->obstructs, 0,
					 __ATOMIC_RELEASE);
	}
}

/* A caller in the dead partition's place. Older callers, should any still exist, are refused from here on. */
static int64_t hv_reaper(struct hv_caller *caller, struct hv_attachment *attachment)
{
	__atomic_add_fetch(&attachment->own->generation, 1, __ATOMIC_ACQ_REL);
	memset(caller, 0, offsetof(struct hv_caller, segment));
	caller->attachment = attachment;
	caller->state = attachment->state;
	caller->own = attachment->own;
	caller->general = 1;
	caller->counters = hv_counters(caller->state, caller->own->counters);
	hv_recover(caller);
	hv_withdraw_alarms(caller);
	return hv_caller_open(caller, attachment);
}

/* Recover, close every queue with 0xFF01 to the partner, take all TCEs back, each after those inside have left. The
 * machine then zeroes the RAM. H_BUSY: some live partition's call is still inside one of the windows. */
int64_t hv_reap(struct hv_attachment *attachment)
{
	struct hv_header *state = attachment->state;
	struct hv_caller caller;
	int64_t code = hv_reaper(&caller, attachment);

	if (code)
		return code;
	for (uint32_t index = 0; index < attachment->own->adapters; index++) {
		struct hv_adapter *adapter = hv_adapter(state, attachment->own->first_adapter + index);

		/* Who was let in while the partition lived is done first: to a send, a queue without pages would look full. */
		if (hv_close(&caller, adapter, EVENT_PARTNER_FAILED)) {
			code = H_BUSY;
			continue;
		}
		if (adapter->storage)
			continue;
		hv_clear_tces(state, adapter);
		adapter->prepare_suspend = adapter->suspend_ready = 0;
		hv_barrier();
		if (hv_range_in_use(state, adapter, 0, adapter->window))
			code = H_BUSY;
	}
	for (uint32_t index = 0; !code && index < attachment->own->adapters; index++) {
		struct hv_adapter *adapter = hv_adapter(state, attachment->own->first_adapter + index);

		if (adapter->storage)
			hv_clear_slots(state, adapter);
	}
	hv_caller_close(&caller);
	return code;
}

int hv_obstructs(struct hv_header *state, uint32_t partition)
{
	return (int)__atomic_load_n(&hv_partition(state, partition)->obstructs, __ATOMIC_ACQUIRE);
}

/* As the platform itself sends events: from the partner's end, which `attachment` stands for; so `unit_address` is the
 * partner's. 0x06 also disables the receiver's queue until H_ENABLE_CRQ. */
int64_t hv_post_event(struct hv_attachment *attachment, uint64_t unit_address, uint64_t code)
{
	struct hv_adapter *from = hv_find(attachment->state, attachment->own, unit_address);
	struct hv_caller caller;
	int64_t answer;

	if (!from || from->partner == HV_NONE)
		return H_PARAMETER;
	memset(&caller, 0, offsetof(struct hv_caller, segment));
	answer = hv_caller_open(&caller, attachment);
	if (answer)
		return answer;
	answer = hv_send_event(&caller, from, code, HV_ANY_REGISTRATION, 0);
	hv_caller_close(&caller);
	return answer;
}

/* Holes, not stores: a write that the kernel still has under way lands in pages that nobody has any more. */
int hv_zero(int ram, uint64_t bytes)
{
	return fallocate(ram, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes);
}
