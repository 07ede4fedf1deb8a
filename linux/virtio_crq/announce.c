// SPDX-License-Identifier: GPL-2.0-only
/*
 * Announcements and credits of the device side, booked queue by queue.
 */
#include <uapi/linux/virtio_ids.h>

#include "ring.h"

/* Interrupts off.  A queue that is enabled in this session, or NULL (CRQ-F-39). */
static struct vcrq_queue *vcrq_find_queue(struct vcrq_adapter *adapter,
					  u16 number, u32 index, u32 session)
{
	struct vcrq_device *device = xa_load(&adapter->devices, number);
	struct vcrq_queue *queue;

	if (!device || !vcrq_is_registered(device) ||
	    index >= device->queue_max)
		return NULL;
	queue = READ_ONCE(device->queues[index]);
	return queue && READ_ONCE(queue->session) == session ? queue : NULL;
}

/* queue->lock is held.  Books an announcement; the rule it breaks, or VCRQ_RULES. */
static enum vcrq_rule vcrq_book(struct vcrq_queue *queue, bool used,
				u16 position, bool credit)
{
	u16 moved = position - queue->told;
	u16 most = (u16)(queue->reaped - queue->told) + queue->in_flight;

	if (queue->push)
		most -= queue->shown - queue->announced;

	if (used && moved > most)
		return VCRQ_RULE_USED_AHEAD;
	if (used && queue->owed)
		return VCRQ_RULE_CREDIT_OVERRUN;
	/* The index is stored before it is announced. */
	if (used && !queue->push && (u16)(load_used_index(queue) - queue->told) < moved)
		return VCRQ_RULE_USED_AHEAD;
	if (credit && queue->credit)
		return VCRQ_RULE_CREDIT_UNOWED;
	if (used) {
		queue->told = position;
		queue->owed = true;
	}
	if (credit) {
		queue->credit = true;
		queue->lists_stand = false;
		/* The device does not look by itself (CRQ-F-17). */
		vcrq_take(queue, true);
		if (queue->shown != queue->announced)
			queue->pending = true;
	}
	return VCRQ_RULES;
}

/*
 * Interrupts off, under DRAINING.  A console's driver may take locks in its
 * callback under which it kicks a polled queue elsewhere, and that kick may
 * wait for what only the holder of DRAINING takes: a worker calls it back.
 */
static void vcrq_call_back(struct vcrq_queue *queue)
{
	struct vcrq_adapter *adapter = queue->device->adapter;

	if (queue->device->device_id != VIRTIO_ID_CONSOLE) {
		vring_interrupt(0, queue->vq);
		return;
	}
	WRITE_ONCE(queue->callback_due, true);
	queue_work(adapter->rescue_queue, &adapter->callback_work);
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

	WRITE_ONCE(device->heard, queue->session);
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
		vcrq_call_back(queue);
		spin_lock(&queue->lock);
		if (breach.rule == VCRQ_RULES)
			sound = vcrq_settle(queue, true);
		spin_unlock(&queue->lock);
	}
	vcrq_breached(queue, &breach);
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

/*
 * Interrupts off, under DRAINING.  False when somebody has the queue's lock.
 * `stalled` is set when the ring of the partner is full.
 */
static bool vcrq_book_quietly(struct vcrq_queue *queue, bool used, u16 position,
			      bool credit, struct vcrq_breach *breach,
			      bool *stalled)
{
	bool done;

	if (!spin_trylock(&queue->lock))
		return false;
	done = vcrq_book(queue, used, position, credit) == VCRQ_RULES;
	if (done && used && vcrq_reap(queue, breach))
		WRITE_ONCE(queue->callback_due, true);
	if (done)
		*stalled = !vcrq_settle(queue, true);
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
	bool done = false, stalled = false;

	if (!session || (high >> 8 & 0xff) != (session & 0xff) || high & 0xfe ||
	    (used ? position > 0xffff :
	     word != VCRQ_CREDIT_WORD || position || !(high & 1)))
		return false;
	rcu_read_lock();
	queue = vcrq_find_queue(adapter,
				(high >> 24 & 0xff) | (high >> 8 & 0xff00),
				swab32((u32)(low >> 32)), session);
	done = queue && vcrq_book_quietly(queue, used, position, high & 1,
					  &breach, &stalled);
	if (queue)
		vcrq_breached(queue, &breach);
	if (stalled)
		vcrq_end_session(adapter, VCRQ_RULE_PARTNER_STALLED,
				 queue->device->number, queue->index);
	rcu_read_unlock();
	return done;
}
