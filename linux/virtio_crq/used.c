// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path from the device: used entries are held against what is in
 * flight and copied into the driver's ring.
 */
#include <asm/hvcall.h>
#include <asm/plpar_wrappers.h>
#include <uapi/linux/virtio_blk.h>
#include <uapi/linux/virtio_console.h>
#include <uapi/linux/virtio_ids.h>

#include "ring.h"

/*
 * Any context: where an I/O address of this window leads, by the window's
 * table, if the entry there has `access` (1: the device may read it, 2: write).
 */
void *vcrq_translate(struct vcrq_queue *queue, u64 address,
		     unsigned long access)
{
	unsigned long tce;
	void *lent = vcrq_lent_memory(queue->device->adapter, address);

	if (lent)
		return lent;
	if (plpar_tce_get(queue->device->adapter->liobn,
			  address & ~(u64)(VCRQ_IOMMU_PAGE - 1),
			  &tce) != H_SUCCESS || !(tce & access))
		return NULL;
	tce &= ~(unsigned long)(VCRQ_IOMMU_PAGE - 1);
	return __va(tce | (address & (VCRQ_IOMMU_PAGE - 1)));
}

/*
 * queue->lock is held.  The last descriptor of a chain, or NULL.  Of an
 * indirect table it is the table's last: the virtio core fills it in order.
 */
static const struct vring_desc *vcrq_last_desc(struct vcrq_queue *queue, u16 id)
{
	const struct vring_desc *desc = NULL;
	unsigned int steps;
	u32 length;
	u16 at = id;

	for (steps = 0; steps < queue->size && at < queue->size; steps++) {
		desc = &queue->ring.desc[at];
		if (!(ring16(desc->flags) & VRING_DESC_F_NEXT))
			break;
		at = ring16(desc->next);
	}
	if (!desc || !(ring16(desc->flags) & VRING_DESC_F_INDIRECT))
		return desc;
	length = ring32(desc->len);
	if (length < sizeof(*desc) || length % sizeof(*desc))
		return NULL;
	return vcrq_translate(queue, le64_to_cpu((__force __le64)desc->addr) +
				     length - sizeof(*desc), 1);
}

/*
 * queue->lock is held.  Where a disk's request says how it ended, or NULL: the
 * last byte of the chain's last buffer.  The buffer's I/O address leads there.
 */
static u8 *vcrq_status_byte(struct vcrq_queue *queue, u16 id)
{
	const struct vring_desc *desc = vcrq_last_desc(queue, id);

	if (!desc || !(ring16(desc->flags) & VRING_DESC_F_WRITE) ||
	    !ring32(desc->len))
		return NULL;
	return vcrq_translate(queue, le64_to_cpu((__force __le64)desc->addr) +
				     ring32(desc->len) - 1, 2);
}

/* queue->lock is held.  The rule that a used entry breaks, or VCRQ_RULES (CRQ-F-28). */
enum vcrq_rule vcrq_check_head(struct vcrq_queue *queue, u32 id, u32 length)
{
	struct vcrq_head *head;

	if (id >= queue->size || !queue->heads[id].in_flight)
		return VCRQ_RULE_USED_UNKNOWN;
	head = &queue->heads[id];
	if (!vcrq_was_announced(queue, head))
		return VCRQ_RULE_USED_UNKNOWN;
	if (length > head->writable)
		return VCRQ_RULE_USED_LENGTH;
	if (queue->device->device_id == VIRTIO_ID_RNG && !length)
		return VCRQ_RULE_ENTROPY_EMPTY;
	return VCRQ_RULES;
}

/* queue->lock is held.  The same of a length that is short of success (CRQ-F-42). */
enum vcrq_rule vcrq_check_short(struct vcrq_queue *queue, u32 id, u32 length)
{
	struct vcrq_head *head = &queue->heads[id];
	u8 *status;

	if (queue->device->device_id == VIRTIO_ID_BLOCK && head->reads &&
	    length < head->writable) {
		status = vcrq_status_byte(queue, id);
		if (status && READ_ONCE(*status) == VIRTIO_BLK_S_OK)
			return VCRQ_RULE_USED_LENGTH_SHORT;
	}
	return VCRQ_RULES;
}

/* queue->lock is held.  One used entry for the driver, not yet covered by its index. */
static void vcrq_return(struct vcrq_queue *queue, u16 id, u32 length)
{
	struct vring_used_elem *into =
		&queue->ring.used->ring[queue->last_used & (queue->size - 1)];

	into->id = to_ring32(id);
	into->len = to_ring32(length);
	queue->last_used++;
}

/* queue->lock is held.  The same of a head that was in flight. */
void vcrq_give(struct vcrq_queue *queue, u16 id, u32 length)
{
	queue->heads[id].in_flight = false;
	queue->in_flight--;
	queue->reaped++;
	vcrq_return(queue, id, length);
}

/* queue->lock is held.  What was given is the driver's. */
static void vcrq_publish(struct vcrq_queue *queue)
{
	/* Entries stand in the ring before the index that covers them. */
	smp_store_release(&queue->ring.used->idx, to_ring16(queue->last_used));
}

/*
 * queue->lock is held.  Copies what the device used to the driver's ring, each
 * entry read once and checked.  Asks to be told of the next, and looks again.
 */
static void vcrq_reap_ring(struct vcrq_queue *queue, struct vcrq_breach *breach)
{
	u16 mask = queue->size - 1, index, moved;
	const __le32 *entry;
	u32 id, length;

	for (;;) {
		index = load_used_index(queue);
		moved = index - queue->reaped;
		if (!moved)
			break;
		if (moved > queue->in_flight) {
			*breach = (struct vcrq_breach) {
				VCRQ_RULE_USED_AHEAD, moved, queue->in_flight };
			break;
		}
		while (queue->reaped != index) {
			entry = (const __le32 *)(queue->used + 2) +
				2 * (queue->reaped & mask);
			id = le32_to_cpu(READ_ONCE(entry[0]));
			length = le32_to_cpu(READ_ONCE(entry[1]));
			breach->rule = vcrq_check_head(queue, id, length);
			if (breach->rule == VCRQ_RULES)
				breach->rule = vcrq_check_short(queue, id, length);
			if (breach->rule != VCRQ_RULES) {
				breach->first = id;
				breach->second = length;
				break;
			}
			vcrq_chain_each(queue, id, vcrq_give_back);
			vcrq_give(queue, id, length);
		}
		if (breach->rule != VCRQ_RULES)
			break;
		if (queue->event_idx)
			WRITE_ONCE(queue->avail[2 + queue->size],
				   cpu_to_le16(queue->reaped));
		/* The wish is visible before the index is looked at again. */
		smp_mb();
	}
}

/* queue->lock is held.  Takes what the device used; whether its driver has something to look at. */
bool vcrq_reap(struct vcrq_queue *queue, struct vcrq_breach *breach)
{
	breach->rule = VCRQ_RULES;
	if (queue->push)
		vcrq_push_reap(queue, breach);
	else
		vcrq_reap_ring(queue, breach);
	if (ring16(queue->ring.used->idx) == queue->last_used)
		return false;
	/* CRQ-F-99: what cannot be taken back in this session is so after it. */
	if (!vcrq_lend_recall(queue->device)) {
		*breach = (struct vcrq_breach) {
			VCRQ_RULE_PARTNER_STALLED, queue->device->number,
			queue->index };
		return false;
	}
	vcrq_publish(queue);
	return true;
}

/* Any context, no lock held: a partner that keeps its copy going ends the session, others their device. */
void vcrq_breached(struct vcrq_queue *queue, const struct vcrq_breach *breach)
{
	if (breach->rule == VCRQ_RULE_PARTNER_STALLED)
		vcrq_end_session(queue->device->adapter, breach->rule,
				 breach->first, breach->second);
	else if (breach->rule != VCRQ_RULES)
		vcrq_break_device(queue->device, breach->rule, breach->first,
				  breach->second);
}

/*
 * queue->lock is held, a polled queue.  Whether the next server learns in any
 * case what the message at `id` said: it adds all ports again, and the driver
 * answers that they are ready (CRQ-D-105).
 */
static bool vcrq_is_repeated(struct vcrq_queue *queue, u16 id)
{
	const struct vring_desc *desc = &queue->ring.desc[id];
	u64 address = le64_to_cpu((__force __le64)desc->addr);
	const struct virtio_console_control *message;

	if (ring32(desc->len) < sizeof(*message) ||
	    address % VCRQ_IOMMU_PAGE > VCRQ_IOMMU_PAGE - sizeof(*message))
		return false;
	message = vcrq_translate(queue, address, 1);
	return message && ring16(message->event) == VIRTIO_CONSOLE_PORT_READY;
}

/*
 * queue->lock is held, a polled queue.  Without a device that serves it, what
 * its driver waits for comes back at once, and whoever kicks need not wait:
 * true.  What a new device side was told of is in flight there, and stays so.
 * A dropped line of output is lost; of other messages the device is to know,
 * and its driver does not repeat them.
 */
bool vcrq_drop(struct vcrq_queue *queue)
{
	u32 session = READ_ONCE(queue->device->adapter->session);
	bool control = queue->index == VCRQ_CONTROL_TRANSMIT, untold = false;
	u16 mask = queue->size - 1, index, id;

	if (vcrq_is_served(queue))
		return false;
	if (!session || (session != queue->session && session != queue->resuming)) {
		for (id = 0; id < queue->size; id++) {
			if (!queue->heads[id].in_flight)
				continue;
			untold |= control && !vcrq_is_repeated(queue, id);
			vcrq_give(queue, id, 0);
		}
		/* Nobody writes it now, and the next server begins there. */
		if (queue->push)
			queue->told = queue->reaped;
		else
			WRITE_ONCE(queue->used[1], cpu_to_le16(queue->reaped));
		queue->announced = queue->shown;
		queue->pending = false;
	}
	/* Heads are read after the index that covers them. */
	index = ring16(smp_load_acquire(&queue->ring.avail->idx));
	while (queue->taken != index) {
		id = ring16(queue->ring.avail->ring[queue->taken++ & mask]) & mask;
		untold |= control && !vcrq_is_repeated(queue, id);
		vcrq_return(queue, id, 0);
	}
	if (queue->event_idx)
		vring_avail_event(&queue->ring) = to_ring16(index);
	vcrq_publish(queue);
	if (untold)
		set_bit(VCRQ_DEV_UNTOLD, &queue->device->flags);
	return !queue->in_flight;
}

/* queue->lock is held.  Whether the driver has added what no kick could show: of records, without credit. */
static bool vcrq_left_untaken(const struct vcrq_queue *queue)
{
	return ring16(READ_ONCE(queue->ring.avail->idx)) != queue->taken;
}

/*
 * Any context: takes what a polled queue's device has used.  With `left` the
 * partner's going was seen, though not acted upon yet.  Whether everything
 * came back.
 */
bool vcrq_queue_spin(struct vcrq_queue *queue, bool left)
{
	struct vcrq_breach breach = { VCRQ_RULES };
	unsigned long flags;
	bool done;

	spin_lock_irqsave(&queue->lock, flags);
	vcrq_reap(queue, &breach);
	if (left)
		queue->session = 0;
	done = vcrq_drop(queue) ||
	       (!queue->in_flight && !vcrq_left_untaken(queue));
	spin_unlock_irqrestore(&queue->lock, flags);
	vcrq_breached(queue, &breach);
	return done || breach.rule != VCRQ_RULES;
}

/*
 * Process context, between sessions' devices: takes what the old server had
 * done.  False when its used ring breaks a rule: the device is then broken, or
 * the session over.
 */
bool vcrq_queue_reap(struct vcrq_queue *queue)
{
	struct vcrq_breach breach;
	unsigned long flags;
	bool fresh;

	spin_lock_irqsave(&queue->lock, flags);
	fresh = vcrq_reap(queue, &breach);
	spin_unlock_irqrestore(&queue->lock, flags);
	if (fresh) {
		local_irq_save(flags);
		vring_interrupt(0, queue->vq);
		local_irq_restore(flags);
	}
	vcrq_breached(queue, &breach);
	return breach.rule == VCRQ_RULES;
}

/*
 * Process context, the device is broken and does not reach the memory any more.
 * A disk's requests end with an error; virtio_blk has no other way to give up
 * on them.  The driver's buffers come back, so that it can be removed.  One
 * whose status is not found never does, and the queue takes no more: its driver
 * would read there what the request before it left, which may be success.
 *
 * False: nothing was given up, as the platform does not give back what they
 * were lent, and a server may still write there, a status for instance.
 */
bool vcrq_queue_fail(struct vcrq_queue *queue)
{
	unsigned long flags;
	bool fresh = false, statusless = false;
	u8 *status;
	u16 id;

	spin_lock_irqsave(&queue->lock, flags);
	vcrq_take(queue, false);
	for (id = 0; id < queue->size; id++)
		if (queue->heads[id].in_flight)
			vcrq_chain_each(queue, id, vcrq_give_back);
	/* CRQ-F-99 */
	if (!vcrq_lend_recall(queue->device)) {
		spin_unlock_irqrestore(&queue->lock, flags);
		return false;
	}
	for (id = 0; id < queue->size; id++) {
		if (!queue->heads[id].in_flight)
			continue;
		status = vcrq_status_byte(queue, id);
		if (!status) {
			statusless = true;
			continue;
		}
		WRITE_ONCE(*status, VIRTIO_BLK_S_IOERR);
		vcrq_give(queue, id, 1);
		fresh = true;
	}
	if (queue->push)
		queue->told = queue->reaped;
	vcrq_publish(queue);
	spin_unlock_irqrestore(&queue->lock, flags);
	if (fresh) {
		local_irq_save(flags);
		vring_interrupt(0, queue->vq);
		local_irq_restore(flags);
	}
	if (!statusless)
		return true;
	/* Last: the core calls nobody back of a broken queue. */
	__virtqueue_break(queue->vq);
	dev_err_ratelimited(vcrq_dev(queue->device->adapter),
			    "device %u: requests without a status cannot end\n",
			    queue->device->number);
	return true;
}
