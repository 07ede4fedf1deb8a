/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
#include <string.h>

#include "state.h"

#define ROUND(value) (((value) + 4095) & ~4095ull)

struct hv_totals {
	uint64_t publications, counters, tces;
};

/* General publications count any adapter of their partition; those of a port count their own adapter only. */
static struct hv_totals hv_totals(const struct hv_plan *plan)
{
	struct hv_totals totals = { 0, 0, 0 };

	for (uint32_t index = 0; index < plan->partitions; index++) {
		totals.publications += HV_GENERAL_PUBLICATIONS;
		totals.counters += (uint64_t)HV_GENERAL_PUBLICATIONS * (plan->partition[index].adapters + 1);
	}
	for (uint32_t index = 0; index < plan->adapters; index++) {
		totals.publications += HV_ADAPTER_PUBLICATIONS;
		totals.counters += HV_ADAPTER_PUBLICATIONS;
		totals.tces += plan->adapter[index].window / TCE_PAGE;
	}
	return totals;
}

static void hv_lay_out(struct hv_header *header, const struct hv_plan *plan)
{
	struct hv_totals totals = hv_totals(plan);
	uint64_t at = ROUND(sizeof *header);

	header->partitions_at = at;
	at += ROUND(plan->partitions * sizeof(struct hv_partition));
	header->adapters_at = at;
	at += ROUND(plan->adapters * sizeof(struct hv_adapter));
	header->publications_at = at;
	at += ROUND(totals.publications * sizeof(struct hv_publication));
	header->counters_at = at;
	at += ROUND(totals.counters * sizeof(struct hv_counters));
	header->trace_at = at;
	at += ROUND(plan->trace_entries * sizeof(struct hv_trace_entry));
	header->tces_at = at;
	at += ROUND(totals.tces * sizeof(uint64_t));
	header->subs_at = at;
	at += ROUND((uint64_t)plan->adapters * plan->facts.sub_queues * sizeof(struct hv_sub));
	header->tces = totals.tces;
	header->links_at = 0;
	for (uint32_t index = 0; index < plan->adapters; index++)
		if (plan->adapter[index].storage)
			header->links_at = at;
	if (header->links_at)
		at += ROUND(totals.tces * HV_CLONES * sizeof(uint64_t));
	header->bytes = at;
}

uint64_t hv_state_bytes(const struct hv_plan *plan)
{
	struct hv_header header;

	memset(&header, 0, sizeof header);
	hv_lay_out(&header, plan);
	return header.bytes;
}

static void hv_create_partitions(struct hv_header *state, const struct hv_plan *plan)
{
	uint64_t publications = 0, counters = 0;
	uint32_t adapters = 0;

	for (uint32_t index = 0; index < plan->partitions; index++) {
		const struct hv_partition_plan *from = &plan->partition[index];
		struct hv_partition *partition = hv_partition(state, index);

		partition->number = from->number;
		partition->first_adapter = adapters;
		partition->adapters = from->adapters;
		partition->memory = from->memory;
		memcpy(partition->uuid, from->uuid, sizeof partition->uuid);
		strncpy(partition->name, from->name, HV_NAME - 1);
		partition->publications = publications;
		partition->counters = counters;
		publications += HV_GENERAL_PUBLICATIONS;
		counters += (uint64_t)HV_GENERAL_PUBLICATIONS * (from->adapters + 1);
		adapters += from->adapters;
	}
	for (uint32_t index = 0; index < plan->adapters; index++) {
		hv_adapter(state, index)->publications = publications;
		hv_adapter(state, index)->counters = counters;
		publications += HV_ADAPTER_PUBLICATIONS;
		counters += HV_ADAPTER_PUBLICATIONS;
	}
}

static void hv_create_adapters(struct hv_header *state, const struct hv_plan *plan)
{
	uint64_t tces = 0;

	for (uint32_t index = 0; index < plan->adapters; index++) {
		const struct hv_adapter_plan *from = &plan->adapter[index];
		struct hv_adapter *adapter = hv_adapter(state, index);

		adapter->partition = from->partition;
		adapter->partner = from->partner;
		adapter->unit_address = from->unit_address;
		adapter->server = from->server;
		adapter->storage = from->storage;
		adapter->attributes = from->storage && plan->facts.bit_bucket;
		adapter->local = index - hv_partition(state, from->partition)->first_adapter;
		adapter->interrupt = HV_IRQ_BASE + adapter->local;
		adapter->window = from->window;
		adapter->tces = tces;
		strncpy(adapter->location, from->location, HV_NAME - 1);
		tces += from->window / TCE_PAGE;
	}
}

/* `memory` is zero and as long as hv_state_bytes says. The magic is stored last. */
void hv_state_create(void *memory, const struct hv_plan *plan)
{
	struct hv_header *state = memory;

	state->layout = HV_LAYOUT;
	state->header_size = sizeof *state;
	state->partitions = plan->partitions;
	state->adapters = plan->adapters;
	state->trace_entries = plan->trace_entries;
	state->facts = plan->facts;
	hv_lay_out(state, plan);
	hv_create_partitions(state, plan);
	hv_create_adapters(state, plan);
	__atomic_store_n(&state->magic, HV_MAGIC, __ATOMIC_RELEASE);
}

/* Why this memory is not a state that this build may touch, or null. */
const char *hv_state_refusal(const void *memory, uint64_t bytes)
{
	const struct hv_header *state = memory;

	if (bytes < sizeof *state || __atomic_load_n(&state->magic, __ATOMIC_ACQUIRE) != HV_MAGIC)
		return "this is not the state of a machine";
	if (state->layout != HV_LAYOUT || state->header_size != sizeof *state)
		return "the machine was started by another version: layouts differ";
	if (state->bytes > bytes)
		return "the state is shorter than its header says";
	return 0;
}
