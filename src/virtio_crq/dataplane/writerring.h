/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that one thread asks for and another makes, one after the other: handed over in memory that both look at. */
#ifndef VIRTIO_CRQ_WRITERRING_H
#define VIRTIO_CRQ_WRITERRING_H

#include <linux/futex.h>
#include <sched.h>

#include "kernel.h"

#define WRITER_JOBS 256 /* a power of two */
/* Its asker and that one's client look for 32 microseconds at most. Having been asleep costs each of them tens more, and who
 * would not look for as long as that takes sleeps again, every time: half as many writes a second. */
#define WRITER_FIRST 4000 /* nanoseconds that it looks for more, at first */
#define WRITER_MOST 128000 /* and at most, before it sleeps */

struct writer_job {
	const uint8_t *memory;
	uint64_t length, position, token;
	int64_t result; /* 0 or a negated errno */
};

/* Each line of memory is written by one side, but for the two flags, and for the jobs, which change hands with `asked`
 * and `ended`. */
struct writer_ring {
	int fd, wakeup; /* nobody writes these */
	uint32_t queued __attribute__((aligned(64))); /* the asker's own: what is not asked yet, */
	uint32_t reaped; /* what is known to have ended */
	uint64_t token; /* of what was reaped last */
	int64_t result;
	uint32_t asked __attribute__((aligned(64))); /* published by the asker */
	uint32_t stop;
	uint32_t ended __attribute__((aligned(64))); /* published by the writer */
	int64_t granted; /* its own */
	uint32_t rests __attribute__((aligned(64))); /* the writer sleeps on this, or is about to */
	uint32_t expected; /* the asker is about to sleep: `wakeup` is to tell */
	struct writer_job jobs[WRITER_JOBS] __attribute__((aligned(64)));
};

/* SAFETY: memory of its own, all zeros, or null. */
static inline struct writer_ring *writer_ring_new(int fd, int wakeup)
{
	struct writer_ring *ring = aligned_alloc(64, sizeof *ring);

	if (ring) {
		memset(ring, 0, sizeof *ring);
		ring->fd = fd;
		ring->wakeup = wakeup;
	}
	return ring;
}

/* SAFETY: a slot is free because what was in it has been reaped; the bytes are inside own RAM. -EAGAIN: no slot is. */
static inline int64_t writer_ring_queue(struct writer_ring *ring, struct seam_handle *handle, uint64_t offset,
					uint64_t length, uint64_t position, uint64_t token)
{
	struct writer_job *job = &ring->jobs[ring->queued & (WRITER_JOBS - 1)];

	if (!SEAM_INSIDE(handle, offset, length))
		return -EFAULT;
	if (ring->queued - ring->reaped == WRITER_JOBS)
		return -EAGAIN;
	job->memory = handle->memory + offset;
	job->length = length;
	job->position = position;
	job->token = token;
	ring->queued++;
	return 0;
}

/* SAFETY: the kernel only compares the address; a wake too many is a look too many. */
static inline void writer_ring_wake(struct writer_ring *ring)
{
	if (__atomic_exchange_n(&ring->rests, 0, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &ring->rests, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Whoever publishes looks at the other's flag afterwards, and whoever sets a flag looks at what is published afterwards:
 * all four sequentially consistent, or both could miss. */
static inline void writer_ring_ask(struct writer_ring *ring)
{
	if (ring->asked == ring->queued)
		return;
	__atomic_store_n(&ring->asked, ring->queued, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&ring->rests, __ATOMIC_SEQ_CST))
		writer_ring_wake(ring);
}

/* SAFETY: the writer is done with the slot, as `ended` says, and gets it back with the next that is asked for. */
static inline int64_t writer_ring_reap(struct writer_ring *ring)
{
	struct writer_job *job = &ring->jobs[ring->reaped & (WRITER_JOBS - 1)];

	if (ring->reaped == __atomic_load_n(&ring->ended, __ATOMIC_ACQUIRE))
		return 0;
	ring->token = job->token;
	ring->result = job->result;
	ring->reaped++;
	return 1;
}

/* Have the next end tell by `wakeup`; 1 if there was one already. */
static inline int64_t writer_ring_expect(struct writer_ring *ring)
{
	__atomic_store_n(&ring->expected, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&ring->ended, __ATOMIC_SEQ_CST) != ring->reaped;
}

/* The whole of one write, waiting as long as it takes. SAFETY: the bytes were held against own RAM when it was queued. */
static inline int64_t writer_ring_perform(int fd, const struct writer_job *job)
{
	uint64_t done = 0;

	while (done < job->length) {
		ssize_t now = syscall(SYS_pwrite64, fd, job->memory + done, job->length - done, job->position + done);

		if (now < 0 && errno != EINTR)
			return -errno;
		if (now == 0)
			return -EIO;
		done += now > 0 ? (uint64_t)now : 0;
	}
	return 0;
}

/* SAFETY: reads eight bytes of its own. */
static inline void writer_ring_tell(struct writer_ring *ring)
{
	uint64_t one = 1;

	if (__atomic_load_n(&ring->expected, __ATOMIC_SEQ_CST) &&
	    __atomic_exchange_n(&ring->expected, 0, __ATOMIC_SEQ_CST) &&
	    write(ring->wakeup, &one, sizeof one) < 0) /* its count is at its end: it tells already */
		return;
}

/* How long it is worth looking before sleeping, after a wait of so many nanoseconds: as `patience.py` has it. */
static inline int64_t writer_ring_granted(int64_t granted, int64_t waited)
{
	if (waited > WRITER_MOST)
		return 0;
	if (waited <= granted)
		return granted;
	granted = granted ? 2 * granted : WRITER_FIRST;
	return granted < WRITER_MOST ? granted : WRITER_MOST;
}

/* Asleep until something is asked for, or the ring stopped. SAFETY: the kernel only reads the flag. */
static inline void writer_ring_rest(struct writer_ring *ring, uint32_t done)
{
	__atomic_store_n(&ring->rests, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&ring->asked, __ATOMIC_SEQ_CST) == done && !__atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &ring->rests, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
	__atomic_store_n(&ring->rests, 0, __ATOMIC_SEQ_CST);
}

/* Whether there is more to write; 0 when the ring was stopped. Looking, it takes the processor from nobody: the asker may
 * be waiting for it. */
static inline int writer_ring_wait(struct writer_ring *ring, uint32_t done)
{
	int64_t since = kernel_now(), now = since;

	for (;;) {
		/* In this order: a stop that is seen has all before it that was asked for earlier. */
		uint32_t stopped = __atomic_load_n(&ring->stop, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&ring->asked, __ATOMIC_ACQUIRE) != done)
			break;
		if (stopped)
			return 0;
		if (now - since < ring->granted)
			seam_yield();
		else
			writer_ring_rest(ring, done);
		now = kernel_now();
	}
	ring->granted = writer_ring_granted(ring->granted, now - since);
	return 1;
}

/* The writer's thread. What was asked before the ring was stopped is still written. SAFETY: a job is the
 * writer's from `asked` on until `ended` counts it, and the ring outlives the thread, which is joined. */
static inline void writer_ring_run(struct writer_ring *ring)
{
	uint32_t done = ring->ended;

	while (writer_ring_wait(ring, done)) {
		uint32_t asked = __atomic_load_n(&ring->asked, __ATOMIC_ACQUIRE);

		while (done != asked) {
			struct writer_job *job = &ring->jobs[done & (WRITER_JOBS - 1)];

			job->result = writer_ring_perform(ring->fd, job);
			__atomic_store_n(&ring->ended, ++done, __ATOMIC_SEQ_CST);
			writer_ring_tell(ring);
		}
	}
}

static inline void writer_ring_stop(struct writer_ring *ring)
{
	__atomic_store_n(&ring->stop, 1, __ATOMIC_SEQ_CST);
	writer_ring_wake(ring);
}
#endif
