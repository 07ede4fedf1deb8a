/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attachment.h"

static void *hv_map(int descriptor, uint64_t *bytes)
{
	struct stat status;
	void *memory;

	if (fstat(descriptor, &status) < 0)
		return 0;
	*bytes = (uint64_t)status.st_size;
	memory = mmap(0, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	return memory == MAP_FAILED ? 0 : memory;
}

static int hv_attachment_tables(struct hv_attachment *attachment)
{
	const struct hv_header *state = attachment->state;

	attachment->ram = calloc(state->partitions, sizeof *attachment->ram);
	attachment->ram_bytes = calloc(state->partitions, sizeof *attachment->ram_bytes);
	attachment->doorbell = calloc(state->adapters + 1, sizeof *attachment->doorbell);
	if (!attachment->ram || !attachment->ram_bytes || !attachment->doorbell)
		return -1;
	for (uint32_t index = 0; index < state->adapters; index++)
		attachment->doorbell[index] = (struct hv_doorbell){ -1, DOORBELL_EVENTFD, -1 };
	return 0;
}

struct hv_attachment *hv_attach(int state, uint32_t partition, const char **why)
{
	struct hv_attachment *attachment = calloc(1, sizeof *attachment);

	*why = 0;
	if (!attachment)
		return 0;
	attachment->references = 1;
	attachment->state = hv_map(state, &attachment->state_bytes);
	if (!attachment->state) {
		free(attachment);
		return 0;
	}
	*why = hv_state_refusal(attachment->state, attachment->state_bytes);
	if (!*why && partition >= attachment->state->partitions)
		*why = "there is no such partition";
	if (*why) {
		munmap(attachment->state, attachment->state_bytes);
		free(attachment);
		return 0;
	}
	attachment->partition = partition;
	attachment->own = hv_partition(attachment->state, partition);
	if (hv_attachment_tables(attachment) < 0) {
		hv_detach(attachment);
		return 0;
	}
	return attachment;
}

int hv_attach_ram(struct hv_attachment *attachment, uint32_t partition, int ram)
{
	uint64_t bytes;
	void *memory;

	if (partition >= attachment->state->partitions || attachment->ram[partition]) {
		errno = EINVAL;
		return -1;
	}
	memory = hv_map(ram, &bytes);
	if (!memory)
		return -1;
	/* Every TCE was checked against the partition's size, so what is mapped must be that long. */
	if (bytes < hv_partition(attachment->state, partition)->memory) {
		munmap(memory, bytes);
		errno = EINVAL;
		return -1;
	}
	attachment->ram[partition] = memory;
	attachment->ram_bytes[partition] = bytes;
	return 0;
}

int hv_attach_doorbell(struct hv_attachment *attachment, uint32_t adapter, int descriptor, int kind)
{
	if (adapter >= attachment->state->adapters || attachment->doorbell[adapter].descriptor >= 0) {
		errno = EINVAL;
		return -1;
	}
	descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
	if (descriptor < 0)
		return -1;
	attachment->doorbell[adapter].descriptor = descriptor;
	attachment->doorbell[adapter].kind = kind;
	return 0;
}

int hv_attach_receiver(struct hv_attachment *attachment, uint32_t adapter, int descriptor)
{
	if (adapter >= attachment->state->adapters || attachment->doorbell[adapter].receiver >= 0) {
		errno = EINVAL;
		return -1;
	}
	attachment->doorbell[adapter].receiver = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
	return attachment->doorbell[adapter].receiver < 0 ? -1 : 0;
}

void hv_detach(struct hv_attachment *attachment)
{
	if (__atomic_sub_fetch(&attachment->references, 1, __ATOMIC_ACQ_REL))
		return;
	for (uint32_t index = 0; attachment->doorbell && index < attachment->state->adapters; index++) {
		if (attachment->doorbell[index].descriptor >= 0)
			close(attachment->doorbell[index].descriptor);
		if (attachment->doorbell[index].receiver >= 0)
			close(attachment->doorbell[index].receiver);
	}
	for (uint32_t index = 0; attachment->ram && index < attachment->state->partitions; index++)
		if (attachment->ram[index])
			munmap(attachment->ram[index], attachment->ram_bytes[index]);
	munmap(attachment->state, attachment->state_bytes);
	free(attachment->ram);
	free(attachment->ram_bytes);
	free(attachment->doorbell);
	free(attachment);
}

static int64_t hv_claim(struct hv_caller *caller, uint64_t *claimed, uint32_t limit)
{
	uint64_t all = limit == 64 ? ~0ull : (1ull << limit) - 1;
	uint64_t taken = __atomic_load_n(claimed, __ATOMIC_RELAXED);

	for (;;) {
		uint64_t free_bits = all & ~taken;

		if (!free_bits)
			return -1;
		caller->claim = free_bits & -free_bits;
		if (__atomic_compare_exchange_n(claimed, &taken, taken | caller->claim, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			break;
	}
	caller->claimed = claimed;
	return __builtin_ctzll(caller->claim);
}

static void hv_caller_start(struct hv_caller *caller, struct hv_attachment *attachment)
{
	caller->attachment = attachment;
	caller->state = attachment->state;
	caller->own = attachment->own;
	caller->generation = __atomic_load_n(&attachment->own->generation, __ATOMIC_ACQUIRE);
}

int64_t hv_caller_open(struct hv_caller *caller, struct hv_attachment *attachment)
{
	int64_t index;

	hv_caller_start(caller, attachment);
	index = hv_claim(caller, &caller->own->claimed, HV_GENERAL_PUBLICATIONS);
	if (index < 0)
		return H_RESOURCE;
	caller->general = 1;
	caller->publication = hv_publication(caller->state, caller->own->publications + (uint64_t)index);
	caller->counters = hv_counters(caller->state, caller->own->counters + (uint64_t)index * (caller->own->adapters + 1));
	return H_SUCCESS;
}

int64_t hv_caller_open_adapter(struct hv_caller *caller, struct hv_attachment *attachment, struct hv_adapter *adapter)
{
	int64_t index;

	hv_caller_start(caller, attachment);
	index = hv_claim(caller, &adapter->claimed, HV_ADAPTER_PUBLICATIONS);
	if (index < 0)
		return H_RESOURCE;
	caller->general = 0;
	caller->publication = hv_publication(caller->state, adapter->publications + (uint64_t)index);
	caller->counters = hv_counters(caller->state, adapter->counters + (uint64_t)index);
	return H_SUCCESS;
}

/* After a reap the claim belongs to somebody else: the generation tells. */
void hv_caller_close(struct hv_caller *caller)
{
	if (caller->claimed && caller->generation == __atomic_load_n(&caller->own->generation, __ATOMIC_ACQUIRE))
		__atomic_and_fetch(caller->claimed, ~caller->claim, __ATOMIC_RELEASE);
	caller->claimed = 0;
}

/* Adapters of a partition ascend by unit address. */
struct hv_adapter *hv_find(struct hv_header *state, const struct hv_partition *partition, uint64_t unit_address)
{
	struct hv_adapter *first = hv_adapter(state, partition->first_adapter);
	uint32_t low = 0, high = partition->adapters;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (first[middle].unit_address == unit_address)
			return &first[middle];
		if (first[middle].unit_address < unit_address)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}
