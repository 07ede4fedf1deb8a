/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Enqueuing into a sub-CRQ: a batch, all of it exactly once or none, even if the caller is killed between two stores. */
#include "calls.h"

#define SUB_HEADER 0x80u

/* The queue to enqueue into, as it was when it was published. */
struct hv_sub_ring {
	struct hv_sub *to;
	struct hv_sub_sender *send;
	uint64_t queue, length;
};

static int hv_sub_registered(struct hv_header *state, const struct hv_adapter *from, uint64_t handle, struct hv_sub_ring *ring)
{
	struct hv_adapter *partner;

	if (from->partner == HV_NONE)
		return 0;
	partner = hv_adapter(state, from->partner);
	ring->to = hv_sub_named(state, partner, handle);
	if (!ring->to || __atomic_load_n(&ring->to->state, __ATOMIC_ACQUIRE) != CRQ_OPEN)
		return 0;
	ring->send = &hv_sub(state, hv_adapter_index(state, from), handle & 0xff)->send;
	return 1;
}

/* Publishes the queue and makes sure that it is still that registration's, and then that the CRQs are up. */
static int64_t hv_sub_publish(struct hv_caller *caller, struct hv_adapter *from, uint64_t handle, struct hv_sub_ring *ring)
{
	ring->queue = __atomic_load_n(&ring->to->queue, __ATOMIC_RELAXED);
	ring->length = __atomic_load_n(&ring->to->length, __ATOMIC_RELAXED);
	hv_publish(caller->publication, 0, ((uint64_t)from->partner + 1) | HV_LINKED, ring->queue, ring->length);
	hv_barrier();
	STOP(sub_published);
	if (!hv_sub_registered(caller->state, from, handle, ring) || ring->queue != ring->to->queue || ring->length != ring->to->length)
		return H_PARAMETER;
	return hv_connected(caller->state, from) ? H_SUCCESS : H_CLOSED;
}

static int hv_headers_valid(uint64_t (*entry)[HV_SUB_WORDS], uint64_t count)
{
	for (uint64_t index = 0; index < count; index++)
		if (*(const uint8_t *)entry[index] != SUB_HEADER)
			return 0;
	return 1;
}

/* Room for all of the batch; notes in the intent where in the partner's RAM it goes: at most two stretches, since it is
 * at most a page long. */
static int64_t hv_sub_room(struct hv_caller *caller, const struct hv_adapter *from, const struct hv_sub_ring *ring, uint64_t count)
{
	const struct hv_adapter *partner = hv_adapter(caller->state, from->partner);
	const uint8_t *ram = caller->attachment->ram[partner->partition];
	struct hv_sub_sender *send = ring->send;
	uint64_t at = send->cursor, run = (TCE_PAGE - at % TCE_PAGE) / HV_SUB_ENTRY;

	if (count * HV_SUB_ENTRY > ring->length)
		return H_DROPPED;
	send->first = run < count ? run : count;
	for (uint64_t index = 0; index < count; index++) {
		/* A queue that its owner unmapped has no free slot, as the CRQ. */
		const uint8_t *slot = hv_translate(caller, partner, ring->queue + at, TCE_ACCESS);

		if (!slot || __atomic_load_n(slot, __ATOMIC_ACQUIRE))
			return H_DROPPED;
		if (!index)
			send->place[0] = (uint64_t)(slot - ram);
		else if (index == run)
			send->place[1] = (uint64_t)(slot - ram);
		at = at + HV_SUB_ENTRY == ring->length ? 0 : at + HV_SUB_ENTRY;
	}
	return H_SUCCESS;
}

static uint64_t *hv_sub_slot(const struct hv_sub_sender *send, uint8_t *ram, uint64_t index)
{
	if (index < send->first)
		return (uint64_t *)(ram + send->place[0] + index * HV_SUB_ENTRY);
	return (uint64_t *)(ram + send->place[1] + (index - send->first) * HV_SUB_ENTRY);
}

/* LoPAR: bytes 1 to 31, a store barrier, the header. The first word is stored whole and last. */
static void hv_sub_store(struct hv_caller *caller, uint64_t *slot, const uint64_t words[HV_SUB_WORDS])
{
	if (hv_mode(caller) & HV_MODE_WEAK)
		hv_weak_bytes(caller, (uint8_t *)&slot[1], (const uint8_t *)&words[1], (HV_SUB_WORDS - 1) * sizeof *words);
	else
		for (int index = 1; index < HV_SUB_WORDS; index++)
			__atomic_store_n(&slot[index], words[index], __ATOMIC_RELAXED);
	STOP(sub_body_stored);
	__atomic_store_n(&slot[0], words[0], __ATOMIC_RELEASE);
	STOP(sub_visible);
}

static uint64_t hv_sub_mark(const uint64_t words[HV_SUB_WORDS])
{
	return hv_swap64(hv_slot_mark(hv_swap64(words[0])));
}

static uint64_t hv_sub_behind(const struct hv_sub_sender *send, uint64_t count, uint64_t length)
{
	return (send->at + count * HV_SUB_ENTRY) % length;
}

/* One interrupt for the batch, unless masked. */
static void hv_sub_raise(struct hv_caller *caller, const struct hv_adapter *from, const struct hv_sub *to)
{
	hv_barrier();
	STOP(sub_before_signal);
	if (!__atomic_load_n(&to->signal, __ATOMIC_RELAXED))
		return;
	hv_ring_doorbell(caller->attachment, from->partner);
	hv_count(&hv_row(caller, from)->raised_partner, 1);
}

/* Under the sender's lock, with the queue published and room for all. */
static void hv_sub_fill(struct hv_caller *caller, const struct hv_adapter *from, const struct hv_sub_ring *ring,
			uint64_t (*entry)[HV_SUB_WORDS], uint64_t count)
{
	uint8_t *ram = caller->attachment->ram[hv_adapter(caller->state, from->partner)->partition];
	struct hv_sub_sender *send = ring->send;

	memcpy(send->entry, entry, count * sizeof *entry);
	send->at = send->cursor;
	send->meant = 0;
	STOP(sub_intent_filled);
	__atomic_store_n(&send->intent, count, __ATOMIC_RELEASE);
	STOP(sub_intent_valid);
	for (uint64_t index = 0; index < count; index++) {
		uint64_t *slot = hv_sub_slot(send, ram, index);

		/* The mark lies in the slot before it counts as meant: "not the mark" is then "seen and freed". */
		__atomic_store_n(&slot[0], hv_sub_mark(send->entry[index]), __ATOMIC_RELEASE);
		STOP(sub_slot_marked);
		__atomic_store_n(&send->meant, index + 1, __ATOMIC_RELEASE);
		STOP(sub_slot_meant);
		hv_sub_store(caller, slot, send->entry[index]);
	}
	__atomic_store_n(&send->cursor, hv_sub_behind(send, count, ring->length), __ATOMIC_RELEASE);
	STOP(sub_cursor_moved);
	hv_sub_raise(caller, from, ring->to);
	STOP(sub_signalled);
	__atomic_store_n(&send->intent, 0, __ATOMIC_RELEASE);
	STOP(sub_intent_cleared);
}

static int64_t hv_sub_enqueue(struct hv_caller *caller, struct hv_adapter *from, const struct hv_sub_ring *ring,
			      uint64_t (*entry)[HV_SUB_WORDS], uint64_t count)
{
	int64_t code;

	hv_lock(&ring->send->lock);
	STOP(sub_locked);
	code = hv_sub_room(caller, from, ring, count);
	if (!code)
		hv_sub_fill(caller, from, ring, entry, count);
	hv_unlock(&ring->send->lock);
	return code;
}

/* Order of checks as in LoPAR: handle, header, connection, room. */
int64_t hv_sub_send(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t handle, const uint64_t words[HV_SUB_WORDS])
{
	struct hv_sub_ring ring;
	int64_t code;

	if (!hv_sub_registered(caller->state, adapter, handle, &ring))
		return H_PARAMETER;
	for (int index = 0; index < HV_SUB_WORDS; index++)
		caller->batch[0][index] = hv_swap64(words[index]);
	if (!hv_headers_valid(caller->batch, 1))
		return H_PARAMETER;
	code = hv_sub_publish(caller, adapter, handle, &ring);
	if (!code)
		code = hv_sub_enqueue(caller, adapter, &ring, caller->batch, 1);
	hv_withdraw(caller->publication);
	STOP(sub_withdrawn);
	return code;
}

/* Into the caller's page of the hypervisor, before anything of it is looked at. */
static int64_t hv_sub_fetch(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t ioba, uint64_t bytes)
{
	const uint8_t *from;

	hv_publish(caller->publication, 1, hv_adapter_index(caller->state, adapter) + 1, ioba, bytes);
	hv_barrier();
	from = hv_translate(caller, adapter, ioba, TCE_READ);
	if (!from)
		return H_PARAMETER;
	caller->segment[0] = (struct hv_segment){ (uint8_t *)caller->batch, from, bytes };
	hv_run_segments(caller, 1, 1);
	STOP(sub_copied);
	return H_SUCCESS;
}

/* Order of checks as in LoPAR: handle, address, count, connection, headers of the copy, room. */
int64_t hv_sub_send_indirect(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t handle, uint64_t ioba, uint64_t count)
{
	struct hv_sub_ring ring;
	int64_t code;

	if (!hv_sub_registered(caller->state, adapter, handle, &ring) || !hv_inside(adapter, ioba, 1))
		return H_PARAMETER;
	/* The entries are those of one page (our choice: LoPAR names the page, not where in it they may begin). */
	if (!count || count > caller->state->facts.sub_batch || count * HV_SUB_ENTRY > TCE_PAGE - ioba % TCE_PAGE)
		return H_PARAMETER;
	code = hv_sub_publish(caller, adapter, handle, &ring);
	if (!code)
		code = hv_sub_fetch(caller, adapter, ioba, count * HV_SUB_ENTRY);
	if (!code && !hv_headers_valid(caller->batch, count))
		code = H_PARAMETER;
	if (!code)
		code = hv_sub_enqueue(caller, adapter, &ring, caller->batch, count);
	hv_withdraw(caller->publication);
	STOP(sub_withdrawn);
	return code;
}

/* Finishes the batch that was cut off. The queue is still the partner's: the dead call's publication has kept its
 * H_FREE_SUB_CRQ, its H_FREE_CRQ and its TCEs waiting. */
static void hv_sub_finish(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t place)
{
	struct hv_sub_sender *send = &hv_sub(caller->state, hv_adapter_index(caller->state, adapter), place)->send;
	const struct hv_sub *to = hv_sub(caller->state, adapter->partner, place);
	uint64_t count = __atomic_load_n(&send->intent, __ATOMIC_ACQUIRE);
	uint8_t *ram = caller->attachment->ram[hv_adapter(caller->state, adapter->partner)->partition];

	for (uint64_t index = send->meant ? send->meant - 1 : 0; index < count; index++) {
		uint64_t *slot = hv_sub_slot(send, ram, index);

		/* Meant, and the mark is gone: it is there, or was seen and freed. Those not yet meant are free. */
		if (index >= send->meant || __atomic_load_n(slot, __ATOMIC_ACQUIRE) == hv_sub_mark(send->entry[index]))
			hv_sub_store(caller, slot, send->entry[index]);
	}
	if (!count)
		return;
	__atomic_store_n(&send->cursor, hv_sub_behind(send, count, to->length), __ATOMIC_RELEASE);
	hv_sub_raise(caller, adapter, to);
	__atomic_store_n(&send->intent, 0, __ATOMIC_RELEASE);
}

void hv_sub_recover(struct hv_caller *caller, struct hv_adapter *adapter)
{
	if (adapter->partner == HV_NONE)
		return;
	for (uint64_t place = 0; place < caller->state->facts.sub_queues; place++) {
		hv_sub_finish(caller, adapter, place);
		hv_sub(caller->state, hv_adapter_index(caller->state, adapter), place)->send.lock = 0;
	}
}
