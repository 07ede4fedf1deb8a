/* SPDX-License-Identifier: Apache-2.0 */
/* What the data plane asks of its own kernel: I/O between files and own RAM, and io_uring by raw system calls. */
#ifndef VIRTIO_CRQ_KERNEL_H
#define VIRTIO_CRQ_KERNEL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "seam.h"

#if defined(__has_include)
#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#define KERNEL_HAS_URING 1
#endif
#endif
#ifndef RWF_DSYNC
#define RWF_DSYNC 2
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

enum { KERNEL_READ, KERNEL_WRITE, KERNEL_WRITE_STABLE, KERNEL_SYNC };

/* SAFETY: every buffer is [offset, offset+length) of the partition's own RAM, held against its size first. */
static inline int64_t kernel_transfer(int fd, struct seam_handle *handle, uint64_t offset, uint64_t length,
				      uint64_t position, int operation, int now)
{
	struct iovec vector;
	int64_t done;
	int flags = (now ? RWF_NOWAIT : 0) | (operation == KERNEL_WRITE_STABLE ? RWF_DSYNC : 0);

	if (operation == KERNEL_SYNC)
		return fdatasync(fd) ? -errno : 0;
	if (!SEAM_INSIDE(handle, offset, length))
		return -EFAULT;
	vector.iov_base = handle->memory + offset;
	vector.iov_len = length;
	/* Not by the library's functions: those are points of cancellation, which costs a thread two atomic exchanges each. The
	 * kernel takes a position as two halves of which a 64-bit one ignores the second. */
	done = syscall(operation == KERNEL_READ ? SYS_preadv2 : SYS_pwritev2, fd, &vector, 1ul, (long)position, 0l, flags);
	return done < 0 ? -errno : done;
}

/* Whether a file lies in memory and nowhere else. SAFETY: writes one local of its own. */
static inline int64_t kernel_in_memory(int fd)
{
	struct statfs found;

	return !fstatfs(fd, &found) && (found.f_type == TMPFS_MAGIC || found.f_type == RAMFS_MAGIC);
}

/* Until the descriptor is readable, at most that long. poll() itself counts in milliseconds.
 * SAFETY: writes locals of its own. */
static inline int64_t kernel_wait(int fd, int64_t nanoseconds)
{
	struct timespec limit = { nanoseconds / 1000000000, nanoseconds % 1000000000 };
	struct pollfd row = { fd, POLLIN, 0 };
	int ready = nanoseconds > 0 ? ppoll(&row, 1, &limit, NULL) : 0;

	return ready < 0 ? -errno : ready;
}

/* As kernel_wait; an interrupt that came is acknowledged. SAFETY: what is read goes into a local of its own. */
static inline int64_t kernel_doze(int fd, int64_t nanoseconds)
{
	uint64_t count;
	int64_t ready = kernel_wait(fd, nanoseconds);

	return ready > 0 && read(fd, &count, sizeof count) < 0 && errno != EAGAIN ? -errno : ready;
}

/* SAFETY: writes one local of its own. */
static inline int64_t kernel_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* SAFETY: what is written is own RAM, held against its size first. */
static inline int64_t kernel_zero(struct seam_handle *handle, uint64_t offset, uint64_t length)
{
	if (!SEAM_INSIDE(handle, offset, length))
		return -EFAULT;
	memset(handle->memory + offset, 0, length);
	return 0;
}

/* SAFETY: what is written is own RAM, held against its size first. */
static inline int64_t kernel_random(struct seam_handle *handle, uint64_t offset, uint64_t length)
{
	uint64_t done = 0;

	if (!SEAM_INSIDE(handle, offset, length))
		return -EFAULT;
	while (done < length) {
		ssize_t now = getrandom(handle->memory + offset + done, length - done, 0);

		if (now < 0 && errno != EINTR)
			return -errno;
		done += now > 0 ? (uint64_t)now : 0;
	}
	return 0;
}

/* A disk's worth of anonymous memory. */
struct kernel_memory {
	uint8_t *base;
	uint64_t size;
};

/* SAFETY: a mapping of its own of that size, or null. */
static inline struct kernel_memory *kernel_memory_new(uint64_t size)
{
	struct kernel_memory *memory = calloc(1, sizeof *memory);
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (!memory || base == MAP_FAILED) {
		free(memory);
		return NULL;
	}
	memory->base = base;
	memory->size = size;
	return memory;
}

/* SAFETY: by who made it, once: no move follows. */
static inline void kernel_memory_free(struct kernel_memory *memory)
{
	if (memory)
		munmap(memory->base, memory->size);
	free(memory);
}

/* SAFETY: both ends are held against their sizes, and are never the same memory. */
static inline int64_t kernel_memory_move(struct kernel_memory *memory, struct seam_handle *handle, uint64_t offset,
					 uint64_t length, uint64_t position, int operation)
{
	if (!SEAM_INSIDE(handle, offset, length) || !SEAM_INSIDE(memory, position, length))
		return -EFAULT;
	if (operation == KERNEL_READ)
		memcpy(handle->memory + offset, memory->base + position, length);
	else
		memcpy(memory->base + position, handle->memory + offset, length);
	return 0;
}

/* io_uring: one submitter, which also reaps. */
struct kernel_uring {
	int fd;
	uint32_t entries, queued;
	uint32_t *sq_head, *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	uint8_t *rings, *sqes;
	uint64_t rings_size, sqes_size;
	void *cqes;
	uint64_t token; /* of the completion reaped last */
	int64_t result;
};

#ifdef KERNEL_HAS_URING
/* SAFETY: unmaps what was mapped, once: what is used later finds `rings` null. */
static inline void kernel_uring_close(struct kernel_uring *uring)
{
	if (uring->sqes)
		munmap(uring->sqes, uring->sqes_size);
	if (uring->rings)
		munmap(uring->rings, uring->rings_size);
	if (uring->fd > 0)
		close(uring->fd);
	memset(uring, 0, sizeof *uring);
}

/* SAFETY: the kernel says where in the mappings its fields lie, and how large those are; on failure nothing stays. */
static inline int64_t kernel_uring_open(struct kernel_uring *uring, uint32_t entries, int wakeup)
{
	struct io_uring_params p;
	uint64_t sq_size, cq_size;
	void *map;
	int64_t code;

	memset(uring, 0, sizeof *uring);
	memset(&p, 0, sizeof p);
	uring->fd = (int)syscall(SYS_io_uring_setup, entries, &p);
	if (uring->fd < 0)
		return -errno;
	if (!(p.features & IORING_FEAT_SINGLE_MMAP) || !(p.features & IORING_FEAT_NODROP)) {
		kernel_uring_close(uring);
		return -ENOSYS;
	}
	sq_size = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
	cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	uring->rings_size = sq_size > cq_size ? sq_size : cq_size;
	uring->sqes_size = p.sq_entries * sizeof(struct io_uring_sqe);
	uring->entries = p.sq_entries;
	map = mmap(NULL, uring->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, uring->fd, IORING_OFF_SQ_RING);
	if (map != MAP_FAILED)
		uring->rings = map;
	map = mmap(NULL, uring->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED, uring->fd, IORING_OFF_SQES);
	if (map != MAP_FAILED)
		uring->sqes = map;
	if (!uring->rings || !uring->sqes ||
	    syscall(SYS_io_uring_register, uring->fd, IORING_REGISTER_EVENTFD, &wakeup, 1)) {
		code = -errno;
		kernel_uring_close(uring);
		return code;
	}
	uring->sq_head = (uint32_t *)(uring->rings + p.sq_off.head);
	uring->sq_tail = (uint32_t *)(uring->rings + p.sq_off.tail);
	uring->sq_mask = (uint32_t *)(uring->rings + p.sq_off.ring_mask);
	uring->sq_array = (uint32_t *)(uring->rings + p.sq_off.array);
	uring->cq_head = (uint32_t *)(uring->rings + p.cq_off.head);
	uring->cq_tail = (uint32_t *)(uring->rings + p.cq_off.tail);
	uring->cq_mask = (uint32_t *)(uring->rings + p.cq_off.ring_mask);
	uring->cqes = uring->rings + p.cq_off.cqes;
	return 0;
}

/* SAFETY: the slot is masked, and it is free because the kernel's head says so. -EAGAIN when none is. */
static inline int64_t kernel_uring_queue(struct kernel_uring *uring, int fd, struct seam_handle *handle,
					 uint64_t offset, uint64_t length, uint64_t position, int operation,
					 uint64_t token)
{
	uint32_t tail, slot;
	struct io_uring_sqe *sqe;

	if (!uring->rings)
		return -EBADF;
	tail = *uring->sq_tail;
	slot = tail & *uring->sq_mask;
	sqe = (struct io_uring_sqe *)uring->sqes + slot;
	if (operation != KERNEL_SYNC && !SEAM_INSIDE(handle, offset, length))
		return -EFAULT;
	if (tail - __atomic_load_n(uring->sq_head, __ATOMIC_ACQUIRE) == uring->entries)
		return -EAGAIN;
	memset(sqe, 0, sizeof *sqe);
	sqe->fd = fd;
	sqe->user_data = token;
	if (operation == KERNEL_SYNC) {
		sqe->opcode = IORING_OP_FSYNC;
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
	} else {
		sqe->opcode = operation == KERNEL_READ ? IORING_OP_READ : IORING_OP_WRITE;
		sqe->addr = (uint64_t)(uintptr_t)(handle->memory + offset);
		sqe->len = (uint32_t)length;
		sqe->off = position;
		sqe->rw_flags = operation == KERNEL_WRITE_STABLE ? RWF_DSYNC : 0;
	}
	uring->sq_array[slot] = slot;
	__atomic_store_n(uring->sq_tail, tail + 1, __ATOMIC_RELEASE);
	uring->queued++;
	return 0;
}

/* How many entries the kernel has yet to take: it may take none or a part now, and is asked again later.
 * SAFETY: what is pointed to was held against own RAM when it was queued, and stays until it ended. */
static inline int64_t kernel_uring_enter(struct kernel_uring *uring)
{
	long done;

	if (!uring->rings)
		return -EBADF;
	do
		done = syscall(SYS_io_uring_enter, uring->fd, uring->queued, 0, 0, NULL, 0);
	while (done < 0 && errno == EINTR);
	if (done < 0 && errno != EAGAIN && errno != EBUSY && errno != ENOMEM)
		return -errno;
	uring->queued -= done > 0 ? (uint32_t)done : 0;
	return uring->queued;
}

/* SAFETY: the slot is masked, and is read before it is given back: the kernel wrote it before its tail. */
static inline int64_t kernel_uring_reap(struct kernel_uring *uring)
{
	uint32_t head;
	struct io_uring_cqe *cqe;

	if (!uring->rings)
		return 0;
	head = *uring->cq_head;
	cqe = (struct io_uring_cqe *)uring->cqes + (head & *uring->cq_mask);
	if (head == __atomic_load_n(uring->cq_tail, __ATOMIC_ACQUIRE))
		return 0;
	uring->token = cqe->user_data;
	uring->result = cqe->res;
	__atomic_store_n(uring->cq_head, head + 1, __ATOMIC_RELEASE);
	return 1;
}
#else
static inline void kernel_uring_close(struct kernel_uring *uring) { (void)uring; }
static inline int64_t kernel_uring_open(struct kernel_uring *uring, uint32_t entries, int wakeup)
{
	(void)uring, (void)entries, (void)wakeup;
	return -ENOSYS;
}
static inline int64_t kernel_uring_queue(struct kernel_uring *uring, int fd, struct seam_handle *handle,
					 uint64_t offset, uint64_t length, uint64_t position, int operation,
					 uint64_t token)
{
	(void)uring, (void)fd, (void)handle, (void)offset, (void)length, (void)position, (void)operation, (void)token;
	return -ENOSYS;
}
static inline int64_t kernel_uring_enter(struct kernel_uring *uring) { (void)uring; return -ENOSYS; }
static inline int64_t kernel_uring_reap(struct kernel_uring *uring)
{
	(void)uring;
	return 0;
}
#endif

static inline struct kernel_uring *kernel_uring_new(void)
{
	return calloc(1, sizeof(struct kernel_uring));
}

static inline void kernel_uring_free(struct kernel_uring *uring)
{
	if (uring)
		kernel_uring_close(uring);
	free(uring);
}
#endif
