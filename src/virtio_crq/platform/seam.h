/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* The seam between a partition and whatever is below it. Compiled code stands on this header and on nothing else. */
#ifndef VIRTIO_CRQ_SEAM_H
#define VIRTIO_CRQ_SEAM_H

#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SEAM_VERSION 3
#define SEAM_CAPSULE "virtio_crq.platform.seam"
#define SEAM_REGISTERS 9 /* R4..R12, in and out */
#define SEAM_READ 1      /* access bits of a mapping: the other side may read, may write */
#define SEAM_WRITE 2
#define SEAM_RECORD 32 /* bytes of a record in a side queue; its first byte is its header: 0 free, 0x80 there */
#define SEAM_RECORD_WORDS 4

/* One copy between one's own mapped memory and the partner's; both are addresses on the I/O bus. */
struct seam_copy {
	uint64_t remote;
	uint64_t local;
	uint32_t length;
	uint32_t outward; /* 0: remote to local, 1: local to remote */
};

/* One transfer between a file and the partner's memory, made below the seam: whole pages of 4 KiB. `moved` is the answer:
 * bytes from the first on, or a negative number of errno. What did not move is the caller's to do by copies. */
struct seam_transfer {
	uint64_t remote; /* on the I/O bus, as in a copy */
	uint64_t position;
	uint32_t length;
	uint32_t file;	/* as `lend` numbered it */
	uint32_t write; /* 0: file to memory, 1: memory to file */
	uint32_t reserved;
	int64_t moved;
};

/* An opened adapter. Return values are those of the platform: 0 is success. `done` counts whole copies or entries. */
struct seam_port {
	uint64_t version;
	void *context;
	uint8_t *memory; /* the partition's own RAM, never anybody else's */
	uint64_t size;
	int64_t (*call)(void *context, uint64_t operation, uint64_t registers[SEAM_REGISTERS]);
	int64_t (*copy)(void *context, const struct seam_copy *vector, uint64_t count, uint64_t *done);
	int64_t (*send)(void *context, const uint64_t (*entries)[2], uint64_t count, uint64_t *done);
	int64_t (*map)(void *context, uint64_t bus, uint64_t offset, uint64_t length, uint64_t access);
	int64_t (*unmap)(void *context, uint64_t bus, uint64_t length);
	int64_t (*signal)(void *context, uint64_t enabled);
	/* Redirected transfers go through this storage adapter, [bus, bus+size) of its window is theirs. */
	int64_t (*storage)(void *context, uint64_t unit, uint64_t bus, uint64_t size);
	int64_t (*lend)(void *context, int descriptor); /* a number for `file`, or a negative code */
	void (*reclaim)(void *context, uint64_t file);
	int64_t (*transfer)(void *context, struct seam_transfer *vector, uint64_t count);
	/* Side queues: rings of records in own mapped memory, beside the adapter's queue of entries and only while that is
	 * up. Where the platform has none, opening answers H_Function. `out`: the handle that the partner sends to, and the
	 * number by which the queue's interrupt is turned on and off; it fires at `descriptor` as well. */
	int64_t (*queue_open)(void *context, uint64_t bus, uint64_t length, uint64_t out[2]);
	int64_t (*queue_close)(void *context, uint64_t handle); /* H_Busy: the same call again */
	/* One record, most significant byte first; or `count` of them in one page of own mapped memory: all or none. */
	int64_t (*queue_send)(void *context, uint64_t handle, const uint64_t words[SEAM_RECORD_WORDS]);
	int64_t (*queue_batch)(void *context, uint64_t handle, uint64_t bus, uint64_t count);
	int64_t (*queue_signal)(void *context, uint64_t interrupt, uint64_t enabled);
	int descriptor; /* readable when the adapter's interrupt fired */
};

/* What one thread holds of a port: the port, and its vector of copies that are staged but not yet asked for. */
#define SEAM_VECTOR 1024
#define SEAM_TRANSFERS 512

struct seam_handle {
	struct seam_port *port;
	uint8_t *memory;
	uint64_t size;
	int fault;
	uint64_t staged, done;
	struct seam_copy vector[SEAM_VECTOR];
	uint64_t transfers;
	struct seam_transfer transfer[SEAM_TRANSFERS];
};

/* What a handle has once it was closed: no memory, and a platform that has no such adapter (H_Hardware) any more. */
static int64_t seam_closed_call(void *context, uint64_t operation, uint64_t registers[SEAM_REGISTERS])
{
	(void)context, (void)operation, (void)registers;
	return -1;
}

static int64_t seam_closed_copy(void *context, const struct seam_copy *vector, uint64_t count, uint64_t *done)
{
	(void)context, (void)vector, (void)count;
	*done = 0;
	return -1;
}

static int64_t seam_closed_send(void *context, const uint64_t (*entries)[2], uint64_t count, uint64_t *done)
{
	(void)context, (void)entries, (void)count;
	*done = 0;
	return -1;
}

static int64_t seam_closed_map(void *context, uint64_t bus, uint64_t offset, uint64_t length, uint64_t access)
{
	(void)context, (void)bus, (void)offset, (void)length, (void)access;
	return -1;
}

static int64_t seam_closed_unmap(void *context, uint64_t bus, uint64_t length)
{
	(void)context, (void)bus, (void)length;
	return -1;
}

static int64_t seam_closed_signal(void *context, uint64_t enabled)
{
	(void)context, (void)enabled;
	return -1;
}

static int64_t seam_closed_storage(void *context, uint64_t unit, uint64_t bus, uint64_t size)
{
	(void)context, (void)unit, (void)bus, (void)size;
	return -1;
}

static int64_t seam_closed_lend(void *context, int descriptor)
{
	(void)context, (void)descriptor;
	return -1;
}

static void seam_closed_reclaim(void *context, uint64_t file)
{
	(void)context, (void)file;
}

static int64_t seam_closed_transfer(void *context, struct seam_transfer *vector, uint64_t count)
{
	(void)context;
	for (uint64_t index = 0; index < count; index++)
		vector[index].moved = -1;
	return -1;
}

static int64_t seam_closed_queue_open(void *context, uint64_t bus, uint64_t length, uint64_t out[2])
{
	(void)context, (void)bus, (void)length;
	out[0] = out[1] = 0;
	return -1;
}

static int64_t seam_closed_queue_close(void *context, uint64_t handle)
{
	(void)context, (void)handle;
	return -1;
}

static int64_t seam_closed_queue_send(void *context, uint64_t handle, const uint64_t words[SEAM_RECORD_WORDS])
{
	(void)context, (void)handle, (void)words;
	return -1;
}

static int64_t seam_closed_queue_batch(void *context, uint64_t handle, uint64_t bus, uint64_t count)
{
	(void)context, (void)handle, (void)bus, (void)count;
	return -1;
}

static int64_t seam_closed_queue_signal(void *context, uint64_t interrupt, uint64_t enabled)
{
	(void)context, (void)interrupt, (void)enabled;
	return -1;
}

static inline void seam_handle_close(struct seam_handle *handle)
{
	static struct seam_port closed = {
		.version = SEAM_VERSION,
		.call = seam_closed_call,
		.copy = seam_closed_copy,
		.send = seam_closed_send,
		.map = seam_closed_map,
		.unmap = seam_closed_unmap,
		.signal = seam_closed_signal,
		.storage = seam_closed_storage,
		.lend = seam_closed_lend,
		.reclaim = seam_closed_reclaim,
		.transfer = seam_closed_transfer,
		.queue_open = seam_closed_queue_open,
		.queue_close = seam_closed_queue_close,
		.queue_send = seam_closed_queue_send,
		.queue_batch = seam_closed_queue_batch,
		.queue_signal = seam_closed_queue_signal,
		.descriptor = -1,
	};

	handle->port = &closed;
	handle->memory = 0;
	handle->size = 0;
	handle->staged = 0;
}

static inline struct seam_handle *seam_handle_new(void *port)
{
	struct seam_handle *handle = calloc(1, sizeof *handle);

	if (handle && port) {
		handle->port = port;
		handle->memory = handle->port->memory;
		handle->size = handle->port->size;
	}
	return handle;
}

static inline void seam_handle_free(struct seam_handle *handle)
{
	free(handle);
}

/* Runs the staged vector; whatever the answer, it is empty afterwards and `done` says how many copies were made. */
static inline int64_t seam_flush(struct seam_handle *handle)
{
	uint64_t count = handle->staged;

	handle->staged = 0;
	handle->done = 0;
	return count ? handle->port->copy(handle->port->context, handle->vector, count, &handle->done) : 0;
}

static inline int64_t seam_stage(struct seam_handle *handle, uint64_t remote, uint64_t local, uint64_t length, uint64_t outward)
{
	struct seam_copy copy = { remote, local, (uint32_t)length, outward != 0 };

	if (handle->staged == SEAM_VECTOR)
		return -1;
	handle->vector[handle->staged++] = copy;
	return 0;
}

/* Lengthens the copy that was staged last, if this one goes on at both its ends and it has room below `most`: by how
 * many bytes. Less than a page is joined whole or not at all, so that no field is torn. */
static inline uint64_t seam_extend(struct seam_handle *handle, uint64_t remote, uint64_t local, uint64_t length, uint64_t outward,
				   uint64_t most)
{
	struct seam_copy *last;

	if (!handle->staged)
		return 0;
	last = &handle->vector[handle->staged - 1];
	if (last->remote + last->length != remote || last->local + last->length != local || last->outward != (outward != 0) ||
	    last->length >= most)
		return 0;
	if (length > most - last->length) {
		if (length < 4096)
			return 0;
		length = most - last->length;
	}
	last->length += (uint32_t)length;
	return length;
}

/* The number of the staged transfer, or -1 when there is no room for it. */
static inline int64_t seam_stage_transfer(struct seam_handle *handle, uint64_t file, uint64_t remote, uint64_t length,
					  uint64_t position, uint64_t write)
{
	if (handle->transfers == SEAM_TRANSFERS || length > UINT32_MAX)
		return -1;
	handle->transfer[handle->transfers] = (struct seam_transfer){
		.remote = remote, .position = position, .length = (uint32_t)length, .file = (uint32_t)file, .write = write != 0,
		.moved = -1,
	};
	return (int64_t)handle->transfers++;
}

/* Makes the staged transfers; what each moved is there until the next one is staged. */
static inline int64_t seam_transfer_all(struct seam_handle *handle)
{
	uint64_t count = handle->transfers;

	handle->transfers = 0;
	return count ? handle->port->transfer(handle->port->context, handle->transfer, count) : 0;
}

static inline int64_t seam_moved(const struct seam_handle *handle, uint64_t index)
{
	return index < SEAM_TRANSFERS ? handle->transfer[index].moved : -1;
}

static inline int64_t seam_send(struct seam_handle *handle, uint64_t high, uint64_t low)
{
	const uint64_t entry[1][2] = { { high, low } };
	uint64_t done = 0;

	return handle->port->send(handle->port->context, entry, 1, &done);
}

/* SAFETY: bounded as below. The record at `offset`, sent as one. */
static inline int64_t seam_queue_send(struct seam_handle *handle, uint64_t queue, uint64_t offset)
{
	uint64_t words[SEAM_RECORD_WORDS];

	if (offset > handle->size || SEAM_RECORD > handle->size - offset) {
		handle->fault = 1;
		return -1;
	}
	memcpy(words, handle->memory + offset, sizeof words);
	for (int index = 0; index < SEAM_RECORD_WORDS; index++)
		words[index] = __builtin_bswap64(words[index]);
	return handle->port->queue_send(handle->port->context, queue, words);
}

/* SAFETY: every access below is bounded by the partition's own size; `fault` is set and 0 returned outside it. */
#if UINTPTR_MAX < UINT64_MAX
#error "offsets and sizes are of 64 bits here, and so must be the host's memory"
#endif
#define SEAM_INSIDE(handle, offset, width) ((offset) <= (handle)->size && (width) <= (handle)->size - (offset))

#define SEAM_ACCESS(bits)                                                                                             \
	static inline uint64_t seam_load##bits(struct seam_handle *handle, uint64_t offset)             \
	{                                                                                                             \
		uint##bits##_t value;                                                                                 \
		if (!SEAM_INSIDE(handle, offset, sizeof value)) {                                                       \
			handle->fault = 1;                                                                                   \
			return 0;                                                                                     \
		}                                                                                                     \
		memcpy(&value, handle->memory + offset, sizeof value);                                                  \
		return value;                                                                                         \
	}                                                                                                             \
	static inline void seam_store##bits(struct seam_handle *handle, uint64_t offset, uint64_t value) \
	{                                                                                                             \
		uint##bits##_t narrow = (uint##bits##_t)value;                                                        \
		if (!SEAM_INSIDE(handle, offset, sizeof narrow)) {                                                      \
			handle->fault = 1;                                                                                   \
			return;                                                                                       \
		}                                                                                                     \
		memcpy(handle->memory + offset, &narrow, sizeof narrow);                                                \
	}

/* Host order; guest layouts are little-endian and so are the hosts this builds on (checked at compile time below). */
SEAM_ACCESS(8)
SEAM_ACCESS(16)
SEAM_ACCESS(32)
SEAM_ACCESS(64)
#undef SEAM_ACCESS

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "virtio-crq builds on little-endian hosts only"
#endif

/* SAFETY: bounded as above, and naturally aligned, so that the access is one load or store. */
#define SEAM_ALIGNED(handle, offset, width) (SEAM_INSIDE(handle, offset, width) && !((offset) % (width)))

static inline uint64_t seam_acquire8(struct seam_handle *handle, uint64_t offset)
{
	if (!SEAM_INSIDE(handle, offset, 1)) {
		handle->fault = 1;
		return 0;
	}
	return __atomic_load_n(handle->memory + offset, __ATOMIC_ACQUIRE);
}

static inline void seam_release8(struct seam_handle *handle, uint64_t offset, uint64_t value)
{
	if (!SEAM_INSIDE(handle, offset, 1)) {
		handle->fault = 1;
		return;
	}
	__atomic_store_n(handle->memory + offset, (uint8_t)value, __ATOMIC_RELEASE);
}

static inline uint64_t seam_acquire16(struct seam_handle *handle, uint64_t offset)
{
	if (!SEAM_ALIGNED(handle, offset, 2)) {
		handle->fault = 1;
		return 0;
	}
	return __atomic_load_n((uint16_t *)(handle->memory + offset), __ATOMIC_ACQUIRE);
}

static inline void seam_release16(struct seam_handle *handle, uint64_t offset, uint64_t value)
{
	if (!SEAM_ALIGNED(handle, offset, 2)) {
		handle->fault = 1;
		return;
	}
	__atomic_store_n((uint16_t *)(handle->memory + offset), (uint16_t)value, __ATOMIC_RELEASE);
}

/* SAFETY: both stretches lie inside the partition's own RAM, or nothing is moved; they may overlap. */
static inline void seam_move(struct seam_handle *handle, uint64_t source, uint64_t destination, uint64_t length)
{
	if (!SEAM_INSIDE(handle, source, length) || !SEAM_INSIDE(handle, destination, length)) {
		handle->fault = 1;
		return;
	}
	memmove(handle->memory + destination, handle->memory + source, length);
}

static inline uint64_t seam_swap64(uint64_t value)
{
	return __builtin_bswap64(value);
}

static inline void seam_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* For a loop that found nothing for a while: whoever it waits for may need this very processor. */
static inline void seam_yield(void)
{
	sched_yield();
}

static inline void seam_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

#endif
