// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path towards the device: heads from the driver's ring to the
 * device's, announcements and credits.
 *
 * One EVENT_AVAIL and one EVENT_USED per queue may be unreturned.  A driver's
 * kick without credit marks the queue pending; the credit's return looks at the
 * driver's ring again.  While the partner is away kicks only mark.
 */
#include <linux/sort.h>
#include <asm/hvcall.h>

#include "ring.h"

/* queue->lock is held.  Bytes that the device may write into a chain. */
static void vcrq_measure(struct vcrq_queue *queue, u16 id,
			 struct vcrq_head *head)
{
	unsigned int steps, writable = 0, buffers = 0;
	const struct vring_desc *desc;
	u16 flags, at = id;

	for (steps = 0; steps < queue->size && at < queue->size; steps++) {
		desc = &queue->ring.desc[at];
		flags = ring16(desc->flags);
		if (flags & VRING_DESC_F_INDIRECT) {
			/* The table has an I/O address only. */
			head->writable = U32_MAX;
			head->reads = false;
			return;
		}
		if (flags & VRING_DESC_F_WRITE) {
			writable += ring32(desc->len);
			buffers++;
		}
		if (!(flags & VRING_DESC_F_NEXT))
			break;
		at = ring16(desc->next);
	}
	head->writable = writable;
	head->reads = buffers > 1;
}

/* queue->lock is held.  Each buffer of a chain that the device itself reaches for. */
void vcrq_chain_each(struct vcrq_queue *queue, u16 id,
		     void (*act)(struct vcrq_device *device, u64 address))
{
	u8 inside = queue->push ? queue->pushed[id].record.flags : 0;
	const struct vring_desc *desc = &queue->ring.desc[id];
	unsigned int steps;
	bool more;

	if (!queue->device->adapter->loans)
		return;
	for (steps = 0; steps < queue->size; steps++) {
		more = ring16(desc->flags) & VRING_DESC_F_NEXT;
		if (!(!steps && inside & VCRQ_RECORD_INLINED) &&
		    !(!more && inside & VCRQ_RECORD_TAIL))
			act(queue->device,
			    le64_to_cpu((__force __le64)desc->addr));
		if (!more)
			return;
		desc = vcrq_next_desc(queue, desc);
	}
}

/* queue->lock is held.  The head's request stands for the device at the next position. */
static void vcrq_show(struct vcrq_queue *queue, u16 id)
{
	if (queue->push)
		vcrq_push_put(queue, id);
	else
		queue->avail[2 + (queue->shown & (queue->size - 1))] =
			cpu_to_le16(id);
	vcrq_chain_each(queue, id, vcrq_lend);
}

/*
 * queue->lock is held.  Records the heads that the driver made available, in
 * their order, before anything announces them (CRQ-F-31), and shows them to
 * the device, if it is to serve them.  Afterwards the driver's next kick comes whatever it adds: its
 * avail_event stands at what was taken.
 */
void vcrq_take(struct vcrq_queue *queue, bool show)
{
	bool broken = test_bit(VCRQ_DEV_BROKEN, &queue->device->flags);
	u16 mask = queue->size - 1, from = queue->shown, index, id;
	struct vcrq_head *head;

	/* Of a broken one the session's last records were made. */
	if (show && broken && queue->push)
		return;
	for (;;) {
		/* Heads are read after the index that covers them. */
		index = ring16(smp_load_acquire(&queue->ring.avail->idx));
		while (queue->taken != index) {
			id = ring16(queue->ring.avail->ring[queue->taken & mask]);
			id &= mask;
			head = &queue->heads[id];
			head->position = queue->shown;
			head->in_flight = true;
			vcrq_measure(queue, id, head);
			if (show)
				vcrq_show(queue, id);
			queue->taken++;
			queue->shown++;
			queue->in_flight++;
		}
		if (!queue->event_idx)
			break;
		if (vring_avail_event(&queue->ring) == to_ring16(index))
			break;
		vring_avail_event(&queue->ring) = to_ring16(index);
		/* The driver stores its index, then reads the wish. */
		smp_mb();
	}
	if (queue->push || !show || queue->shown == from)
		return;
	/* Heads stand in the ring before the index that covers them. */
	smp_store_release(&queue->avail[1], cpu_to_le16(queue->shown));
}

/* queue->lock is held.  Whether the device wants to hear of entries from `old` on. */
static bool vcrq_wanted(struct vcrq_queue *queue, u16 old)
{
	/* What stands there is the wish of a server that is gone. */
	if (queue->unasked || queue->push)
		return true;
	/* The index is visible before the wish is read, or both sides sleep. */
	smp_mb();
	if (queue->event_idx)
		return vring_need_event(le16_to_cpu(READ_ONCE(queue->used[2 + 4 * queue->size])),
					queue->shown, old);
	return !(le16_to_cpu(READ_ONCE(queue->used[0])) & VRING_USED_F_NO_NOTIFY);
}

static u64 vcrq_high(struct vcrq_queue *queue, u32 word, u8 credit)
{
	u64 number = queue->device->number;

	return (u64)word << 32 | (u64)(number & 0xff) << 24 |
	       (number & 0xff00) << 8 | (queue->session & 0xff) << 8 | credit;
}

static u64 vcrq_low(u32 queue, u32 position)
{
	return (u64)swab32(queue) << 32 | swab32(position);
}

/*
 * queue->lock is held.  At most one hypercall: the announcement if it is due
 * and there is credit for it, else the device's credit if it will need it
 * (CRQ-F-16).  False when the ring of a partner that keeps its credits cannot
 * be full, but is, or the platform lends no page: this session is over.
 */
bool vcrq_settle(struct vcrq_queue *queue, bool drained)
{
	struct vcrq_adapter *adapter = queue->device->adapter;
	long rc = H_SUCCESS;

	if (!vcrq_is_served(queue))
		return true;
	if (queue->pending && queue->credit) {
		/* CRQ-F-20, CRQ-F-98 */
		if (!vcrq_lend_enter(adapter))
			return false;
		rc = vcrq_send(adapter,
			       vcrq_high(queue, VCRQ_AVAIL_WORD, queue->owed),
			       vcrq_low(queue->index, queue->shown));
		if (rc == H_SUCCESS) {
			queue->announced = queue->shown;
			queue->pending = false;
			queue->unasked = false;
			queue->credit = false;
			queue->owed = false;
		}
	} else if (drained && queue->owed && queue->in_flight) {
		rc = vcrq_send(adapter, vcrq_high(queue, VCRQ_CREDIT_WORD, 1),
			       vcrq_low(queue->index, VCRQ_CREDIT_USED));
		if (rc == H_SUCCESS)
			queue->owed = false;
	}
	/* H_Closed: what is due stays so; the news of the end is on its way. */
	return rc == H_SUCCESS || rc == H_CLOSED;
}

/* queue->lock is held.  As vcrq_settle(), after what the driver has added was shown. */
static bool vcrq_kicked(struct vcrq_queue *queue)
{
	u16 old = queue->shown;

	/* Of records the credit's return, or the partner's, makes many at once. */
	if (queue->push && !(queue->credit && vcrq_is_served(queue)))
		return true;
	vcrq_take(queue, true);
	if (queue->shown != old && vcrq_wanted(queue, old))
		queue->pending = true;
	return vcrq_settle(queue, false);
}

/*
 * The virtio core's kick.  Any context, often under a lock of the driver.
 * True even while the partner is away: false would break the queue for ever.
 */
bool vcrq_notify(struct virtqueue *vq)
{
	struct vcrq_queue *queue = vq->priv;
	struct vcrq_device *device = queue->device;
	unsigned long flags;
	bool sound;

	if (unlikely(test_bit(VCRQ_DEV_BROKEN, &device->flags))) {
		if (queue->polled)
			__virtqueue_break(vq);
		vcrq_kick_broken(device);
		return true;
	}
	spin_lock_irqsave(&queue->lock, flags);
	if (queue->polled)
		vcrq_see_control(queue);
	if (queue->polled && vcrq_drop(queue)) {
		spin_unlock_irqrestore(&queue->lock, flags);
		return true;
	}
	sound = vcrq_kicked(queue);
	spin_unlock_irqrestore(&queue->lock, flags);
	if (unlikely(!sound))
		vcrq_end_session(device->adapter, VCRQ_RULE_PARTNER_STALLED,
				 device->number, queue->index);
	if (queue->polled)
		vcrq_poll_queue(queue);
	return true;
}

/*
 * Process context, before DRIVER_OK is asked for: from here on what the device
 * announces in this session counts.  It may do so before its answer is read.
 */
void vcrq_queue_open(struct vcrq_queue *queue, u32 session, u16 announced,
		     bool unasked)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	queue->credit = true;
	queue->owed = false;
	queue->announced = announced;
	queue->told = queue->reaped;
	queue->unasked = unasked;
	queue->resuming = 0;
	queue->started = false;
	WRITE_ONCE(queue->session, session);
	spin_unlock_irqrestore(&queue->lock, flags);
}

/*
 * Process context, DRIVER_OK was answered: the queue announces.  What came
 * since the position that it was resumed with is due (CRQ-F-43).
 */
void vcrq_queue_start(struct vcrq_queue *queue)
{
	unsigned long flags;
	bool sound;

	spin_lock_irqsave(&queue->lock, flags);
	queue->started = true;
	vcrq_take(queue, true);
	queue->pending = queue->shown != queue->announced;
	sound = vcrq_settle(queue, true);
	spin_unlock_irqrestore(&queue->lock, flags);
	if (!sound)
		vcrq_end_session(queue->device->adapter,
				 VCRQ_RULE_PARTNER_STALLED,
				 queue->device->number, queue->index);
}

/* Any context: nothing is in flight, the rings stand at their beginning. */
void vcrq_queue_reset(struct vcrq_queue *queue)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	memset(queue->heads, 0, queue->size * sizeof(*queue->heads));
	memset(queue->shared, 0, queue->shared_bytes);
	queue->session = 0;
	queue->started = false;
	queue->enabled = false;
	queue->taken = 0;
	queue->announced = 0;
	queue->told = 0;
	queue->last_used = 0;
	queue->shown = 0;
	queue->reaped = 0;
	queue->resuming = 0;
	queue->in_flight = 0;
	queue->pending = false;
	queue->list_next = 0;
	queue->lists_stand = false;
	spin_unlock_irqrestore(&queue->lock, flags);
}

static int vcrq_by_position(const void *left, const void *right)
{
	const struct vcrq_head *const *a = left, *const *b = right;

	/* They are less than a queue's length apart. */
	return (s16)((*a)->position - (*b)->position);
}

/*
 * Session work.  The heads that were announced and are in flight, in their
 * order, and both positions (CRQ-F-33, CRQ-F-44); how many, or U16_MAX when
 * they are more than fit.  From here on what is in flight belongs to `session`.
 */
u16 vcrq_queue_suspend(struct vcrq_queue *queue, u32 session, __le16 *heads,
		       u16 max, u16 *avail_position, u16 *used_position)
{
	const struct vcrq_head **order = queue->order;
	unsigned long flags;
	u16 id, all = 0, count = 0;

	spin_lock_irqsave(&queue->lock, flags);
	queue->resuming = session;
	for (id = 0; id < queue->size; id++) {
		if (!queue->heads[id].in_flight)
			continue;
		if (vcrq_was_announced(queue, &queue->heads[id]))
			count++;
		else if (!queue->push)
			continue;
		order[all++] = &queue->heads[id];
	}
	/* Those that were announced are the first. */
	sort(order, all, sizeof(*order), vcrq_by_position, NULL);
	if (queue->push) {
		vcrq_push_again(queue, order, all, session);
		/* The session may end before the queue is open in it. */
		queue->announced = count;
	}
	*avail_position = queue->push ? count : queue->announced;
	*used_position = queue->reaped;
	for (id = 0; id < count && id < max; id++)
		heads[id] = cpu_to_le16(order[id] - queue->heads);
	spin_unlock_irqrestore(&queue->lock, flags);
	return count > max ? U16_MAX : count;
}
