/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Publications (hazard slots). A call that touches I/O addresses says so first, then checks and works:
 *
 *     user:     publish, full barrier, read open flags and TCEs, work, withdraw
 *     revoker:  store TCE or state, full barrier, read publications, wait for those that overlap
 *
 * One of the two sees the other. A revoker waits a bounded time, then answers H_Busy: nobody waits for a process that
 * may be stopped.
 */
#ifndef VIRTIO_CRQ_PUBLICATION_H
#define VIRTIO_CRQ_PUBLICATION_H

#include "attachment.h"
#include "stops.h"

static inline void hv_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void hv_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__powerpc64__)
	__asm__ volatile("or 27,27,27" ::: "memory");
#else
	__asm__ volatile("" ::: "memory");
#endif
}

/* A line that is looked at and then written while another processor has it: asked for once, for writing. Only a hint, for
 * any address. */
static inline void hv_prepare(const void *line)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw (%0)" : : "r"(line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/* The release barrier keeps these stores behind the withdrawal before them: who sees the new ones knows the old is over. */
static inline void hv_publish(struct hv_publication *publication, int which, uint64_t key, uint64_t ioba, uint64_t length)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&publication->ioba[which], ioba, __ATOMIC_RELAXED);
	__atomic_store_n(&publication->length[which], length, __ATOMIC_RELAXED);
	STOP(publication_written);
	__atomic_store_n(&publication->key[which], key, __ATOMIC_RELEASE);
}

static inline void hv_withdraw(struct hv_publication *publication)
{
	__atomic_store_n(&publication->key[0], 0, __ATOMIC_RELEASE);
	__atomic_store_n(&publication->key[1], 0, __ATOMIC_RELEASE);
}

/* Whether a call through [ioba, ioba+length) of the adapter's own window still runs after a bounded wait. */
int hv_range_in_use(struct hv_header *state, const struct hv_adapter *adapter, uint64_t ioba, uint64_t length);
/* The same for any call that stands on the adapter's connection. */
int hv_link_in_use(struct hv_header *state, const struct hv_adapter *adapter);
/* Whether a transfer of a client's server through [ioba, ioba+length) of a storage adapter's table still runs. */
int hv_transfer_in_use(struct hv_header *state, const struct hv_adapter *client, const struct hv_adapter *storage, uint64_t ioba,
		       uint64_t length);
/* Whether a call of the partner's partition, not one of the adapter's own, still runs there. */
int hv_range_in_partners_use(struct hv_header *state, const struct hv_adapter *adapter, uint64_t ioba, uint64_t length);

#endif
