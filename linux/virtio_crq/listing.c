// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the device side says of which devices there are: its list, and events.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>
#include <uapi/linux/virtio_config.h>

#include "virtio_crq.h"

#define VCRQ_NUMBERS	65536
#define VCRQ_WINDOW	(8 * (VCRQ_MESSAGE_MIN - 14))	/* of GET_DEVICES */

/* One window of device numbers; where the next begins, 0 for none, or an error. */
static int vcrq_list_window(struct vcrq_adapter *adapter, u32 offset,
			    unsigned long *present)
{
	u8 buffer[VCRQ_MESSAGE_MIN - VCRQ_MESSAGE_HEADER];
	const struct vcrq_devices *answer = (const void *)buffer;
	const u8 *bitmap = buffer + sizeof(*answer);
	u32 asked = min_t(u32, VCRQ_WINDOW, VCRQ_NUMBERS - offset);
	struct vcrq_get_devices ask = {
		.offset = cpu_to_le16(offset),
		.count = cpu_to_le16(asked),
	};
	struct vcrq_exchange exchange = {
		.msg_id = VCRQ_GET_DEVICES,
		.bus = true,
		.ask = &ask,
		.ask_length = sizeof(ask),
		.answer = buffer,
		.answer_max = sizeof(buffer),
		.answer_min = sizeof(*answer),
	};
	u32 count, next, bit;
	int length;

	length = vcrq_ask(adapter, &exchange);
	if (length < 0)
		return length;
	count = le16_to_cpu(answer->count);
	next = le16_to_cpu(answer->next_offset);
	if (le16_to_cpu(answer->offset) != offset || count > asked ||
	    count != 8 * (length - sizeof(*answer)) ||
	    (next && (next % 8 || next < offset + max_t(u32, 8, count)))) {
		vcrq_count(adapter, VCRQ_RULE_DEVICES_WINDOW, offset, next);
		return -EPROTO;
	}
	for (bit = 0; bit < count; bit++)
		if (bitmap[bit / 8] >> bit % 8 & 1)
			__set_bit(offset + bit, present);
	return next;
}

/* Session work, adapter->listing is held: what is new, and what did not come back. */
static void vcrq_compare(struct vcrq_adapter *adapter, unsigned long *present)
{
	struct vcrq_device *device;
	unsigned long number;

	xa_for_each(&adapter->devices, number, device) {
		if (test_bit(number, present))
			continue;
		set_bit(VCRQ_DEV_GONE, &device->flags);
		vcrq_break_device(device, VCRQ_RULE_DEVICE_MISSING, number, 0);
	}
	for_each_set_bit(number, present, VCRQ_NUMBERS)
		if (!xa_load(&adapter->devices, number) &&
		    vcrq_new_device(adapter, number))
			break;
}

/* Session work. */
int vcrq_list_devices(struct vcrq_adapter *adapter)
{
	unsigned long *present;
	int next = 0;

	present = bitmap_zalloc(VCRQ_NUMBERS, GFP_KERNEL);
	if (!present)
		return -ENOMEM;
	/* It may be 8 bits at a time, and nobody who removes waits for that. */
	do {
		next = vcrq_list_window(adapter, next, present);
	} while (next > 0 && !test_bit(VCRQ_REMOVING, &adapter->flags));
	if (!next) {
		mutex_lock(&adapter->listing);
		vcrq_compare(adapter, present);
		mutex_unlock(&adapter->listing);
	}
	bitmap_free(present);
	return next > 0 ? -ENOTCONN : next;
}

/* Interrupts off. */
void vcrq_device_event(struct vcrq_adapter *adapter, u16 number, u16 state)
{
	struct vcrq_device *device;

	if (state != VCRQ_DEVICE_READY && state != VCRQ_DEVICE_REMOVED) {
		vcrq_count(adapter, VCRQ_RULE_DEVICE_STATE, number, state);
		return;
	}
	rcu_read_lock();
	device = xa_load(&adapter->devices, number);
	if (device && state == VCRQ_DEVICE_REMOVED) {
		set_bit(VCRQ_DEV_GONE, &device->flags);
		vcrq_break_device(device, VCRQ_RULE_DEVICE_REMOVED, number, 0);
		vcrq_kick_device(device);
	}
	rcu_read_unlock();
	if (state == VCRQ_DEVICE_READY) {
		set_bit(VCRQ_RESCAN, &adapter->flags);
		queue_work(adapter->session_queue, &adapter->session_work);
	}
}

/* Interrupts off. */
void vcrq_config_event(struct vcrq_adapter *adapter, u16 number, u32 status)
{
	struct vcrq_device *device;

	rcu_read_lock();
	device = xa_load(&adapter->devices, number);
	if (!device) {
		vcrq_count(adapter, VCRQ_RULE_DEVICE_UNKNOWN, number, 0);
	} else if (status & VIRTIO_CONFIG_S_NEEDS_RESET) {
		vcrq_break_device(device, VCRQ_RULE_DEVICE_NEEDS_RESET, number,
				  status);
	} else {
		set_bit(VCRQ_DEV_CONFIG_STALE, &device->flags);
		vcrq_kick_device(device);
	}
	rcu_read_unlock();
}
