// SPDX-License-Identifier: GPL-2.0-only
/*
 * Consoles get their drivers one after the other.
 *
 * Before Linux 6.2 virtio_console takes a console's number from a counter, and
 * raises it only after a call that may sleep.  Of two consoles that it brings
 * up at a time both get the same number, and one terminal leads nowhere.
 * Devices of this transport are probed side by side, so a console's probe waits
 * until the console before it has its number.  Without ports it has when its
 * own probe ends; with ports the driver works on for itself when the device
 * names a console, and opens that by a control message when it is through.
 */
#include <linux/delay.h>
#include <uapi/linux/virtio_console.h>
#include <uapi/linux/virtio_ids.h>

#include "ring.h"

#ifdef VCRQ_CONSOLES_COLLIDE

#define VCRQ_NUMBER_MILLISECONDS	5000	/* its port 0 may be no console */
#define VCRQ_NUMBER_STEP		2

static DEFINE_MUTEX(vcrq_number);	/* of all adapters: so is the counter */

/* queue->lock is held, of a queue that polls.  What its driver just made available. */
void vcrq_see_control(struct vcrq_queue *queue)
{
	const struct virtio_console_control *message;
	u16 mask = queue->size - 1, last;
	const struct vring_desc *desc;

	if (queue->index != VCRQ_CONTROL_TRANSMIT)
		return;
	/* The head is read after the index that covers it. */
	last = ring16(smp_load_acquire(&queue->ring.avail->idx)) - 1;
	last = ring16(queue->ring.avail->ring[last & mask]);
	desc = &queue->ring.desc[last & mask];
	if (ring32(desc->len) < sizeof(*message))
		return;
	message = vcrq_translate(queue, le64_to_cpu((__force __le64)desc->addr),
				 1);
	if (message && !ring32(message->id) &&
	    ring16(message->event) == VIRTIO_CONSOLE_PORT_OPEN &&
	    ring16(message->value))
		set_bit(VCRQ_DEV_NUMBERED, &queue->device->flags);
}

/* Process context.  Whether a console will get its number, but has not. */
static bool vcrq_lacks_number(const struct vcrq_device *device)
{
	return device->vdev.dev.driver &&
	       virtio_has_feature(&device->vdev, VIRTIO_CONSOLE_F_MULTIPORT) &&
	       !test_bit(VCRQ_DEV_NUMBERED, &device->flags) &&
	       !test_bit(VCRQ_DEV_BROKEN, &device->flags) &&
	       !test_bit(VCRQ_DEV_GONE, &device->flags) &&
	       !test_bit(VCRQ_REMOVING, &device->adapter->flags);
}

/* Process context: a driver is about to probe the device. */
void vcrq_probe_begins(const struct vcrq_device *device)
{
	if (device->device_id == VIRTIO_ID_CONSOLE)
		mutex_lock(&vcrq_number);
}

/* Process context: it has probed, or did not want it. */
void vcrq_probe_ends(const struct vcrq_device *device)
{
	unsigned int waited;

	if (device->device_id != VIRTIO_ID_CONSOLE)
		return;
	for (waited = 0; waited < VCRQ_NUMBER_MILLISECONDS &&
	     vcrq_lacks_number(device); waited += VCRQ_NUMBER_STEP)
		msleep(VCRQ_NUMBER_STEP);
	mutex_unlock(&vcrq_number);
}

#endif /* VCRQ_CONSOLES_COLLIDE */
