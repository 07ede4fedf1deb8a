/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the data path share: ring.c, used.c, push.c, announce.c.
 */
#ifndef VIRTIO_CRQ_RING_H
#define VIRTIO_CRQ_RING_H

#include "virtio_crq.h"

/* Bytes 0 to 3 of announcements: valid command, flags, identifier, 8 bytes inline. */
#define VCRQ_AVAIL_WORD		0x80004108U
#define VCRQ_USED_WORD		0x80004208U
#define VCRQ_CREDIT_WORD	0x8002c008U

struct vcrq_breach {
	enum vcrq_rule rule;
	u32 first;
	u32 second;
};

/* The ring is little-endian: a device without VERSION_1 is never registered. */
static inline u16 ring16(__virtio16 value)
{
	return le16_to_cpu((__force __le16)value);
}

static inline u32 ring32(__virtio32 value)
{
	return le32_to_cpu((__force __le32)value);
}

static inline __virtio16 to_ring16(u16 value)
{
	return (__force __virtio16)cpu_to_le16(value);
}

static inline __virtio32 to_ring32(u32 value)
{
	return (__force __virtio32)cpu_to_le32(value);
}

static inline u16 load_used_index(struct vcrq_queue *queue)
{
	/* Entries are read after the index that covers them. */
	return le16_to_cpu(smp_load_acquire(&queue->used[1]));
}

/* queue->lock is held.  The device may not know of the others (CRQ-D-25). */
static inline bool vcrq_was_announced(const struct vcrq_queue *queue,
				      const struct vcrq_head *head)
{
	return (u16)(head->position - queue->announced) >=
	       (u16)(queue->shown - queue->announced);
}

/*
 * queue->lock is held.  Whether the device serves the queue: it said so, or it
 * announced, which may come before the answer to DRIVER_OK is read.
 */
static inline bool vcrq_is_served(const struct vcrq_queue *queue)
{
	const struct vcrq_device *device = queue->device;
	u32 session = READ_ONCE(device->adapter->session);

	return session && session == queue->session &&
	       (queue->started || READ_ONCE(device->heard) == session);
}

static inline const struct vring_desc *
vcrq_next_desc(const struct vcrq_queue *queue, const struct vring_desc *desc)
{
	return &queue->ring.desc[ring16(desc->next) & (queue->size - 1)];
}

/* ring.c; queue->lock is held */
void vcrq_chain_each(struct vcrq_queue *queue, u16 id,
		     void (*act)(struct vcrq_device *device, u64 address));
void vcrq_take(struct vcrq_queue *queue, bool show);
bool vcrq_settle(struct vcrq_queue *queue, bool drained);

/* used.c; any context */
void *vcrq_translate(struct vcrq_queue *queue, u64 address,
		     unsigned long access);

/* used.c; queue->lock is held */
bool vcrq_reap(struct vcrq_queue *queue, struct vcrq_breach *breach);
void vcrq_breached(struct vcrq_queue *queue, const struct vcrq_breach *breach);
bool vcrq_drop(struct vcrq_queue *queue);
void vcrq_give(struct vcrq_queue *queue, u16 id, u32 length);
enum vcrq_rule vcrq_check_head(struct vcrq_queue *queue, u32 id, u32 length);
enum vcrq_rule vcrq_check_short(struct vcrq_queue *queue, u32 id, u32 length);

/* push.c; queue->lock is held */
void vcrq_push_put(struct vcrq_queue *queue, u16 id);
void vcrq_push_reap(struct vcrq_queue *queue, struct vcrq_breach *breach);
void vcrq_push_again(struct vcrq_queue *queue,
		     const struct vcrq_head *const *order, u16 count,
		     u32 session);

#endif /* VIRTIO_CRQ_RING_H */
