// SPDX-License-Identifier: GPL-2.0-only
/*
 * The data path: heads from the driver's ring to the device's, announcements
 * and credits, used entries back to the driver.
 *
 * One EVENT_AVAIL and one EVENT_USED per queue may be unreturned.  A driver's
 * kick without credit marks the queue pending; the credit's return looks at the
 * driver's ring again.  While the partner is away kicks only mark.
 */
#include <linux/sort.h>
#include <linux/slab.h>
#include <asm/hvcall.h>
#include <asm/plpar_wrappers.h>
#include <uapi/linux/virtio_blk.h>
#include <uapi/linux/virtio_ids.h>

#include "virtio_crq.h"

/* Bytes 0 to 3 of announcements: valid command, flags, identifier, 8 bytes inline. */
#define VCRQ_AVAIL_WORD		0x80004108U
#define VCRQ_USED_WORD		0x80004208U
#define VCRQ_CREDIT_WORD	0x8002c008U

/* The ring is little-endian: a device without VERSION_1 is never registered. */
static u16 ring16(__virtio16 value)
{
	return le16_to_cpu((__force __le16)value);
}

static u32 ring32(__virtio32 value)
{
	return le32_to_cpu((__force __le32)value);
}

static __virtio16 to_ring16(u16 value)
{
	return (__force __virtio16)cpu_to_le16(value);
}

static __virtio32 to_ring32(u32 value)
{
	return (__force __virtio32)cpu_to_le32(value);
}

static u16 load_used_index(struct vcrq_queue *queue)
{
	return le16_to_cpu(smp_load_acquire(&queue->used[1]));
}

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

/*
 * queue->lock is held.  Records the heads that the driver made available, in
 * their order, before anything announces them (CRQ-F-31), and shows them to
 * the device.  Afterwards the driver's next kick comes whatever it adds: its
 * avail_event stands at what was taken.
 */
static void vcrq_take(struct vcrq_queue *queue)
{
	u16 mask = queue->size - 1, from = queue->taken, index, id;
	struct vcrq_head *head;

	for (;;) {
		index = ring16(smp_load_acquire(&queue->ring.avail->idx));
		while (queue->taken != index) {
			id = ring16(queue->ring.avail->ring[queue->taken & mask]);
			id &= mask;
			head = &queue->heads[id];
			head->issued = queue->issued++;
			head->in_flight = true;
			vcrq_measure(queue, id, head);
			queue->avail[2 + (queue->taken & mask)] =
				cpu_to_le16(id);
			queue->taken++;
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
	if (queue->taken != from)
		smp_store_release(&queue->avail[1], cpu_to_le16(queue->taken));
}

/* queue->lock is held.  Whether the device wants to hear of entries from `old` on. */
static bool vcrq_wanted(struct vcrq_queue *queue, u16 old)
{
	/* What stands there is the wish of a server that is gone. */
	if (queue->unasked)
		return true;
	/* The index is visible before the wish is read, or both sides sleep. */
	smp_mb();
	if (queue->event_idx)
		return vring_need_event(le16_to_cpu(READ_ONCE(queue->used[2 + 4 * queue->size])),
					queue->taken, old);
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
 * be full, but is.
 */
static bool vcrq_settle(struct vcrq_queue *queue, bool drained)
{
	struct vcrq_adapter *adapter = queue->device->adapter;
	long rc = H_SUCCESS;

	if (!queue->started || queue->session != READ_ONCE(adapter->session))
		return true;
	if (queue->pending && queue->credit) {
		rc = vcrq_send(adapter,
			       vcrq_high(queue, VCRQ_AVAIL_WORD, queue->owed),
			       vcrq_low(queue->index, queue->taken));
		if (rc == H_SUCCESS) {
			queue->announced = queue->taken;
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
	u16 old;

	if (unlikely(test_bit(VCRQ_DEV_BROKEN, &device->flags))) {
		if (queue->polled)
			__virtqueue_break(vq);
		vcrq_kick_broken(device);
		return true;
	}
	spin_lock_irqsave(&queue->lock, flags);
	old = queue->taken;
	vcrq_take(queue);
	if (queue->taken != old && vcrq_wanted(queue, old))
		queue->pending = true;
	sound = vcrq_settle(queue, false);
	spin_unlock_irqrestore(&queue->lock, flags);
	if (unlikely(!sound))
		vcrq_end_session(device->adapter, VCRQ_RULE_PARTNER_STALLED,
				 device->number, queue->index);
	if (queue->polled)
		vcrq_poll_queue(queue);
	return true;
}

/*
 * queue->lock is held.  Whether a disk's request that wrote less than it might
 * says that it succeeded.  The status is the last byte of the chain's last
 * buffer; the buffer's I/O address leads to it through the window's table.
 */
static u8 *vcrq_status_byte(struct vcrq_queue *queue, u16 id)
{
	const struct vring_desc *desc = NULL;
	unsigned int steps;
	unsigned long tce;
	u64 address;
	u16 at = id;

	for (steps = 0; steps < queue->size && at < queue->size; steps++) {
		desc = &queue->ring.desc[at];
		if (!(ring16(desc->flags) & VRING_DESC_F_NEXT))
			break;
		at = ring16(desc->next);
	}
	if (!desc || !(ring16(desc->flags) & VRING_DESC_F_WRITE) ||
	    !ring32(desc->len))
		return NULL;
	address = le64_to_cpu((__force __le64)desc->addr) + ring32(desc->len) - 1;
	if (plpar_tce_get(queue->device->adapter->liobn,
			  address & ~(u64)(VCRQ_IOMMU_PAGE - 1),
			  &tce) != H_SUCCESS || !(tce & 2))
		return NULL;
	tce &= ~(unsigned long)(VCRQ_IOMMU_PAGE - 1);
	return __va(tce | (address & (VCRQ_IOMMU_PAGE - 1)));
}

/* queue->lock is held.  The rule that a used entry breaks, or VCRQ_RULES (CRQ-F-28, CRQ-F-42). */
static enum vcrq_rule vcrq_check_used(struct vcrq_queue *queue, u32 id,
				      u32 length)
{
	struct vcrq_head *head;
	u8 *status;

	if (id >= queue->size || !queue->heads[id].in_flight)
		return VCRQ_RULE_USED_UNKNOWN;
	head = &queue->heads[id];
	if (length > head->writable)
		return VCRQ_RULE_USED_LENGTH;
	if (queue->device->device_id == VIRTIO_ID_RNG && !length)
		return VCRQ_RULE_ENTROPY_EMPTY;
	if (queue->device->device_id == VIRTIO_ID_BLOCK && head->reads &&
	    length < head->writable) {
		status = vcrq_status_byte(queue, id);
		if (status && READ_ONCE(*status) == VIRTIO_BLK_S_OK)
			return VCRQ_RULE_USED_LENGTH_SHORT;
	}
	return VCRQ_RULES;
}

struct vcrq_breach {
	enum vcrq_rule rule;
	u32 first;
	u32 second;
};

/* queue->lock is held.  One used entry for the driver, not yet covered by its index. */
static void vcrq_give(struct vcrq_queue *queue, u16 id, u32 length)
{
	struct vring_used_elem *into =
		&queue->ring.used->ring[queue->last_used & (queue->size - 1)];

	into->id = to_ring32(id);
	into->len = to_ring32(length);
	queue->heads[id].in_flight = false;
	queue->in_flight--;
	queue->last_used++;
}

/*
 * queue->lock is held.  Copies what the device used to the driver's ring, each
 * entry read once and checked.  Asks to be told of the next, and looks again.
 */
static bool vcrq_reap(struct vcrq_queue *queue, struct vcrq_breach *breach)
{
	u16 mask = queue->size - 1, index, moved;
	const __le32 *entry;
	u32 id, length;

	breach->rule = VCRQ_RULES;
	for (;;) {
		index = load_used_index(queue);
		moved = index - queue->last_used;
		if (!moved)
			break;
		if (moved > queue->in_flight) {
			*breach = (struct vcrq_breach) {
				VCRQ_RULE_USED_AHEAD, moved, queue->in_flight };
			break;
		}
		while (queue->last_used != index) {
			entry = (const __le32 *)(queue->used + 2) +
				2 * (queue->last_used & mask);
			id = le32_to_cpu(READ_ONCE(entry[0]));
			length = le32_to_cpu(READ_ONCE(entry[1]));
			breach->rule = vcrq_check_used(queue, id, length);
			if (breach->rule != VCRQ_RULES) {
				breach->first = id;
				breach->second = length;
				break;
			}
			vcrq_give(queue, id, length);
		}
		if (breach->rule != VCRQ_RULES)
			break;
		if (queue->event_idx)
			WRITE_ONCE(queue->avail[2 + queue->size],
				   cpu_to_le16(queue->last_used));
		/* The wish is visible before the index is looked at again. */
		smp_mb();
	}
	if (ring16(queue->ring.used->idx) == queue->last_used)
		return false;
	smp_store_release(&queue->ring.used->idx, to_ring16(queue->last_used));
	return true;
}

/* Interrupts off.  A queue that is enabled in this session, or NULL (CRQ-F-39). */
static struct vcrq_queue *vcrq_find_queue(struct vcrq_adapter *adapter,
					  u16 number, u32 index, u32 session)
{
	struct vcrq_device *device = xa_load(&adapter->devices, number);
	struct vcrq_queue *queue;

	if (!device || index >= READ_ONCE(device->queue_max) ||
	    !test_bit(VCRQ_DEV_REGISTERED, &device->flags))
		return NULL;
	queue = READ_ONCE(device->queues[index]);
	return queue && READ_ONCE(queue->session) == session ? queue : NULL;
}

/* queue->lock is held.  Books an announcement; the rule it breaks, or VCRQ_RULES. */
static enum vcrq_rule vcrq_book(struct vcrq_queue *queue, bool used,
				u16 position, bool credit)
{
	u16 moved = position - queue->told;
	u16 most = (u16)(queue->last_used - queue->told) + queue->in_flight;

	if (used && moved > most)
		return VCRQ_RULE_USED_AHEAD;
	if (used && queue->owed)
		return VCRQ_RULE_CREDIT_OVERRUN;
	/* The index is stored before it is announced. */
	if (used && (u16)(load_used_index(queue) - queue->told) < moved)
		return VCRQ_RULE_USED_AHEAD;
	if (credit && queue->credit)
		return VCRQ_RULE_CREDIT_UNOWED;
	if (used) {
		queue->told = position;
		queue->owed = true;
	}
	if (credit) {
		queue->credit = true;
		/* The device does not look by itself (CRQ-F-17). */
		vcrq_take(queue);
		if (queue->taken != queue->announced)
			queue->pending = true;
	}
	return VCRQ_RULES;
}

/* Interrupts off, under DRAINING. */
static void vcrq_queue_event(struct vcrq_queue *queue, bool used, u16 position,
			     bool credit)
{
	struct vcrq_device *device = queue->device;
	struct vcrq_adapter *adapter = device->adapter;
	struct vcrq_breach breach = { VCRQ_RULES };
	bool fresh = false, sound = true;
	enum vcrq_rule rule;

	spin_lock(&queue->lock);
	rule = vcrq_book(queue, used, position, credit);
	if (rule == VCRQ_RULES && used &&
	    !test_bit(VCRQ_DEV_BROKEN, &device->flags))
		fresh = vcrq_reap(queue, &breach);
	if (rule == VCRQ_RULES && breach.rule == VCRQ_RULES && !fresh)
		sound = vcrq_settle(queue, true);
	spin_unlock(&queue->lock);

	if (rule != VCRQ_RULES) {
		vcrq_end_session(adapter, rule, device->number, position);
		return;
	}
	if (fresh) {
		vring_interrupt(0, queue->vq);
		spin_lock(&queue->lock);
		if (breach.rule == VCRQ_RULES)
			sound = vcrq_settle(queue, true);
		spin_unlock(&queue->lock);
	}
	if (breach.rule != VCRQ_RULES)
		vcrq_break_device(device, breach.rule, breach.first,
				  breach.second);
	if (!sound)
		vcrq_end_session(adapter, VCRQ_RULE_PARTNER_STALLED,
				 device->number, queue->index);
}

/*
 * Interrupts off, under DRAINING.  Whether the entry is an announcement of this
 * session that is right in every field; any other goes to the control plane.
 */
bool vcrq_announced(struct vcrq_adapter *adapter, u64 high, u64 low,
		    u32 session)
{
	u32 word = high >> 32, position = swab32((u32)low);
	u32 index = swab32((u32)(low >> 32));
	u16 number = (high >> 24 & 0xff) | (high >> 8 & 0xff00);
	bool used = word == VCRQ_USED_WORD, credit = high & 1;
	struct vcrq_queue *queue;

	if ((high >> 8 & 0xff) != (session & 0xff) || high & 0xfe)
		return false;
	if (used ? position > 0xffff :
	    word != VCRQ_CREDIT_WORD || position != VCRQ_CREDIT_AVAIL || !credit)
		return false;
	rcu_read_lock();
	queue = vcrq_find_queue(adapter, number, index, session);
	if (queue)
		vcrq_queue_event(queue, used, position, credit);
	rcu_read_unlock();
	if (!queue)
		vcrq_count(adapter, VCRQ_RULE_ANNOUNCEMENT_QUEUE, number,
			   index);
	return true;
}

/* Interrupts off, under DRAINING.  False when somebody has the queue's lock. */
static bool vcrq_book_quietly(struct vcrq_queue *queue, bool used, u16 position,
			      bool credit, struct vcrq_breach *breach)
{
	bool done;

	if (!spin_trylock(&queue->lock))
		return false;
	done = vcrq_book(queue, used, position, credit) == VCRQ_RULES;
	if (done && used && vcrq_reap(queue, breach))
		WRITE_ONCE(queue->callback_due, true);
	if (done)
		vcrq_settle(queue, true);
	spin_unlock(&queue->lock);
	return done;
}

/*
 * Interrupts off, under DRAINING, in a kick that polls: an announcement is
 * booked and its used entries are taken, but no driver is called back here,
 * whatever locks this CPU holds.  False when that cannot be done now.
 */
bool vcrq_quiet_event(struct vcrq_adapter *adapter, u64 high, u64 low,
		      u32 session)
{
	u32 word = high >> 32, position = swab32((u32)low);
	bool used = word == VCRQ_USED_WORD;
	struct vcrq_breach breach = { VCRQ_RULES };
	struct vcrq_queue *queue;
	bool done = false;

	if ((high >> 8 & 0xff) != (session & 0xff) || high & 0xfe ||
	    (used ? position > 0xffff :
	     word != VCRQ_CREDIT_WORD || position || !(high & 1)))
		return false;
	rcu_read_lock();
	queue = vcrq_find_queue(adapter,
				(high >> 24 & 0xff) | (high >> 8 & 0xff00),
				swab32((u32)(low >> 32)), session);
	done = queue && vcrq_book_quietly(queue, used, position, high & 1,
					  &breach);
	rcu_read_unlock();
	if (breach.rule != VCRQ_RULES)
		vcrq_break_device(queue->device, breach.rule, breach.first,
				  breach.second);
	return done;
}

/*
 * Any context: takes what a polled queue's device has used.  With `away` there
 * is no device: its output is dropped, for it may not be repeated (CRQ-F-35).
 * Whether everything came back.
 */
bool vcrq_queue_spin(struct vcrq_queue *queue, bool away)
{
	struct vcrq_breach breach = { VCRQ_RULES };
	unsigned long flags;
	bool done;
	u16 id;

	spin_lock_irqsave(&queue->lock, flags);
	if (!away)
		vcrq_reap(queue, &breach);
	for (id = 0; away && id < queue->size; id++)
		if (queue->heads[id].in_flight)
			vcrq_give(queue, id, 0);
	smp_store_release(&queue->ring.used->idx, to_ring16(queue->last_used));
	done = !queue->in_flight;
	spin_unlock_irqrestore(&queue->lock, flags);
	if (breach.rule != VCRQ_RULES)
		vcrq_break_device(queue->device, breach.rule, breach.first,
				  breach.second);
	return done || breach.rule != VCRQ_RULES;
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
	queue->told = queue->last_used;
	queue->unasked = unasked;
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

	spin_lock_irqsave(&queue->lock, flags);
	queue->started = true;
	vcrq_take(queue);
	queue->pending = queue->taken != queue->announced;
	vcrq_settle(queue, true);
	spin_unlock_irqrestore(&queue->lock, flags);
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
	queue->in_flight = 0;
	queue->pending = false;
	spin_unlock_irqrestore(&queue->lock, flags);
}

/*
 * Process context, between sessions' devices: takes what the old server had
 * done.  False when its used ring breaks a rule: the device is then broken.
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
	if (breach.rule == VCRQ_RULES)
		return true;
	vcrq_break_device(queue->device, breach.rule, breach.first,
			  breach.second);
	return false;
}

static int vcrq_by_issue(const void *left, const void *right)
{
	const struct vcrq_head *const *a = left, *const *b = right;

	return (*a)->issued < (*b)->issued ? -1 : 1;
}

/*
 * Process context.  The heads in flight in the order they were taken, and both
 * positions (CRQ-F-33); how many, or U16_MAX when they are more than fit.
 */
u16 vcrq_queue_suspend(struct vcrq_queue *queue, __le16 *heads, u16 max,
		       u16 *avail_position, u16 *used_position)
{
	const struct vcrq_head **order;
	unsigned long flags;
	u16 id, count = 0;

	order = kmalloc_array(queue->size, sizeof(*order), GFP_KERNEL);
	if (!order)
		return U16_MAX;
	spin_lock_irqsave(&queue->lock, flags);
	for (id = 0; id < queue->size; id++)
		if (queue->heads[id].in_flight)
			order[count++] = &queue->heads[id];
	*avail_position = queue->taken;
	*used_position = queue->last_used;
	sort(order, count, sizeof(*order), vcrq_by_issue, NULL);
	for (id = 0; id < count && id < max; id++)
		heads[id] = cpu_to_le16(order[id] - queue->heads);
	spin_unlock_irqrestore(&queue->lock, flags);
	kfree(order);
	return count > max ? U16_MAX : count;
}

/*
 * Process context, the device is broken and does not reach the memory any more.
 * A disk's requests end with an error; virtio_blk has no other way to give up
 * on them.  The driver's buffers come back, so that it can be removed.
 */
void vcrq_queue_fail(struct vcrq_queue *queue)
{
	unsigned long flags;
	bool fresh = false;
	u8 *status;
	u16 id;

	spin_lock_irqsave(&queue->lock, flags);
	vcrq_take(queue);
	for (id = 0; id < queue->size; id++) {
		if (!queue->heads[id].in_flight)
			continue;
		status = vcrq_status_byte(queue, id);
		if (status)
			WRITE_ONCE(*status, VIRTIO_BLK_S_IOERR);
		vcrq_give(queue, id, status ? 1 : 0);
		fresh = true;
	}
	smp_store_release(&queue->ring.used->idx, to_ring16(queue->last_used));
	spin_unlock_irqrestore(&queue->lock, flags);
	if (!fresh)
		return;
	local_irq_save(flags);
	vring_interrupt(0, queue->vq);
	local_irq_restore(flags);
}
