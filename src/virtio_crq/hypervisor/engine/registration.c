/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Registering and freeing a queue, and its interrupt. */
#include "redirect.h"

int hv_queue_usable(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t ioba, uint64_t length)
{
	if (ioba % TCE_PAGE || length % TCE_PAGE || !length || !hv_inside(adapter, ioba, length))
		return 0;
	for (uint64_t at = ioba; at < ioba + length; at += TCE_PAGE)
		if (!hv_translate(caller, adapter, at, TCE_ACCESS))
			return 0;
	return 1;
}

/* Order of checks as in LoPAR: queue, connection defined, connection free. */
int64_t hv_register(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t ioba, uint64_t length)
{
	struct hv_adapter *partner;
	int64_t code = H_RESOURCE;

	if (!hv_queue_usable(caller, adapter, ioba, length))
		return H_PARAMETER;
	if (adapter->partner == HV_NONE)
		return H_NOT_FOUND;
	partner = hv_adapter(caller->state, adapter->partner);
	hv_lock(&adapter->lock);
	STOP(register_locked);
	if (__atomic_load_n(&adapter->state, __ATOMIC_ACQUIRE) == CRQ_CLOSED) {
		/* Nobody enqueues into a closed queue, so the partner's cursor is ours to set. */
		__atomic_store_n(&partner->send.cursor, 0, __ATOMIC_RELAXED);
		STOP(register_cursor_reset);
		__atomic_store_n(&adapter->signal, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&adapter->queue, ioba, __ATOMIC_RELAXED);
		__atomic_store_n(&adapter->length, length, __ATOMIC_RELAXED);
		__atomic_store_n(&adapter->registrations, adapter->registrations + 1, __ATOMIC_RELAXED);
		adapter->prepare_suspend = adapter->suspend_ready = 0;
		STOP(register_queue_set);
		__atomic_store_n(&adapter->state, CRQ_OPEN, __ATOMIC_RELEASE);
		STOP(register_open);
		/* Both ends may register at once: then both see the other and both answer success. */
		hv_barrier();
		code = __atomic_load_n(&partner->state, __ATOMIC_ACQUIRE) == CRQ_OPEN ? H_SUCCESS : H_CLOSED;
	}
	hv_unlock(&adapter->lock);
	return code;
}

/* Who registers from now on learns from its return code that we are closed: it must not find an event in its new ring. */
static uint32_t hv_partner_registration(struct hv_header *state, const struct hv_adapter *adapter)
{
	const struct hv_adapter *partner;

	if (adapter->partner == HV_NONE)
		return 0;
	partner = hv_adapter(state, adapter->partner);
	if (__atomic_load_n(&partner->state, __ATOMIC_ACQUIRE) == CRQ_CLOSED)
		return 0;
	return __atomic_load_n(&partner->registrations, __ATOMIC_RELAXED);
}

/* Closes the queue, and its sub-CRQs with it, and tells the partner. H_Busy: a call through the connection still runs;
 * again. H_Resource: clones that may not become bit buckets are to be removed first. */
int64_t hv_close(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t event)
{
	uint32_t state = __atomic_load_n(&adapter->state, __ATOMIC_ACQUIRE);

	if (!hv_sub_closing(caller->state, adapter) && state == CRQ_CLOSED)
		return H_SUCCESS;
	if (state == CRQ_OPEN || state == CRQ_DISABLED) {
		__atomic_store_n(&adapter->owes_event, HV_ANY_REGISTRATION, __ATOMIC_RELAXED);
		__atomic_store_n(&adapter->state, CRQ_CLOSING, __ATOMIC_RELEASE);
		STOP(free_closing);
		/* Whoever registers and does not see us closing is seen here. */
		hv_barrier();
		__atomic_store_n(&adapter->owes_event, hv_partner_registration(caller->state, adapter), __ATOMIC_RELAXED);
		__atomic_store_n(&adapter->signal, 0, __ATOMIC_RELAXED);
	}
	hv_barrier();
	if (hv_link_in_use(caller->state, adapter))
		return H_BUSY;
	STOP(free_drained);
	hv_sub_closed(caller->state, adapter);
	if (state == CRQ_CLOSED)
		return H_SUCCESS;
	if (adapter->partner != HV_NONE && hv_close_clones(caller, adapter, event == EVENT_PARTNER_FAILED))
		return H_RESOURCE;
	STOP(free_unclones);
	if (adapter->owes_event) {
		hv_send_event(caller, adapter, event, adapter->owes_event, 1);
		STOP(free_event_sent);
		__atomic_store_n(&adapter->owes_event, 0, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&adapter->state, CRQ_CLOSED, __ATOMIC_RELEASE);
	STOP(free_closed);
	return H_SUCCESS;
}

int64_t hv_free(struct hv_caller *caller, struct hv_adapter *adapter)
{
	int64_t code;

	hv_lock(&adapter->lock);
	STOP(free_locked);
	code = hv_close(caller, adapter, EVENT_PARTNER_DEREGISTERED);
	hv_unlock(&adapter->lock);
	return code;
}

/* Success says that all pages of the queue are there again. A queue that never was registered is a wrong parameter. */
int64_t hv_enable(struct hv_caller *caller, struct hv_adapter *adapter)
{
	int64_t code = H_SUCCESS;
	uint32_t state;

	hv_lock(&adapter->lock);
	state = __atomic_load_n(&adapter->state, __ATOMIC_ACQUIRE);
	if (state == CRQ_CLOSED || state == CRQ_CLOSING)
		code = H_PARAMETER;
	else if (!hv_queue_usable(caller, adapter, adapter->queue, adapter->length))
		code = H_HARDWARE;
	else
		__atomic_store_n(&adapter->state, CRQ_OPEN, __ATOMIC_RELEASE);
	hv_unlock(&adapter->lock);
	return code;
}

/* Whether the newest entry that the partner put into the adapter's ring has not been taken. */
static int hv_entry_waits(struct hv_caller *caller, const struct hv_adapter *adapter)
{
	const struct hv_adapter *partner = hv_adapter(caller->state, adapter->partner);
	uint32_t state = __atomic_load_n(&adapter->state, __ATOMIC_ACQUIRE);
	uint64_t cursor = __atomic_load_n(&partner->send.cursor, __ATOMIC_ACQUIRE);
	/* No lock is held: another processor may register another queue meanwhile, and these then be of two. */
	uint64_t queue = __atomic_load_n(&adapter->queue, __ATOMIC_RELAXED);
	uint64_t length = __atomic_load_n(&adapter->length, __ATOMIC_RELAXED);
	const uint8_t *slot;

	if ((state != CRQ_OPEN && state != CRQ_DISABLED) || cursor > length || length < HV_ENTRY ||
	    !hv_inside(adapter, queue, length))
		return 0;
	slot = hv_translate(caller, adapter, queue + (cursor ? cursor : length) - HV_ENTRY, TCE_ACCESS);
	return slot && __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

/* An entry that came earlier and was not taken signals now, also one that signalled before: IBM's server unmasks without
 * taking what a new client sent while its old client's I/O ends, and then unmasks again and waits. */
int64_t hv_set_signal(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t enabled)
{
	__atomic_store_n(&adapter->signal, (uint32_t)(enabled != 0), __ATOMIC_RELAXED);
	STOP(signal_stored);
	if (!enabled || adapter->partner == HV_NONE)
		return H_SUCCESS;
	hv_barrier();
	if (hv_entry_waits(caller, adapter)) {
		STOP(signal_found);
		hv_ring_doorbell(caller->attachment, hv_adapter_index(caller->state, adapter));
		hv_count(&hv_row(caller, adapter)->raised_self, 1);
	}
	return H_SUCCESS;
}

/* Bit 63 (the lowest) is the first interrupt; these adapters have no other. LoPAR contradicts itself on unknown bits. */
int64_t hv_signal(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t mode)
{
	if (mode > 1 && caller->state->facts.signal_strict)
		return H_PARAMETER;
	return hv_set_signal(caller, adapter, mode & 1);
}
