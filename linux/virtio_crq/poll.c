// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues whose driver spins.
 *
 * virtio_console waits for each buffer of output in a loop, with interrupts
 * off.  It looks at its own ring, into which only this transport writes, and
 * on a partition with one CPU no interrupt comes.  So the kick of such a queue
 * does not return before the buffer did: it takes what the device used, and
 * what stands in the CRQ, itself.  Drivers are called back later, by a worker.
 *
 * While the partner is away output is dropped, and a device that does not
 * take it for three seconds is broken: the loop always ends.
 */
#include <linux/delay.h>
#include <linux/timekeeping.h>
#include <uapi/linux/virtio_ids.h>

#include "virtio_crq.h"

/* A reader who stopped reading may hold a console up for a second at a time. */
#define VCRQ_SPIN_NANOSECONDS	(3 * (u64)NSEC_PER_SEC)
#define VCRQ_SPIN_LOOKS		300000	/* at least, on a machine that stood still meanwhile */

/*
 * What port 0, the console, transmits, and control messages.  Of other ports a
 * program waits for its turn, asleep.
 */
bool vcrq_polls(const struct vcrq_device *device, u16 index)
{
	return device->device_id == VIRTIO_ID_CONSOLE &&
	       (index == VCRQ_CONSOLE_TRANSMIT ||
		index == VCRQ_CONTROL_TRANSMIT);
}

/*
 * Under DRAINING.  Whether an announcement of the same queue was laid aside:
 * then this one follows it.
 */
static bool vcrq_behind(const struct vcrq_adapter *adapter,
			const union vcrq_entry *entry)
{
	const union vcrq_entry *other;
	unsigned int at;

	for (at = 0; at < adapter->stashed; at++) {
		other = &adapter->stash[at];
		if ((other->command.msg_id == VCRQ_EVENT_USED ||
		     other->command.msg_id == VCRQ_CREDIT) &&
		    other->command.device == entry->command.device &&
		    !memcmp(other->command.payload, entry->command.payload,
			    sizeof(__le32)))
			return true;
	}
	return false;
}

/*
 * Any context.  Takes entries as long as they are announcements, and lays
 * others aside in their order.  False when the partner has left: that entry
 * stays where it is for who may act on it.
 */
static bool vcrq_drain_quietly(struct vcrq_adapter *adapter, u32 session)
{
	union vcrq_entry entry;
	unsigned long flags;
	bool there = true;
	u8 header;

	local_irq_save(flags);
	if (test_and_set_bit_lock(VCRQ_DRAINING, &adapter->flags))
		goto out;
	while (adapter->stashed < VCRQ_STASH) {
		/* As vcrq_entry_waits(): the header is stored last. */
		header = smp_load_acquire(&adapter->ring[adapter->cursor].byte[0]);
		there = header == VCRQ_HEADER_FREE ||
			header == VCRQ_HEADER_COMMAND;
		if (header != VCRQ_HEADER_COMMAND ||
		    !vcrq_next_entry(adapter, &entry))
			break;
		if (vcrq_behind(adapter, &entry) ||
		    !vcrq_quiet_event(adapter, be64_to_cpu(entry.word[0]),
				      be64_to_cpu(entry.word[1]), session))
			adapter->stash[adapter->stashed++] = entry;
	}
	clear_bit_unlock(VCRQ_DRAINING, &adapter->flags);
	/* Callbacks that are due, and what was laid aside. */
	queue_work(adapter->rescue_queue, &adapter->callback_work);
out:
	local_irq_restore(flags);
	return there;
}

/* Any context, interrupts perhaps off: what was kicked comes back, or its queue ends. */
void vcrq_poll_queue(struct vcrq_queue *queue)
{
	struct vcrq_device *device = queue->device;
	struct vcrq_adapter *adapter = device->adapter;
	u64 begun = ktime_get_mono_fast_ns();
	unsigned int looks;
	u32 session;

	for (looks = 0; looks < VCRQ_SPIN_LOOKS ||
	     ktime_get_mono_fast_ns() - begun < VCRQ_SPIN_NANOSECONDS; looks++) {
		session = READ_ONCE(adapter->session);
		if (vcrq_queue_spin(queue, false))
			return;
		if (looks % 16 == 15 && !vcrq_drain_quietly(adapter, session)) {
			vcrq_queue_spin(queue, true);
			return;
		}
		udelay(1);
	}
	vcrq_break_device(device, VCRQ_RULE_PARTNER_STALLED, device->number,
			  queue->index);
	__virtqueue_break(queue->vq);
}

/* Process context: the callbacks that polling kicks left, and the entries. */
void vcrq_callback_work(struct work_struct *work)
{
	struct vcrq_adapter *adapter =
		container_of(work, struct vcrq_adapter, callback_work);
	struct vcrq_device *device;
	struct vcrq_queue *queue;
	unsigned long number, flags;
	u16 index;

	local_irq_save(flags);
	rcu_read_lock();
	xa_for_each(&adapter->devices, number, device) {
		if (!vcrq_is_registered(device))
			continue;
		for (index = 0; index < device->queue_max; index++) {
			queue = READ_ONCE(device->queues[index]);
			if (queue && xchg(&queue->callback_due, false))
				vring_interrupt(0, queue->vq);
		}
	}
	rcu_read_unlock();
	vio_disable_interrupts(adapter->vio);
	local_irq_restore(flags);
	queue_work(adapter->rescue_queue, &adapter->drain_work);
}
