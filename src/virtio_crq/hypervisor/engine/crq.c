/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Enqueuing: one entry into the partner's ring, exactly once, even if the caller is killed between two stores. */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"

#define ENTRY_HEADER(word) ((word) >> 56)

/* The ring to enqueue into, as it was when it was published. */
struct hv_ring {
	struct hv_adapter *to;
	uint64_t queue, length;
};

void hv_lock(uint32_t *lock)
{
	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

void hv_ring_doorbell(struct hv_attachment *attachment, uint64_t adapter)
{
	const struct hv_doorbell *doorbell = &attachment->doorbell[adapter];
	const uint64_t one = 1;

	if (doorbell->descriptor < 0)
		return;
	/* Full or gone: either way the interrupt is pending already, or there is nobody to take it. */
	if (doorbell->kind == DOORBELL_BYTE) {
		if (send(doorbell->descriptor, &one, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
	} else if (write(doorbell->descriptor, &one, sizeof one) < 0) {
		return;
	}
}

/* Interrupt for the partner of `from`, unless masked. The entry is in the ring already, and the partner's unmasking
 * stores its flag and then looks into the ring; so one of the two sees the other. */
void hv_raise(struct hv_caller *caller, struct hv_adapter *from)
{
	struct hv_adapter *to = hv_adapter(caller->state, from->partner);

	hv_barrier();
	STOP(send_before_signal);
	if (!__atomic_load_n(&to->signal, __ATOMIC_RELAXED))
		return;
	hv_ring_doorbell(caller->attachment, from->partner);
	hv_count(&hv_row(caller, from)->raised_partner, 1);
}

/* Publishes the partner's ring and makes sure that it is still the registered one. */
static int64_t hv_ring_open(struct hv_caller *caller, struct hv_adapter *from, int event, struct hv_ring *ring)
{
	struct hv_adapter *to = hv_adapter(caller->state, from->partner);

	ring->to = to;
	for (;;) {
		if (__atomic_load_n(&to->state, __ATOMIC_ACQUIRE) != CRQ_OPEN)
			return H_CLOSED;
		ring->queue = __atomic_load_n(&to->queue, __ATOMIC_RELAXED);
		ring->length = __atomic_load_n(&to->length, __ATOMIC_RELAXED);
		hv_publish(caller->publication, 0, ((uint64_t)from->partner + 1) | HV_LINKED, ring->queue, ring->length);
		hv_barrier();
		STOP(send_published);
		if (__atomic_load_n(&to->state, __ATOMIC_ACQUIRE) == CRQ_OPEN && ring->queue == to->queue && ring->length == to->length)
			break;
		hv_withdraw(caller->publication);
	}
	/* An event may leave a closing adapter; entries of the driver may not. */
	if (!event && __atomic_load_n(&from->state, __ATOMIC_ACQUIRE) != CRQ_OPEN) {
		hv_withdraw(caller->publication);
		return H_CLOSED;
	}
	return H_SUCCESS;
}

static uint64_t *hv_slot(struct hv_caller *caller, const struct hv_ring *ring, uint64_t cursor)
{
	return (uint64_t *)hv_translate(caller, ring->to, ring->queue + cursor, TCE_ACCESS);
}

static int hv_slot_free(const uint64_t *slot)
{
	return !__atomic_load_n((const uint8_t *)slot, __ATOMIC_ACQUIRE);
}

static void hv_fill(struct hv_caller *caller, struct hv_adapter *from, const struct hv_ring *ring, uint64_t *slot, uint64_t high,
		    uint64_t low)
{
	struct hv_sender *send = &from->send;
	uint64_t next = send->cursor + HV_ENTRY == ring->length ? 0 : send->cursor + HV_ENTRY;

	send->place = (uint64_t)((uint8_t *)slot - caller->attachment->ram[ring->to->partition]);
	send->at = send->cursor;
	send->high = high;
	send->low = low;
	STOP(send_intent_filled);
	/* The mark lies in the slot before the intent counts: recovery takes "not the mark" for "seen and freed". */
	__atomic_store_n(&slot[0], hv_swap64(hv_slot_mark(high)), __ATOMIC_RELEASE);
	STOP(send_slot_marked);
	__atomic_store_n(&send->intent, 1, __ATOMIC_RELEASE);
	STOP(send_intent_valid);
	/* LoPAR: the low half, a store barrier, the half with the header. */
	__atomic_store_n(&slot[1], hv_swap64(low), __ATOMIC_RELEASE);
	STOP(send_low_stored);
	__atomic_store_n(&slot[0], hv_swap64(high), __ATOMIC_RELEASE);
	STOP(send_visible);
	__atomic_store_n(&send->cursor, next, __ATOMIC_RELEASE);
	STOP(send_cursor_moved);
	hv_raise(caller, from);
	STOP(send_signalled);
	__atomic_store_n(&send->intent, 0, __ATOMIC_RELEASE);
	STOP(send_intent_cleared);
}

/* Under the send lock, with the ring published. */
static int64_t hv_enqueue(struct hv_caller *caller, struct hv_adapter *from, const struct hv_ring *ring, uint64_t high, uint64_t low,
			  int event)
{
	uint64_t *slot = hv_slot(caller, ring, from->send.cursor);

	hv_prepare(slot); /* its owner looks at it all the time */
	/* A ring that its owner unmapped has no free slot (our choice; LoPAR is silent). */
	if (!slot || !hv_slot_free(slot))
		return H_DROPPED;
	if (!event && caller->state->facts.event_slot_reserved) {
		uint64_t next = from->send.cursor + HV_ENTRY == ring->length ? 0 : from->send.cursor + HV_ENTRY;
		const uint64_t *after = hv_slot(caller, ring, next);

		if (!after || !hv_slot_free(after))
			return H_DROPPED;
	}
	hv_fill(caller, from, ring, slot, high, low);
	return H_SUCCESS;
}

int64_t hv_send(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t high, uint64_t low)
{
	struct hv_ring ring;
	int64_t code;

	if (ENTRY_HEADER(high) < 0x80 || ENTRY_HEADER(high) == 0xff)
		return H_PARAMETER;
	if (adapter->partner == HV_NONE)
		return H_CLOSED;
	hv_lock(&adapter->send.lock);
	STOP(send_locked);
	code = hv_ring_open(caller, adapter, 0, &ring);
	if (!code) {
		code = hv_enqueue(caller, adapter, &ring, high, low, 0);
		hv_withdraw(caller->publication);
		STOP(send_withdrawn);
	}
	hv_unlock(&adapter->send.lock);
	return code;
}

/* The ring is full: the event takes the place of the last entry, unless that was consumed in this moment. */
static int hv_overlay(struct hv_caller *caller, struct hv_adapter *from, const struct hv_ring *ring, uint64_t high)
{
	uint64_t last = (from->send.cursor ? from->send.cursor : ring->length) - HV_ENTRY;
	uint64_t *slot = hv_slot(caller, ring, last);
	uint64_t seen;

	if (!slot)
		return 1; /* nowhere to tell it */
	seen = __atomic_load_n(&slot[0], __ATOMIC_ACQUIRE);
	if (!*(const uint8_t *)&seen)
		return 0;
	if (caller->state->facts.overwritten_mark)
		high |= (uint64_t)EVENT_OVERWROTE << 32;
	if (!__atomic_compare_exchange_n(&slot[0], &seen, hv_swap64(high), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return 0;
	STOP(send_overlaid);
	hv_raise(caller, from);
	return 1;
}

/* For whoever acts in a partition's place while that lives: its thread may be stopped with the lock, or just dead with it. */
static int hv_lock_soon(uint32_t *lock)
{
	for (int tries = 0; tries < 1000; tries++) {
		if (!__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
			return 1;
		sched_yield();
	}
	return 0;
}

/* A receiver that is told of its partner's suspension finds its queue disabled, and by nothing that comes after its
 * H_ENABLE_CRQ: so before the event can be seen. */
static void hv_turn(struct hv_adapter *to, uint32_t from, uint32_t state)
{
	__atomic_compare_exchange_n(&to->state, &from, state, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* A transport event for the partner of `adapter`, as it is registered now, or only for that registration of it.
 * Without `overlay`, from outside: a full ring loses it, as LoPAR allows, and H_Busy says that the lock is not to be had. */
int64_t hv_send_event(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t event, uint32_t registration, int overlay)
{
	uint64_t high = 0xffull << 56 | (event & 0xff) << 48;
	struct hv_ring ring;
	int64_t code;

	if (adapter->partner == HV_NONE)
		return H_CLOSED;
	if (overlay)
		hv_lock(&adapter->send.lock);
	else if (!hv_lock_soon(&adapter->send.lock))
		return H_BUSY;
	code = hv_ring_open(caller, adapter, 1, &ring);
	if (!code && registration != HV_ANY_REGISTRATION &&
	    __atomic_load_n(&ring.to->registrations, __ATOMIC_RELAXED) != registration) {
		hv_withdraw(caller->publication);
		code = H_CLOSED;
	}
	if (!code) {
		if (event == EVENT_PARTNER_SUSPENDED)
			hv_turn(ring.to, CRQ_OPEN, CRQ_DISABLED);
		/* Bounded: a receiver that frees out of order could keep the last slot free and the next one taken. */
		for (int tries = 0; tries < 64; tries++) {
			code = hv_enqueue(caller, adapter, &ring, high, 0, 1);
			if (code != H_DROPPED || !overlay || hv_overlay(caller, adapter, &ring, high))
				break;
		}
		if (code && event == EVENT_PARTNER_SUSPENDED)
			hv_turn(ring.to, CRQ_DISABLED, CRQ_OPEN);
		hv_withdraw(caller->publication);
	}
	hv_unlock(&adapter->send.lock);
	return code;
}
