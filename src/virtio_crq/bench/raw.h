/* SPDX-License-Identifier: Apache-2.0 */
/* What the file gives without any of us: random or sequential I/O on it by one thread, by pread or by io_uring. */
#ifndef VIRTIO_CRQ_RAW_H
#define VIRTIO_CRQ_RAW_H

#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RAW_DEPTH_MAX 256

struct raw_job {
	int fd;
	uint64_t blocks; /* the file holds this many */
	uint32_t size;   /* bytes of one block */
	uint32_t depth;
	int write;
	int sequential;
	uint64_t nanoseconds; /* how long to run */
	/* found out: */
	uint64_t ops;
	uint64_t elapsed;
};

static inline uint64_t raw_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct raw_walk {
	uint64_t state, next;
};

static inline uint64_t raw_offset(struct raw_walk *walk, const struct raw_job *job)
{
	uint64_t block;

	if (job->sequential) {
		block = walk->next;
		walk->next = block + 1 == job->blocks ? 0 : block + 1;
	} else {
		walk->state ^= walk->state << 13;
		walk->state ^= walk->state >> 7;
		walk->state ^= walk->state << 17;
		block = walk->state % job->blocks;
	}
	return block * job->size;
}

static inline void *raw_buffers(const struct raw_job *job)
{
	size_t bytes = (size_t)job->size * job->depth;
	void *buffers = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);

	if (buffers)
		memset(buffers, 0x5a, bytes);
	return buffers;
}

/* SAFETY: touches its own buffer and the descriptor it was given. Returns 0 or a negative errno. */
static int64_t raw_pread(struct raw_job *job)
{
	struct raw_walk walk = { 0x9e3779b97f4a7c15u, 0 };
	uint64_t start = raw_clock(), ops = 0;
	char *buffers = raw_buffers(job);
	int64_t answer = 0;

	if (!buffers)
		return -ENOMEM;
	do {
		for (uint32_t i = 0; i < 64 && answer >= 0; i++, ops++) {
			char *buffer = buffers + (size_t)(i % job->depth) * job->size;
			uint64_t offset = raw_offset(&walk, job);

			answer = job->write ? pwrite(job->fd, buffer, job->size, (off_t)offset)
					    : pread(job->fd, buffer, job->size, (off_t)offset);
			if (answer >= 0 && answer != job->size)
				answer = -EIO;
			else if (answer < 0)
				answer = -errno;
		}
		job->elapsed = raw_clock() - start;
	} while (answer >= 0 && job->elapsed < job->nanoseconds);
	job->ops = ops;
	free(buffers);
	return answer < 0 ? answer : 0;
}

struct raw_ring {
	int fd;
	void *map;
	size_t map_size;
	struct io_uring_sqe *entries;
	size_t entries_size;
	uint32_t *sq_tail, *cq_head, *cq_tail, sq_mask, cq_mask;
	struct io_uring_cqe *completions;
};

static void raw_ring_close(struct raw_ring *ring)
{
	if (ring->entries && ring->entries != MAP_FAILED)
		munmap(ring->entries, ring->entries_size);
	if (ring->map && ring->map != MAP_FAILED)
		munmap(ring->map, ring->map_size);
	if (ring->fd >= 0)
		close(ring->fd);
}

static int64_t raw_ring_open(struct raw_ring *ring, uint32_t depth)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };
	uint32_t *array;
	size_t completions;

	memset(ring, 0, sizeof *ring);
	ring->fd = (int)syscall(__NR_io_uring_setup, depth, &params);
	if (ring->fd < 0 && errno == EINVAL) { /* before Linux 6.1 */
		memset(&params, 0, sizeof params);
		ring->fd = (int)syscall(__NR_io_uring_setup, depth, &params);
	}
	if (ring->fd < 0)
		return -errno;
	if (!(params.features & IORING_FEAT_SINGLE_MMAP))
		return -ENOSYS;
	ring->map_size = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
	completions = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
	if (completions > ring->map_size)
		ring->map_size = completions;
	ring->entries_size = params.sq_entries * sizeof(struct io_uring_sqe);
	ring->map = mmap(NULL, ring->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	ring->entries = mmap(NULL, ring->entries_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	if (ring->map == MAP_FAILED || ring->entries == MAP_FAILED)
		return -errno;
	ring->sq_tail = (uint32_t *)((char *)ring->map + params.sq_off.tail);
	ring->sq_mask = params.sq_entries - 1;
	ring->cq_head = (uint32_t *)((char *)ring->map + params.cq_off.head);
	ring->cq_tail = (uint32_t *)((char *)ring->map + params.cq_off.tail);
	ring->cq_mask = params.cq_entries - 1;
	ring->completions = (struct io_uring_cqe *)((char *)ring->map + params.cq_off.cqes);
	array = (uint32_t *)((char *)ring->map + params.sq_off.array);
	for (uint32_t i = 0; i < params.sq_entries; i++)
		array[i] = i;
	return 0;
}

static void raw_put(struct raw_ring *ring, const struct raw_job *job, char *buffers, uint32_t slot, uint64_t offset, int fixed)
{
	struct io_uring_sqe *entry = &ring->entries[*ring->sq_tail & ring->sq_mask];

	memset(entry, 0, sizeof *entry);
	if (fixed)
		entry->opcode = job->write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
	else
		entry->opcode = job->write ? IORING_OP_WRITE : IORING_OP_READ;
	entry->flags = IOSQE_FIXED_FILE;
	entry->off = offset;
	entry->addr = (uint64_t)(uintptr_t)(buffers + (size_t)slot * job->size);
	entry->len = job->size;
	entry->user_data = slot;
	__atomic_store_n(ring->sq_tail, *ring->sq_tail + 1, __ATOMIC_RELEASE);
}

/* Keeps `depth` requests in flight: what completed is refilled and submitted with one call.
 * SAFETY: its own ring and buffers; the kernel writes into buffers only until the last completion, awaited below. */
static int64_t raw_uring(struct raw_job *job)
{
	struct raw_walk walk = { 0x9e3779b97f4a7c15u, 0 };
	uint64_t start, ops = 0;
	struct raw_ring ring;
	char *buffers = raw_buffers(job);
	int64_t answer = buffers ? raw_ring_open(&ring, job->depth) : -ENOMEM;
	struct iovec whole = { buffers, (size_t)job->size * job->depth };
	uint32_t refill = job->depth, flight = 0, looked = 0;
	int fixed;

	if (!buffers)
		return answer;
	if (answer == 0 && syscall(__NR_io_uring_register, ring.fd, IORING_REGISTER_FILES, &job->fd, 1) < 0)
		answer = -errno;
	fixed = answer == 0 && syscall(__NR_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &whole, 1) == 0;
	for (uint32_t i = 0; answer == 0 && i < refill; i++)
		raw_put(&ring, job, buffers, i, raw_offset(&walk, job), fixed);
	start = raw_clock();
	while (answer == 0 && (refill || flight)) {
		uint32_t head = *ring.cq_head, tail;
		long done = syscall(__NR_io_uring_enter, ring.fd, refill, 1, IORING_ENTER_GETEVENTS, NULL, 0);
		int stop = 0;

		if (done < 0 && errno != EINTR)
			answer = -errno;
		if (done < 0)
			continue;
		flight += (uint32_t)done;
		refill -= (uint32_t)done;
		if ((looked++ & 15) == 0 || job->size > 65536)
			job->elapsed = raw_clock() - start;
		stop = job->elapsed >= job->nanoseconds;
		tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
		for (; head != tail; head++, ops++, flight--) {
			struct io_uring_cqe *completion = &ring.completions[head & ring.cq_mask];

			if (completion->res != (int32_t)job->size && answer == 0)
				answer = completion->res < 0 ? completion->res : -EIO;
			if (stop || answer)
				continue;
			raw_put(&ring, job, buffers, (uint32_t)completion->user_data, raw_offset(&walk, job), fixed);
			refill++;
		}
		__atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
	}
	job->elapsed = raw_clock() - start;
	job->ops = ops;
	raw_ring_close(&ring);
	free(buffers);
	return answer;
}

/* How many pages of a mapping are in memory; negative errno when it cannot be told. SAFETY: mapping is [address, +length). */
static int64_t raw_resident(void *address, uint64_t length)
{
	uint64_t pages = (length + 4095) / 4096, found = 0;
	unsigned char *seen = malloc(pages ? pages : 1);

	if (!seen)
		return -ENOMEM;
	if (mincore(address, length, seen) < 0) {
		free(seen);
		return -errno;
	}
	for (uint64_t i = 0; i < pages; i++)
		found += seen[i] & 1;
	free(seen);
	return (int64_t)found;
}

/* A file held in memory: mapped and locked. SAFETY: the mapping is kept until raw_release. */
struct raw_pin {
	void *address;
	uint64_t length;
	int locked; /* 0, or why not: a negative errno */
};

static int64_t raw_pin(struct raw_pin *pin, int fd, uint64_t length)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY }, now;

	pin->address = mmap(NULL, length, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (pin->address == MAP_FAILED) {
		pin->address = NULL;
		return -errno;
	}
	pin->length = length;
	if (setrlimit(RLIMIT_MEMLOCK, &all) < 0 && getrlimit(RLIMIT_MEMLOCK, &now) == 0) {
		now.rlim_cur = now.rlim_max;
		setrlimit(RLIMIT_MEMLOCK, &now);
	}
	pin->locked = mlock(pin->address, length) < 0 ? -errno : 0;
	return 0;
}

static void raw_release(struct raw_pin *pin)
{
	if (pin->address)
		munmap(pin->address, pin->length);
	pin->address = NULL;
}

#endif
