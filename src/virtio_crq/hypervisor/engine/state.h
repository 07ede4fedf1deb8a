/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* The machine's state, one memfd that every partition's process maps. Offsets only, no pointers.
 *
 * Who writes what decides where it lies: each cache line below has one writing partition, so that calls of two
 * partitions do not fight over lines. Configuration is written once, by the machine that creates the state.
 */
#ifndef VIRTIO_CRQ_STATE_H
#define VIRTIO_CRQ_STATE_H

#include <stdint.h>

#include "codes.h"

#define HV_MAGIC 0x6372712d73746174ull /* "crq-stat" */
#define HV_LAYOUT 4
#define HV_LINE __attribute__((aligned(64)))
#define HV_NAME 64
#define HV_NONE 0xffffffffu
#define HV_ANY_REGISTRATION 0xffffffffu

#define HV_GENERAL_PUBLICATIONS 64 /* of a partition, any adapter: calls by number */
#define HV_ADAPTER_PUBLICATIONS 16 /* of an adapter: its open ports */
#define HV_FAULTS 8
#define HV_CLONES 2 /* of one client entry, at the most of any profile */
#define HV_TRANSFER 1 /* in a trace, where calls have their opcode: a storage adapter's transfer */

#define HV_UNIT_BASE 0x30000000u
#define HV_LIOBN_BASE 0x10000000u /* + 4 * adapter + pane - 1: a handle is decoded, not looked up */
#define HV_IRQ_BASE 0x1110u /* + the adapter's place in its partition; 16 lower ones are for terminals and the like */
#define HV_SUB_IRQ_BASE 0x2000u /* + HV_SUB_LIMIT * the adapter's place + the sub-CRQ's */
#define HV_SUB_LIMIT 16 /* sub-CRQs of one adapter at most; how many there are is a fact of the profile */
#define HV_SUB_BATCH 128 /* entries of one call at most, likewise */
#define HV_SUB_WORDS 4 /* of an entry */

/* Modes, all off in one load. */
#define HV_MODE_TRACE 1u
#define HV_MODE_WEAK 2u
#define HV_MODE_PRICES 4u

enum hv_crq { CRQ_CLOSED = 0, CRQ_OPEN = 1, CRQ_DISABLED = 2, CRQ_CLOSING = 3 };

/* Every `period`-th call of an adapter answers `code` before it has any effect. */
struct hv_fault {
	uint32_t call, period;
	int64_t code;
};

/* Facts of the platform profile. */
struct hv_facts {
	uint64_t max_copy; /* 0: no limit */
	uint32_t granularity;
	uint32_t absent; /* bit per hv_call_index */
	uint32_t stuff_limit; /* TCEs per H_STUFF_TCE; 0: as many as the window has */
	uint32_t cross_pane_copy, closed_pane_permission, event_slot_reserved, overwritten_mark, signal_strict;
	uint32_t redirected_mappings, bit_bucket;
	uint32_t sub_queues, sub_batch; /* sub-CRQs per adapter; entries per H_SEND_SUB_CRQ_INDIRECT */
	uint32_t faults;
	struct hv_fault fault[HV_FAULTS];
};

struct hv_trace_entry {
	uint64_t sequence; /* written last; 0 while being written */
	uint64_t time_ns, partition, unit_address, opcode;
	uint64_t in[6];
	int64_t code;
	uint64_t out[2];
	uint64_t spare[2];
};

/* What a running call uses: up to two stretches of I/O addresses. Read by whoever revokes, see publication.h. */
struct hv_publication {
	uint64_t key[2]; /* adapter + 1, HV_LINKED when it stands on the connection; 0 is none */
	uint64_t ioba[2];
	uint64_t length[2];
} HV_LINE;

#define HV_LINKED (1ull << 32)

/* One row per adapter of the partition, and one for calls that name none of them. */
struct hv_counters {
	uint64_t calls[CALL_LIMIT];
	uint64_t copies, bytes;
	uint64_t transfers, transferred;
	uint64_t raised_partner, raised_self;
} HV_LINE;

struct hv_partition {
	uint32_t number;
	uint32_t first_adapter, adapters;
	uint64_t memory;
	uint64_t uuid[2];
	uint64_t publications, counters; /* indices of the first */
	uint32_t obstructs;		 /* a partner waits for one of its calls, see patience.c */
	uint32_t generation;		 /* of the partition: one more at each reap; callers of an older one are refused */
	char name[HV_NAME];
	uint64_t claimed HV_LINE; /* bit per general publication */
} HV_LINE;

/* The send side, written by the adapter's own partition: everything about putting entries into the partner's ring. */
struct hv_sender {
	uint32_t lock;
	uint64_t cursor; /* offset in the partner's ring */
	/* Intent: what is being enqueued, so that it can be finished or undone after a kill. */
	uint64_t intent; /* 0 none, 1 recorded */
	uint64_t place;  /* offset in the partner's RAM: its window may be taken back meanwhile */
	uint64_t at;     /* the cursor that goes with it */
	uint64_t high, low;
} HV_LINE;

/* The way into the partner's sub-CRQ of the same place, written by the sender's partition. */
struct hv_sub_sender {
	uint32_t lock;
	uint64_t cursor; /* offset in the partner's queue */
	/* Intent: a batch that counts from here on, so that it is finished after a kill. */
	uint64_t intent; /* how many entries; 0 none */
	uint64_t meant;	 /* how many of them had their slot marked */
	uint64_t at;	 /* the cursor that goes with it */
	uint64_t place[2], first; /* offsets in the partner's RAM: of the first slot, and of the slot behind those `first` */
	uint64_t entry[HV_SUB_BATCH][HV_SUB_WORDS]; /* the hypervisor's page, as bytes */
} HV_LINE;

/* One place for a sub-CRQ: its registration, written by the adapter's own partition, and the partner's of that place. */
struct hv_sub {
	uint32_t state HV_LINE; /* enum hv_crq, never disabled by itself */
	uint32_t signal;
	uint32_t registrations; /* how many there were: part of the handle, so that an old one is refused */
	uint64_t queue, length;
	struct hv_sub_sender send;
} HV_LINE;

struct hv_adapter {
	/* configuration */
	uint32_t partition, partner; /* partner adapter, or HV_NONE */
	uint32_t unit_address, interrupt;
	uint32_t server, local; /* local: index among its partition's adapters */
	uint32_t storage;	/* no end of a connection: its table holds clones, see redirect.h */
	uint64_t window;	/* bytes of pane 1 */
	uint64_t tces;		/* index of its first TCE */
	uint64_t publications, counters;
	char location[HV_NAME];
	/* registration, written by the adapter's own partition */
	uint32_t state HV_LINE; /* enum hv_crq */
	uint32_t signal;
	uint64_t queue, length;
	uint32_t lock; /* own lock: REG, FREE, ENABLE, SIGNAL */
	uint32_t registrations; /* how many there were: an event is for the one that it was meant for */
	uint32_t owes_event;	/* the partner's registration to be told of the end of ours; 0: none */
	uint32_t prepare_suspend, suspend_ready;
	uint32_t cloned; /* of a client: its entries may have links */
	uint64_t attributes; /* of a storage adapter's LIOBN */
	uint64_t claimed; /* bit per port publication */
	uint32_t faulted[HV_FAULTS];
	struct hv_sender send;
} HV_LINE;

struct hv_header {
	uint64_t magic;
	uint32_t layout, header_size;
	uint64_t bytes;
	uint32_t partitions, adapters;
	uint64_t partitions_at, adapters_at, publications_at, counters_at, trace_at, tces_at;
	uint64_t subs_at;  /* sub_queues for each adapter */
	uint64_t links_at; /* HV_CLONES for each TCE; 0 in a machine without storage adapters */
	uint64_t tces, trace_entries;
	struct hv_facts facts;
	uint32_t mode HV_LINE;
	uint32_t weak_seed;
	uint64_t ns_per_call, ns_per_kib;
	uint64_t trace_next HV_LINE;
} HV_LINE;

/* What the machine tells about one adapter and one partition when it creates the state. */
struct hv_partition_plan {
	const char *name;
	uint32_t number, adapters;
	uint64_t memory;
	uint64_t uuid[2];
};

struct hv_adapter_plan {
	uint32_t partition, partner, unit_address, server, storage;
	uint64_t window;
	const char *location;
};

struct hv_plan {
	uint32_t partitions, adapters;
	const struct hv_partition_plan *partition;
	const struct hv_adapter_plan *adapter; /* grouped by partition, ascending by unit address in each */
	uint64_t trace_entries;
	struct hv_facts facts;
};

uint64_t hv_state_bytes(const struct hv_plan *plan);
void hv_state_create(void *memory, const struct hv_plan *plan);
const char *hv_state_refusal(const void *memory, uint64_t bytes);

static inline struct hv_partition *hv_partition(struct hv_header *state, uint64_t index)
{
	return (struct hv_partition *)((char *)state + state->partitions_at) + index;
}

static inline struct hv_adapter *hv_adapter(struct hv_header *state, uint64_t index)
{
	return (struct hv_adapter *)((char *)state + state->adapters_at) + index;
}

static inline struct hv_publication *hv_publication(struct hv_header *state, uint64_t index)
{
	return (struct hv_publication *)((char *)state + state->publications_at) + index;
}

static inline struct hv_counters *hv_counters(struct hv_header *state, uint64_t index)
{
	return (struct hv_counters *)((char *)state + state->counters_at) + index;
}

static inline struct hv_trace_entry *hv_trace_entry(struct hv_header *state, uint64_t index)
{
	return (struct hv_trace_entry *)((char *)state + state->trace_at) + index;
}

static inline uint64_t *hv_tces(struct hv_header *state, const struct hv_adapter *adapter)
{
	return (uint64_t *)((char *)state + state->tces_at) + adapter->tces;
}

static inline struct hv_sub *hv_sub(struct hv_header *state, uint64_t adapter, uint64_t place)
{
	return (struct hv_sub *)((char *)state + state->subs_at) + adapter * state->facts.sub_queues + place;
}

static inline uint64_t hv_adapter_index(struct hv_header *state, const struct hv_adapter *adapter)
{
	return (uint64_t)(adapter - hv_adapter(state, 0));
}

#endif
