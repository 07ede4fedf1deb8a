/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Subordinate queues: registering, freeing, their interrupts. How entries get in is in subsend.c. */
#include "calls.h"

/* A handle says which registration of which place of which adapter: 32, 24 and 8 bits. */
static uint64_t hv_sub_handle(uint64_t adapter, uint64_t place, uint32_t registration)
{
	return (uint64_t)registration << 32 | adapter << 8 | place;
}

struct hv_sub *hv_sub_named(struct hv_header *state, const struct hv_adapter *owner, uint64_t handle)
{
	uint64_t place = handle & 0xff;
	struct hv_sub *sub;

	if ((handle >> 8 & 0xffffff) != hv_adapter_index(state, owner) || place >= state->facts.sub_queues)
		return 0;
	sub = hv_sub(state, hv_adapter_index(state, owner), place);
	return __atomic_load_n(&sub->registrations, __ATOMIC_RELAXED) == handle >> 32 ? sub : 0;
}

static uint64_t hv_sub_interrupt(const struct hv_adapter *adapter, uint64_t place)
{
	return HV_SUB_IRQ_BASE + (uint64_t)adapter->local * HV_SUB_LIMIT + place;
}

/* Published as any use of the window is: another thread may take the pages back at this moment. */
static int64_t hv_clear_headers(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t ioba, uint64_t length)
{
	int64_t code = H_SUCCESS;

	hv_publish(caller->publication, 0, hv_adapter_index(caller->state, adapter) + 1, ioba, length);
	hv_barrier();
	for (uint64_t at = 0; at < length && !code; at += HV_SUB_ENTRY) {
		uint8_t *header = hv_translate(caller, adapter, ioba + at, TCE_ACCESS);

		if (header)
			__atomic_store_n(header, 0, __ATOMIC_RELEASE);
		else
			code = H_PARAMETER;
		STOP(sub_header_cleared);
	}
	hv_withdraw(caller->publication);
	return code;
}

static struct hv_sub *hv_sub_vacant(struct hv_header *state, const struct hv_adapter *adapter, uint64_t *place)
{
	for (*place = 0; *place < state->facts.sub_queues; (*place)++) {
		struct hv_sub *sub = hv_sub(state, hv_adapter_index(state, adapter), *place);

		if (__atomic_load_n(&sub->state, __ATOMIC_ACQUIRE) == CRQ_CLOSED)
			return sub;
	}
	return 0;
}

/* Under the adapter's lock. Order of checks as in LoPAR: queue, partner defined, resources. */
static int64_t hv_sub_take(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t ioba, uint64_t length, uint64_t out[2])
{
	uint64_t index = hv_adapter_index(caller->state, adapter), place;
	struct hv_sub *sub = hv_sub_vacant(caller->state, adapter, &place);

	if (!sub)
		return H_RESOURCE;
	if (hv_clear_headers(caller, adapter, ioba, length))
		return H_PARAMETER;
	/* Nobody enqueues into a closed queue, so the partner's cursor is ours to set. */
	__atomic_store_n(&hv_sub(caller->state, adapter->partner, place)->send.cursor, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&sub->signal, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&sub->queue, ioba, __ATOMIC_RELAXED);
	__atomic_store_n(&sub->length, length, __ATOMIC_RELAXED);
	__atomic_store_n(&sub->registrations, sub->registrations + 1, __ATOMIC_RELAXED);
	STOP(sub_queue_set);
	__atomic_store_n(&sub->state, CRQ_OPEN, __ATOMIC_RELEASE);
	STOP(sub_open);
	out[0] = hv_sub_handle(index, place, sub->registrations);
	out[1] = hv_sub_interrupt(adapter, place);
	return hv_connected(caller->state, adapter) ? H_SUCCESS : H_CLOSED;
}

int64_t hv_sub_register(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t ioba, uint64_t length, uint64_t out[2])
{
	int64_t code;

	if (!hv_queue_usable(caller, adapter, ioba, length))
		return H_PARAMETER;
	if (adapter->partner == HV_NONE)
		return H_NOT_FOUND;
	hv_lock(&adapter->lock);
	code = hv_sub_take(caller, adapter, ioba, length, out);
	hv_unlock(&adapter->lock);
	return code;
}

/* From here on no send passes the check that follows its publication. */
static int hv_sub_shut(struct hv_sub *sub)
{
	if (__atomic_load_n(&sub->state, __ATOMIC_ACQUIRE) == CRQ_CLOSED)
		return 0;
	__atomic_store_n(&sub->state, CRQ_CLOSING, __ATOMIC_RELEASE);
	__atomic_store_n(&sub->signal, 0, __ATOMIC_RELAXED);
	STOP(sub_closing);
	return 1;
}

/* H_Busy: a send into it still runs; the same call again. Once it is over, the handle is nobody's. */
int64_t hv_sub_free(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t handle)
{
	int64_t code = H_PARAMETER;
	struct hv_sub *sub;

	hv_lock(&adapter->lock);
	sub = hv_sub_named(caller->state, adapter, handle);
	if (sub && hv_sub_shut(sub)) {
		hv_barrier();
		code = hv_range_in_use(caller->state, adapter, sub->queue, sub->length) ? H_BUSY : H_SUCCESS;
		if (!code)
			__atomic_store_n(&sub->state, CRQ_CLOSED, __ATOMIC_RELEASE);
		STOP(sub_closed);
	}
	hv_unlock(&adapter->lock);
	return code;
}

int hv_sub_closing(struct hv_header *state, struct hv_adapter *adapter)
{
	int any = 0;

	for (uint64_t place = 0; place < state->facts.sub_queues; place++)
		any |= hv_sub_shut(hv_sub(state, hv_adapter_index(state, adapter), place));
	return any;
}

void hv_sub_closed(struct hv_header *state, struct hv_adapter *adapter)
{
	for (uint64_t place = 0; place < state->facts.sub_queues; place++)
		__atomic_store_n(&hv_sub(state, hv_adapter_index(state, adapter), place)->state, CRQ_CLOSED, __ATOMIC_RELEASE);
	STOP(sub_closed);
}

/* Whether the newest entry of that place has not been taken, as for the CRQ (registration.c). */
static int hv_sub_entry_waits(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t place)
{
	const struct hv_sub *sub = hv_sub(caller->state, hv_adapter_index(caller->state, adapter), place);
	uint64_t cursor = __atomic_load_n(&hv_sub(caller->state, adapter->partner, place)->send.cursor, __ATOMIC_ACQUIRE);
	uint64_t queue = __atomic_load_n(&sub->queue, __ATOMIC_RELAXED);
	uint64_t length = __atomic_load_n(&sub->length, __ATOMIC_RELAXED);
	const uint8_t *slot;

	if (cursor > length || length < HV_SUB_ENTRY || !hv_inside(adapter, queue, length))
		return 0;
	slot = hv_translate(caller, adapter, queue + (cursor ? cursor : length) - HV_SUB_ENTRY, TCE_ACCESS);
	return slot && __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

int64_t hv_sub_set_signal(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t interrupt, int enabled)
{
	uint64_t place = interrupt - hv_sub_interrupt(adapter, 0);
	struct hv_sub *sub;

	if (place >= caller->state->facts.sub_queues)
		return H_PARAMETER;
	sub = hv_sub(caller->state, hv_adapter_index(caller->state, adapter), place);
	if (__atomic_load_n(&sub->state, __ATOMIC_ACQUIRE) != CRQ_OPEN)
		return H_PARAMETER;
	__atomic_store_n(&sub->signal, (uint32_t)enabled, __ATOMIC_RELAXED);
	STOP(signal_stored);
	if (!enabled)
		return H_SUCCESS;
	hv_barrier();
	if (hv_sub_entry_waits(caller, adapter, place)) {
		STOP(signal_found);
		hv_ring_doorbell(caller->attachment, hv_adapter_index(caller->state, adapter));
		hv_count(&hv_row(caller, adapter)->raised_self, 1);
	}
	return H_SUCCESS;
}

void hv_sub_mask(struct hv_header *state, struct hv_adapter *adapter)
{
	for (uint64_t place = 0; place < state->facts.sub_queues; place++)
		__atomic_store_n(&hv_sub(state, hv_adapter_index(state, adapter), place)->signal, 0, __ATOMIC_RELAXED);
}
