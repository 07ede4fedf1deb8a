/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "console.h"

/* A plan that owns its arrays and strings. */
struct hv_owned_plan {
	struct hv_plan plan;
	struct hv_partition_plan *partition;
	struct hv_adapter_plan *adapter;
};

struct hv_plan *hv_plan_new(uint32_t partitions, uint32_t adapters, uint64_t trace_entries)
{
	struct hv_owned_plan *owned = calloc(1, sizeof *owned);

	if (!owned)
		return 0;
	owned->partition = calloc(partitions + 1, sizeof *owned->partition);
	owned->adapter = calloc(adapters + 1, sizeof *owned->adapter);
	if (!owned->partition || !owned->adapter) {
		free(owned->partition);
		free(owned->adapter);
		free(owned);
		return 0;
	}
	owned->plan.partitions = partitions;
	owned->plan.adapters = adapters;
	owned->plan.partition = owned->partition;
	owned->plan.adapter = owned->adapter;
	owned->plan.trace_entries = trace_entries;
	return &owned->plan;
}

void hv_plan_partition(struct hv_plan *plan, uint32_t index, const char *name, uint32_t number, uint32_t adapters, uint64_t memory,
		       uint64_t uuid_high, uint64_t uuid_low)
{
	((struct hv_owned_plan *)plan)->partition[index] = (struct hv_partition_plan){
		.name = strdup(name), .number = number, .adapters = adapters, .memory = memory, .uuid = { uuid_high, uuid_low },
	};
}

void hv_plan_adapter(struct hv_plan *plan, uint32_t index, uint32_t partition, uint32_t partner, uint32_t unit_address,
		     uint32_t server, uint64_t window, const char *location)
{
	((struct hv_owned_plan *)plan)->adapter[index] = (struct hv_adapter_plan){
		.partition = partition, .partner = partner, .unit_address = unit_address,
		.server = server, .window = window, .location = strdup(location),
	};
}

void hv_plan_storage(struct hv_plan *plan, uint32_t index)
{
	((struct hv_owned_plan *)plan)->adapter[index].storage = 1;
}

void hv_plan_facts(struct hv_plan *plan, const uint64_t facts[12])
{
	struct hv_facts *to = &plan->facts;

	to->max_copy = facts[0];
	to->granularity = (uint32_t)facts[1];
	to->cross_pane_copy = facts[2] != 0;
	to->closed_pane_permission = facts[3] != 0;
	to->event_slot_reserved = facts[4] != 0;
	to->overwritten_mark = facts[5] != 0;
	to->signal_strict = facts[6] != 0;
	to->stuff_limit = (uint32_t)facts[7];
	to->redirected_mappings = facts[8] < HV_CLONES ? (uint32_t)facts[8] : HV_CLONES;
	to->bit_bucket = facts[9] != 0;
	to->sub_queues = facts[10] < HV_SUB_LIMIT ? (uint32_t)facts[10] : HV_SUB_LIMIT;
	to->sub_batch = facts[11] < HV_SUB_BATCH ? (uint32_t)facts[11] : HV_SUB_BATCH;
}

static int hv_index_of(uint64_t opcode)
{
#define INDEX(name, number)                                                                                           \
	if (opcode == number)                                                                                         \
		return CALL_##name;
	HV_CALLS(INDEX)
#undef INDEX
	return -1;
}

int hv_plan_absent(struct hv_plan *plan, uint64_t opcode)
{
	int index = hv_index_of(opcode);

	if (index < 0)
		return -1;
	plan->facts.absent |= 1u << index;
	return 0;
}

int hv_plan_fault(struct hv_plan *plan, uint64_t opcode, int64_t code, uint32_t period)
{
	int index = hv_index_of(opcode);

	if (index < 0 || plan->facts.faults == HV_FAULTS)
		return -1;
	plan->facts.fault[plan->facts.faults++] = (struct hv_fault){ (uint32_t)index, period, code };
	return 0;
}

int hv_memory(const char *name, uint64_t bytes)
{
	int memory = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (memory < 0)
		return -1;
	if (ftruncate(memory, (off_t)bytes) < 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		close(memory);
		return -1;
	}
	return memory;
}

static void hv_plan_free(struct hv_plan *plan)
{
	struct hv_owned_plan *owned = (struct hv_owned_plan *)plan;

	for (uint32_t index = 0; index < plan->partitions; index++)
		free((char *)owned->partition[index].name);
	for (uint32_t index = 0; index < plan->adapters; index++)
		free((char *)owned->adapter[index].location);
	free(owned->partition);
	free(owned->adapter);
	free(owned);
}

int hv_plan_carry_out(struct hv_plan *plan)
{
	uint64_t bytes = hv_state_bytes(plan);
	int memory = hv_memory("virtio-crq-state", bytes);
	void *state = MAP_FAILED;

	if (memory >= 0)
		state = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (state != MAP_FAILED) {
		hv_state_create(state, plan);
		munmap(state, bytes);
	} else if (memory >= 0) {
		close(memory);
		memory = -1;
	}
	hv_plan_free(plan);
	return memory;
}

const char *hv_call_name(uint32_t index)
{
#define NAME(name, number) #name,
	static const char *const names[] = { HV_CALLS(NAME) "other" };
#undef NAME
	return index < CALL_LIMIT ? names[index] : 0;
}

static void hv_add_row(const struct hv_counters *row, uint64_t sums[SUM_LIMIT])
{
	for (int index = 0; index < CALL_LIMIT; index++)
		sums[index] += __atomic_load_n(&row->calls[index], __ATOMIC_RELAXED);
	sums[SUM_COPIES] += __atomic_load_n(&row->copies, __ATOMIC_RELAXED);
	sums[SUM_BYTES] += __atomic_load_n(&row->bytes, __ATOMIC_RELAXED);
	sums[SUM_TRANSFERS] += __atomic_load_n(&row->transfers, __ATOMIC_RELAXED);
	sums[SUM_TRANSFERRED] += __atomic_load_n(&row->transferred, __ATOMIC_RELAXED);
}

/* The rows of an adapter: one per port, and one in each of its partition's general publications. */
static const struct hv_counters *hv_adapter_row(struct hv_header *state, const struct hv_adapter *adapter, uint32_t which)
{
	const struct hv_partition *partition = hv_partition(state, adapter->partition);

	if (which < HV_ADAPTER_PUBLICATIONS)
		return hv_counters(state, adapter->counters + which);
	which -= HV_ADAPTER_PUBLICATIONS;
	return hv_counters(state, partition->counters + (uint64_t)which * (partition->adapters + 1) + adapter->local);
}

void hv_sum(struct hv_header *state, uint32_t index, uint64_t sums[SUM_LIMIT])
{
	const struct hv_adapter *adapter = hv_adapter(state, index);

	memset(sums, 0, SUM_LIMIT * sizeof *sums);
	for (uint32_t which = 0; which < HV_ADAPTER_PUBLICATIONS + HV_GENERAL_PUBLICATIONS; which++) {
		const struct hv_counters *row = hv_adapter_row(state, adapter, which);

		hv_add_row(row, sums);
		sums[SUM_INTERRUPTS] += __atomic_load_n(&row->raised_self, __ATOMIC_RELAXED);
		if (adapter->partner == HV_NONE)
			continue;
		row = hv_adapter_row(state, hv_adapter(state, adapter->partner), which);
		sums[SUM_INTERRUPTS] += __atomic_load_n(&row->raised_partner, __ATOMIC_RELAXED);
	}
}

void hv_sum_other(struct hv_header *state, uint32_t index, uint64_t sums[SUM_LIMIT])
{
	const struct hv_partition *partition = hv_partition(state, index);

	memset(sums, 0, SUM_LIMIT * sizeof *sums);
	for (uint64_t which = 0; which < HV_GENERAL_PUBLICATIONS; which++)
		hv_add_row(hv_counters(state, partition->counters + which * (partition->adapters + 1) + partition->adapters), sums);
}

/* Calls that run meanwhile may keep their old counts: for use between runs. */
void hv_reset_counters(struct hv_header *state)
{
	memset((char *)state + state->counters_at, 0, state->trace_at - state->counters_at);
}

static void hv_set_mode(struct hv_header *state, uint32_t bit, int enabled)
{
	if (enabled)
		__atomic_or_fetch(&state->mode, bit, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(&state->mode, ~bit, __ATOMIC_SEQ_CST);
}

void hv_set_trace(struct hv_header *state, int enabled)
{
	hv_set_mode(state, HV_MODE_TRACE, enabled);
}

void hv_set_weak(struct hv_header *state, int enabled, uint32_t seed)
{
	__atomic_store_n(&state->weak_seed, seed, __ATOMIC_RELAXED);
	hv_set_mode(state, HV_MODE_WEAK, enabled);
}

void hv_set_prices(struct hv_header *state, uint64_t ns_per_call, uint64_t ns_per_kib)
{
	__atomic_store_n(&state->ns_per_call, ns_per_call, __ATOMIC_RELAXED);
	__atomic_store_n(&state->ns_per_kib, ns_per_kib, __ATOMIC_RELAXED);
	hv_set_mode(state, HV_MODE_PRICES, ns_per_call || ns_per_kib);
}

int hv_read_trace(struct hv_header *state, uint64_t sequence, struct hv_trace_entry *entry)
{
	struct hv_trace_entry *from;
	uint64_t found;

	if (!sequence || !state->trace_entries)
		return 0;
	from = hv_trace_entry(state, (sequence - 1) % state->trace_entries);
	found = __atomic_load_n(&from->sequence, __ATOMIC_ACQUIRE);
	if (found != sequence)
		return found > sequence || __atomic_load_n(&state->trace_next, __ATOMIC_RELAXED) > sequence - 1 + state->trace_entries ? -1 : 0;
	*entry = *from;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&from->sequence, __ATOMIC_RELAXED) == sequence ? 1 : -1;
}

uint64_t hv_trace_last(struct hv_header *state)
{
	return __atomic_load_n(&state->trace_next, __ATOMIC_RELAXED);
}

uint32_t hv_crq_state(struct hv_header *state, uint32_t adapter)
{
	return __atomic_load_n(&hv_adapter(state, adapter)->state, __ATOMIC_ACQUIRE);
}

/* c: copies of `length` bytes in vectors of 64 · p: map and unmap of one page at the window's last page, per call
 * s: sends (the receiver frees nothing, so at most a ring's worth of rounds succeed) */
double hv_measure(struct seam_port *port, int what, uint64_t rounds, uint64_t length)
{
	struct seam_copy vector[64];
	const uint64_t entry[1][2] = { { 0x80ull << 56, 0 } };
	struct timespec start, end;
	uint64_t done, made = 0;

	for (int index = 0; index < 64; index++)
		vector[index] = (struct seam_copy){ 0, 0, (uint32_t)length, 1 };
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (made < rounds) {
		int64_t code = 0;

		switch (what) {
		case 'c':
			code = port->copy(port->context, vector, 64, &done);
			made += 64;
			break;
		case 'p':
			code = port->map(port->context, length, 0, TCE_PAGE, TCE_ACCESS);
			if (!code)
				code = port->unmap(port->context, length, TCE_PAGE);
			made += 2;
			break;
		default:
			code = port->send(port->context, entry, 1, &done);
			made++;
		}
		if (code)
			return -1;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / (double)made;
}
