// SPDX-License-Identifier: GPL-2.0-only
/*
 * The partner is back: every device that had DRIVER_OK is told where it
 * stopped and what was in flight, before any other message (CRQ-F-32).
 */
#include <uapi/linux/virtio_config.h>
#include <uapi/linux/virtio_ids.h>

#include "virtio_crq.h"

/*
 * Types of which it is said what becomes of requests in flight (CRQ-F-35).  A
 * console that does not know what its driver told it begins anew.
 */
static bool vcrq_resumable(const struct vcrq_device *device)
{
	return device->device_id == VIRTIO_ID_BLOCK ||
	       device->device_id == VIRTIO_ID_RNG ||
	       (device->device_id == VIRTIO_ID_CONSOLE &&
		!test_bit(VCRQ_DEV_UNTOLD, &device->flags));
}

/* device->setup is held.  Whether its queues are what this session has (CRQ-F-69). */
static bool vcrq_same_carrier(const struct vcrq_device *device)
{
	u16 index;

	for (index = 0; index < device->queue_max; index++)
		if (device->queues[index] &&
		    device->queues[index]->push != device->adapter->push)
			return false;
	return true;
}

/* device->setup is held.  A device that does not carry on stops (CRQ-F-34). */
static int vcrq_outcome(struct vcrq_device *device, u32 outcome)
{
	enum vcrq_rule rule = VCRQ_RULE_RESUME_OTHER;

	if (!outcome)
		return 0;
	if (outcome <= VCRQ_RULE_RESUME_PUSH - VCRQ_RULE_RESUME_IDENTITY + 1)
		rule = VCRQ_RULE_RESUME_IDENTITY + outcome - 1;
	vcrq_break_device(device, rule, device->number, outcome);
	return -EPERM;
}

/* device->setup is held.  Says what the device was, and what was negotiated. */
static int vcrq_resume_identity(struct vcrq_device *device)
{
	struct vcrq_resume_device ask = {
		.device_id = cpu_to_le32(device->device_id),
		.num_blocks = cpu_to_le32(VCRQ_FEATURE_BLOCKS),
	};
	struct vcrq_resumed answer;
	int error, block;

	memcpy(ask.identity, device->identity, sizeof(ask.identity));
	for (block = 0; block < VCRQ_FEATURE_BLOCKS; block++)
		ask.features[block] =
			cpu_to_le32(device->negotiated[block / 2] >>
				    32 * (block % 2));
	error = vcrq_ask_device(device, VCRQ_RESUME_DEVICE, &ask, sizeof(ask),
				&answer, sizeof(answer));
	if (error)
		return error;
	return vcrq_outcome(device, le32_to_cpu(answer.outcome));
}

/* device->setup is held.  The queue's place, its positions, its heads. */
static int vcrq_resume_queue(struct vcrq_queue *queue, u32 session,
			     u16 *announced)
{
	struct vcrq_device *device = queue->device;
	size_t room = min_t(size_t, VCRQ_SLOT_BYTES,
			    device->adapter->max_message - VCRQ_MESSAGE_HEADER);
	struct vcrq_resume_vqueue *ask = device->adapter->resume;
	struct vcrq_resumed answer = {};
	u16 used, count, max;
	int error;

	memset(ask, 0, room);
	max = (room - sizeof(*ask)) / sizeof(__le16);
	count = vcrq_queue_suspend(queue, session, (__le16 *)(ask + 1), max,
				   announced, &used);
	vcrq_queue_place(queue, ask);
	ask->avail_position = cpu_to_le16(*announced);
	ask->used_position = cpu_to_le16(used);
	ask->num_heads = cpu_to_le32(count);
	error = count == U16_MAX ? -EMSGSIZE :
		vcrq_ask_device(device, VCRQ_RESUME_VQUEUE, ask,
				sizeof(*ask) + 2 * count, &answer,
				sizeof(answer));
	if (error == -EMSGSIZE)
		vcrq_break_device(device, VCRQ_RULE_RESUME_POSITIONS,
				  device->number, queue->index);
	if (error)
		return error;
	return vcrq_outcome(device, le32_to_cpu(answer.outcome));
}

/* device->setup is held. */
static int vcrq_resume_queues(struct vcrq_device *device, u32 session)
{
	const u8 running = VIRTIO_CONFIG_S_ACKNOWLEDGE |
			   VIRTIO_CONFIG_S_DRIVER |
			   VIRTIO_CONFIG_S_FEATURES_OK |
			   VIRTIO_CONFIG_S_DRIVER_OK;
	u16 announced, index;
	struct vcrq_queue *queue;
	int error = 0, now;

	for (index = 0; index < device->queue_max && !error; index++) {
		queue = device->queues[index];
		if (queue && queue->enabled)
			error = vcrq_resume_queue(queue, session, &announced);
		if (queue && queue->enabled && !error)
			vcrq_queue_open(queue, session, announced, true);
	}
	if (error)
		return error;
	now = vcrq_change_status(device, running);
	if (now < 0)
		return now;
	if (now != running) {
		vcrq_break_device(device, VCRQ_RULE_DEVICE_NEEDS_RESET,
				  device->number, now);
		return -EPERM;
	}
	device->session = session;
	/* Before anything new is announced; a refusal is the device's affair. */
	if (vcrq_restore_config(device) == -ENOTCONN)
		return -ENOTCONN;
	for (index = 0; index < device->queue_max; index++) {
		queue = device->queues[index];
		if (queue && queue->enabled)
			vcrq_queue_start(queue);
	}
	return 0;
}

/* Session work.  An error other than refusal means that the session is over. */
static void vcrq_resume_device(struct vcrq_device *device, u32 session)
{
	u16 index;
	bool sound = true;
	int error;

	mutex_lock(&device->setup);
	if (device->session == session ||
	    !(device->status & VIRTIO_CONFIG_S_DRIVER_OK) ||
	    test_bit(VCRQ_DEV_BROKEN, &device->flags))
		goto out;
	/* What the old server had done is the driver's before the new one asks. */
	for (index = 0; index < device->queue_max && sound; index++)
		if (device->queues[index])
			sound = vcrq_queue_reap(device->queues[index]);
	if (!sound)
		goto out;
	if (!vcrq_resumable(device) || !vcrq_same_carrier(device)) {
		vcrq_break_device(device, vcrq_resumable(device) ?
				  VCRQ_RULE_RESUME_PUSH : VCRQ_RULE_RESUME_TYPE,
				  device->number, device->device_id);
		/* Its driver gets it anew, as a device that was exchanged. */
		set_bit(VCRQ_DEV_GONE, &device->flags);
		goto out;
	}
	error = vcrq_resume_identity(device);
	if (!error)
		error = vcrq_resume_queues(device, session);
	if (!error)
		set_bit(VCRQ_DEV_CONFIG_STALE, &device->flags);
	if (error == -EREMOTEIO || error == -EPROTO)
		vcrq_break_device(device, VCRQ_RULE_RESUME_OTHER,
				  device->number, -error);
out:
	mutex_unlock(&device->setup);
}

/* Session work, after the devices were listed: those that stay are resumed. */
void vcrq_resume_devices(struct vcrq_adapter *adapter)
{
	u32 session = READ_ONCE(adapter->session);
	struct vcrq_device *device;
	unsigned long number;

	if (!session)
		return;
	mutex_lock(&adapter->listing);
	xa_for_each(&adapter->devices, number, device) {
		if (test_bit(VCRQ_REMOVING, &adapter->flags))
			break;	/* what is not resumed is broken */
		if (vcrq_is_registered(device) &&
		    !test_bit(VCRQ_DEV_GONE, &device->flags))
			vcrq_resume_device(device, session);
		/* Adds, removes, reads anew, finds a driver: what there is. */
		vcrq_kick_device(device);
	}
	mutex_unlock(&adapter->listing);
	/* Whatever went wrong for want of an answer has ended the session. */
	if (READ_ONCE(adapter->session) != session)
		return;
	WRITE_ONCE(adapter->resumed, session);
	clear_bit(VCRQ_GIVEN_UP, &adapter->flags);
	cancel_delayed_work(&adapter->away_work);
}
