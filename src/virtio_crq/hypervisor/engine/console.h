/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* What the machine's owner does with the state: build it, watch it, set its modes. */
#ifndef VIRTIO_CRQ_CONSOLE_H
#define VIRTIO_CRQ_CONSOLE_H

#include "attachment.h"

/* Counters of an adapter: the calls in the order of HV_CALLS, then these. */
enum { SUM_COPIES = CALL_LIMIT, SUM_BYTES, SUM_INTERRUPTS, SUM_TRANSFERS, SUM_TRANSFERRED, SUM_LIMIT };
_Static_assert(SUM_LIMIT <= 40, "binding.pxd names the size of these arrays");

struct hv_plan *hv_plan_new(uint32_t partitions, uint32_t adapters, uint64_t trace_entries);
void hv_plan_partition(struct hv_plan *plan, uint32_t index, const char *name, uint32_t number, uint32_t adapters, uint64_t memory,
		       uint64_t uuid_high, uint64_t uuid_low);
void hv_plan_adapter(struct hv_plan *plan, uint32_t index, uint32_t partition, uint32_t partner, uint32_t unit_address,
		     uint32_t server, uint64_t window, const char *location);
/* Adapter `index` is no end of a connection, but a storage adapter. */
void hv_plan_storage(struct hv_plan *plan, uint32_t index);
/* max_copy, granularity, cross_pane_copy, closed_pane_permission, event_slot_reserved, overwritten_mark, signal_strict,
 * stuff_limit, redirected_mappings, bit_bucket, sub_queues, sub_batch */
void hv_plan_facts(struct hv_plan *plan, const uint64_t facts[12]);
/* 0, or -1 when the engine has no such call anyway (absent) or no room for the fault. */
int hv_plan_absent(struct hv_plan *plan, uint64_t opcode);
int hv_plan_fault(struct hv_plan *plan, uint64_t opcode, int64_t code, uint32_t period);
/* A sealed memfd with the state in it, or -1 with errno. Frees the plan. */
int hv_plan_carry_out(struct hv_plan *plan);
/* A memfd of `bytes` that can neither shrink nor grow, or -1 with errno. */
int hv_memory(const char *name, uint64_t bytes);

const char *hv_call_name(uint32_t index); /* null behind the last */
void hv_sum(struct hv_header *state, uint32_t adapter, uint64_t sums[SUM_LIMIT]);
/* Calls of a partition that named none of its adapters. */
void hv_sum_other(struct hv_header *state, uint32_t partition, uint64_t sums[SUM_LIMIT]);
void hv_reset_counters(struct hv_header *state);
void hv_set_trace(struct hv_header *state, int enabled);
void hv_set_weak(struct hv_header *state, int enabled, uint32_t seed);
void hv_set_prices(struct hv_header *state, uint64_t ns_per_call, uint64_t ns_per_kib);
/* Entry `sequence`: 1 when copied, 0 when it is not written yet, -1 when it was overwritten. */
int hv_read_trace(struct hv_header *state, uint64_t sequence, struct hv_trace_entry *entry);
uint64_t hv_trace_last(struct hv_header *state);
uint32_t hv_crq_state(struct hv_header *state, uint32_t adapter);

/* Nanoseconds per call of a port in a loop, for measurements: `what` is a letter, see console.c. */
double hv_measure(struct seam_port *port, int what, uint64_t rounds, uint64_t length);

#endif
