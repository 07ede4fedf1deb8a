/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Counters, trace, prices, injected faults. */
#define _GNU_SOURCE
#include <time.h>

#include "calls.h"

struct hv_counters *hv_row(struct hv_caller *caller, const struct hv_adapter *adapter)
{
	if (!caller->general)
		return caller->counters;
	/* A call that names none of the partition's adapters is counted in the row behind the last. */
	return caller->counters + (adapter ? adapter->local : caller->own->adapters);
}

int64_t hv_fault(struct hv_caller *caller, struct hv_adapter *adapter, enum hv_call_index call)
{
	const struct hv_facts *facts = &caller->state->facts;

	for (uint32_t index = 0; index < facts->faults; index++) {
		const struct hv_fault *fault = &facts->fault[index];

		if (fault->call != call || !fault->period)
			continue;
		if (__atomic_add_fetch(&adapter->faulted[index], 1, __ATOMIC_RELAXED) % fault->period == 0)
			return fault->code;
	}
	return 0;
}

uint64_t hv_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

void hv_trace(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t opcode, const uint64_t *in, int64_t code,
	      const uint64_t *out)
{
	struct hv_header *state = caller->state;
	uint64_t ticket = __atomic_fetch_add(&state->trace_next, 1, __ATOMIC_RELAXED);
	struct hv_trace_entry *entry;

	if (!state->trace_entries)
		return;
	entry = hv_trace_entry(state, ticket % state->trace_entries);
	__atomic_store_n(&entry->sequence, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	entry->time_ns = hv_now();
	entry->partition = caller->own->number;
	entry->unit_address = adapter ? adapter->unit_address : 0;
	entry->opcode = opcode;
	memcpy(entry->in, in, sizeof entry->in);
	entry->code = code;
	entry->out[0] = out[0];
	entry->out[1] = out[1];
	__atomic_store_n(&entry->sequence, ticket + 1, __ATOMIC_RELEASE);
}

static void hv_spend(uint64_t ns)
{
	uint64_t end = hv_now() + ns;

	while (hv_now() < end)
		hv_pause();
}

void hv_account_slow(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t opcode, const uint64_t *in, int64_t code,
		     const uint64_t *out, uint64_t bytes)
{
	uint32_t mode = hv_mode(caller);

	if (mode & HV_MODE_PRICES)
		hv_spend(caller->state->ns_per_call + caller->state->ns_per_kib * bytes / 1024);
	if (mode & HV_MODE_TRACE)
		hv_trace(caller, adapter, opcode, in, code, out);
}
