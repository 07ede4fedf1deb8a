/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Inside the engine: the hypercalls, one function each, and what they share. */
#ifndef VIRTIO_CRQ_CALLS_H
#define VIRTIO_CRQ_CALLS_H

#include "publication.h"

/* A pane as a handle (LIOBN) of the caller names it: whose TCEs, and whether the connection stands between. */
struct hv_pane {
	struct hv_adapter *through; /* the caller's adapter */
	struct hv_adapter *target;  /* whose TCEs; the partner for a second pane */
	uint64_t key;		    /* as published */
};

static inline uint64_t hv_swap64(uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return __builtin_bswap64(value);
#else
	return value;
#endif
}

/* pane 0: the adapter's own window, 1: the partner's. The caller has checked that there is one. */
static inline struct hv_pane hv_pane_through(struct hv_header *state, struct hv_adapter *adapter, int second)
{
	struct hv_pane pane = { adapter, adapter, 0 };

	if (second)
		pane.target = hv_adapter(state, adapter->partner);
	pane.key = (hv_adapter_index(state, pane.target) + 1) | (second ? HV_LINKED : 0);
	return pane;
}

static inline int hv_pane_of(struct hv_caller *caller, uint64_t liobn, struct hv_pane *pane)
{
	uint64_t index = (liobn - HV_LIOBN_BASE) >> 2, which = liobn & 3;
	struct hv_adapter *adapter;

	if (liobn < HV_LIOBN_BASE || index >= caller->state->adapters || which > 1)
		return 0;
	adapter = hv_adapter(caller->state, index);
	if (adapter->partition != caller->attachment->partition || adapter->storage)
		return 0;
	if (which && (!adapter->server || adapter->partner == HV_NONE))
		return 0;
	*pane = hv_pane_through(caller->state, adapter, (int)which);
	return 1;
}

static inline int hv_inside(const struct hv_adapter *adapter, uint64_t ioba, uint64_t length)
{
	return ioba <= adapter->window && length <= adapter->window - ioba;
}

static inline int hv_connected(struct hv_header *state, const struct hv_adapter *adapter)
{
	return __atomic_load_n(&adapter->state, __ATOMIC_ACQUIRE) == CRQ_OPEN &&
	       __atomic_load_n(&hv_adapter(state, adapter->partner)->state, __ATOMIC_ACQUIRE) == CRQ_OPEN;
}

/* SAFETY: the only place where a TCE becomes a pointer. Null unless the entry grants `access` and lies in mapped RAM;
 * valid up to the end of that 4 KiB page, and for as long as the caller's publication covers the address. */
static inline uint8_t *hv_translate(struct hv_caller *caller, const struct hv_adapter *target, uint64_t ioba, uint64_t access)
{
	uint64_t tce = __atomic_load_n(&hv_tces(caller->state, target)[ioba / TCE_PAGE], __ATOMIC_ACQUIRE);
	uint64_t page = tce & ~(uint64_t)(TCE_PAGE - 1);
	const struct hv_attachment *attachment = caller->attachment;

	if ((tce & access) != access || page + TCE_PAGE > attachment->ram_bytes[target->partition])
		return 0;
	return attachment->ram[target->partition] + page + ioba % TCE_PAGE;
}

/* Spin locks are of one partition's threads only; after its death the machine breaks them. */
void hv_lock(uint32_t *lock);

static inline void hv_unlock(uint32_t *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

void hv_ring_doorbell(struct hv_attachment *attachment, uint64_t adapter);

/* Accounts of a finished call: counters always, trace and prices when on. `row` may be null. */
struct hv_counters *hv_row(struct hv_caller *caller, const struct hv_adapter *adapter);
void hv_account_slow(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t opcode, const uint64_t *in,
		     int64_t code, const uint64_t *out, uint64_t bytes);

void hv_trace(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t opcode, const uint64_t *in, int64_t code,
	      const uint64_t *out);

static inline void hv_count(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

static inline uint32_t hv_mode(const struct hv_caller *caller)
{
	return __atomic_load_n(&caller->state->mode, __ATOMIC_RELAXED);
}

/* Makes a busy call again until it is not, or patience has ended. It takes back what `adapter` shows at `ioba`. */
typedef int64_t hv_attempt(struct hv_caller *caller, void *what);
struct hv_revocation {
	const struct hv_adapter *adapter;
	uint64_t ioba, length;
	hv_attempt *again;
	void *what;
};
/* H_Busy, or H_Resource while a clone of the partner's has to be removed. */
static inline int hv_in_the_way(int64_t code)
{
	return code == H_BUSY || code == H_RESOURCE;
}

int64_t hv_be_patient(struct hv_caller *caller, const struct hv_revocation *revocation, const struct hv_patience *patience);
uint64_t hv_now(void);

/* An injected fault of the profile: nonzero is the answer. */
int64_t hv_fault(struct hv_caller *caller, struct hv_adapter *adapter, enum hv_call_index call);

static inline int hv_stale(const struct hv_caller *caller)
{
	return caller->generation != __atomic_load_n(&caller->own->generation, __ATOMIC_RELAXED);
}

#define HV_ENTRY 16u /* bytes of a CRQ entry */

/* What a slot holds while its entry is not visible: byte 0 free, and the rest unlike both the entry and zero, so that a
 * slot that was seen and freed (header only, or all of it) is told from one that was never filled. */
static inline uint64_t hv_slot_mark(uint64_t high)
{
	uint64_t mark = ~high & 0x00ffffffffffffffull;

	return mark ? mark : 1;
}

/* TCE calls (tce.c) */
int64_t hv_put_tces(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t ioba, const uint64_t *tces, uint64_t count,
		    int one_value);
int64_t hv_put_tce_indirect(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t ioba, uint64_t list, uint64_t count);
void hv_clear_tces(struct hv_header *state, struct hv_adapter *adapter);

/* Command/response queues (crq.c, registration.c) */
int64_t hv_register(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t ioba, uint64_t length);
int hv_queue_usable(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t ioba, uint64_t length);
int64_t hv_free(struct hv_caller *caller, struct hv_adapter *adapter);
int64_t hv_close(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t event);
int64_t hv_enable(struct hv_caller *caller, struct hv_adapter *adapter);
int64_t hv_signal(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t mode);
int64_t hv_set_signal(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t enabled);
int64_t hv_send(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t high, uint64_t low);
int64_t hv_send_event(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t code, uint32_t registration, int overlay);
void hv_raise(struct hv_caller *caller, struct hv_adapter *from);

#define HV_SUB_ENTRY 32u /* bytes of a sub-CRQ entry */

/* Subordinate queues (subcrq.c, subsend.c). Words of a call are as registers have them. */
struct hv_sub *hv_sub_named(struct hv_header *state, const struct hv_adapter *owner, uint64_t handle);
int64_t hv_sub_register(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t ioba, uint64_t length, uint64_t out[2]);
int64_t hv_sub_free(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t handle);
int64_t hv_sub_send(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t handle, const uint64_t words[HV_SUB_WORDS]);
int64_t hv_sub_send_indirect(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t handle, uint64_t ioba, uint64_t count);
/* The interrupt with this number; all of them off. */
int64_t hv_sub_set_signal(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t interrupt, int enabled);
void hv_sub_mask(struct hv_header *state, struct hv_adapter *adapter);
/* With the CRQ go its sub-CRQs: from the first step on nothing enters, after the second their places are free. */
int hv_sub_closing(struct hv_header *state, struct hv_adapter *adapter);
void hv_sub_closed(struct hv_header *state, struct hv_adapter *adapter);
/* A dead sender's batches */
void hv_sub_recover(struct hv_caller *caller, struct hv_adapter *adapter);

/* Copies (rdma.c) */
int64_t hv_copy(struct hv_caller *caller, const struct hv_pane *source, uint64_t source_ioba, const struct hv_pane *destination,
		uint64_t destination_ioba, uint64_t length);
int64_t hv_move(struct hv_caller *caller, const struct hv_pane *pane, uint64_t ioba, uint8_t *bytes, uint64_t length, int outward);
void hv_run_segments(struct hv_caller *caller, uint64_t count, int anchor_source);
void hv_weak_bytes(struct hv_caller *caller, uint8_t *to, const uint8_t *from, uint64_t length);
void hv_weak_segments(struct hv_caller *caller, uint64_t count, int anchor_source);

/* Redirected RDMA (redirect.c, redirectcalls.c) */
int64_t hv_redirect_call(struct hv_caller *caller, uint64_t registers[SEAM_REGISTERS], enum hv_call_index call,
			 struct hv_adapter **adapter);

/* H_VIOCTL (vioctl.c) */
int64_t hv_vioctl(struct hv_caller *caller, uint64_t registers[SEAM_REGISTERS], struct hv_adapter **adapter);

#endif
