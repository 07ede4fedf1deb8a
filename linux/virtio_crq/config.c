// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio_config_ops, one function per entry in the order of the table.
 *
 * What a driver reads comes from a copy that the transport keeps: it is there
 * while the partner is away, too.  What a driver changes is asked of the device
 * and fails while there is no session; a driver that was probing then is
 * probed again in the next one.
 */
#include <linux/slab.h>
#include <uapi/linux/virtio_config.h>
#include <uapi/linux/virtio_ids.h>
#include <uapi/linux/virtio_ring.h>

#include "virtio_crq.h"

/* Process context. */
static void vcrq_get(struct virtio_device *vdev, unsigned int offset, void *buf,
		     unsigned int len)
{
	struct vcrq_device *device = to_vcrq(vdev);
	unsigned int known = 0;
	unsigned long flags;

	if (offset < device->config_bytes)
		known = min(len, device->config_bytes - offset);
	memset(buf, 0, len);
	spin_lock_irqsave(&device->config_lock, flags);
	memcpy(buf, device->config + offset, known);
	spin_unlock_irqrestore(&device->config_lock, flags);
}

/* Process context, device->setup is held. */
static int vcrq_set_piece(struct vcrq_device *device, unsigned int offset,
			  const void *data, unsigned int len)
{
	u8 ask[sizeof(struct vcrq_config) + VCRQ_CONFIG_PIECE];
	u8 answer[sizeof(ask)];
	struct vcrq_config *head = (void *)ask;
	struct vcrq_exchange exchange = {
		.msg_id = VCRQ_SET_CONFIG,
		.device = device->number,
		.ask = ask,
		.ask_length = sizeof(*head) + len,
		.answer = answer,
		.answer_max = sizeof(*head) + len,
		.answer_min = sizeof(*head),
	};
	int result;

	head->generation = cpu_to_le32(device->generation);
	head->offset = cpu_to_le32(offset);
	head->length = cpu_to_le32(len);
	memcpy(ask + sizeof(*head), data, len);
	mutex_lock(&device->ask);
	result = vcrq_ask(device->adapter, &exchange);
	mutex_unlock(&device->ask);
	return result < 0 ? result : 0;
}

/* Process context. */
static void vcrq_set(struct virtio_device *vdev, unsigned int offset,
		     const void *buf, unsigned int len)
{
	struct vcrq_device *device = to_vcrq(vdev);
	unsigned int done, part;
	unsigned long flags;
	int error = 0;

	if (offset >= device->config_bytes ||
	    len > device->config_bytes - offset)
		return;
	mutex_lock(&device->setup);
	for (done = 0; done < len && !error; done += part) {
		part = min_t(unsigned int, len - done, VCRQ_CONFIG_PIECE);
		error = vcrq_set_piece(device, offset + done, buf + done, part);
		if (error)
			break;
		spin_lock_irqsave(&device->config_lock, flags);
		memcpy(device->config + offset + done, buf + done, part);
		spin_unlock_irqrestore(&device->config_lock, flags);
	}
	if (error == -ENOTCONN && device->device_id == VIRTIO_ID_BLOCK) {
		device->unsure_at = offset;
		device->unsure_bytes = len;
	}
	mutex_unlock(&device->setup);
	if (error)
		dev_warn_ratelimited(&vdev->dev,
				     "configuration at %u not written: %d\n",
				     offset, error);
}

/*
 * Process context, device->setup is held, a disk was resumed.  Whether a write
 * took effect whose answer was lost, nobody knows; its driver reads that it did
 * not.  It is made so, or a driver that tried to turn the write cache on would
 * not flush one that is on (CRQ-D-103).
 */
int vcrq_restore_config(struct vcrq_device *device)
{
	u32 at = device->unsure_at, len = device->unsure_bytes;
	int error;

	if (!len || len > VCRQ_CONFIG_PIECE)
		return 0;
	error = vcrq_set_piece(device, at, device->config + at, len);
	if (!error)
		device->unsure_bytes = 0;
	return error;
}

/* Any context. */
static u32 vcrq_generation(struct virtio_device *vdev)
{
	return READ_ONCE(to_vcrq(vdev)->generation);
}

/* Any context. */
static u8 vcrq_get_status(struct virtio_device *vdev)
{
	struct vcrq_device *device = to_vcrq(vdev);
	u8 status = READ_ONCE(device->status);

	if (status && test_bit(VCRQ_DEV_BROKEN, &device->flags))
		status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	return status;
}

/* Process context, device->setup is held.  Asks; what the device is then, or an error. */
int vcrq_change_status(struct vcrq_device *device, u8 status)
{
	__le32 ask = cpu_to_le32(status), answer;
	int error;

	error = vcrq_ask_device(device, VCRQ_SET_DEVICE_STATUS, &ask,
				sizeof(ask), &answer, sizeof(answer));
	if (error)
		return error;
	if (le32_to_cpu(answer) != status)
		vcrq_count(device->adapter, VCRQ_RULE_STATUS_ANSWER, status,
			   le32_to_cpu(answer));
	return le32_to_cpu(answer) & 0xff;
}

/* device->setup is held.  Before DRIVER_OK is asked for, or after the answer. */
static void vcrq_run_queues(struct vcrq_device *device, bool answered)
{
	struct vcrq_queue *queue;
	u16 index;

	for (index = 0; index < device->queue_max; index++) {
		queue = device->queues[index];
		if (!queue || !queue->enabled)
			continue;
		if (answered)
			vcrq_queue_start(queue);
		else
			vcrq_queue_open(queue, device->session, 0, false);
	}
}

/*
 * Process context.  A DRIVER_OK that the loss of the session swallowed stands
 * all the same: the next session resumes the device with it.
 */
static void vcrq_set_status(struct virtio_device *vdev, u8 status)
{
	struct vcrq_device *device = to_vcrq(vdev);
	int now;

	status &= ~VIRTIO_CONFIG_S_NEEDS_RESET;
	mutex_lock(&device->setup);
	now = -ENOTCONN;
	if (!test_bit(VCRQ_DEV_BROKEN, &device->flags) && device->session &&
	    device->session == READ_ONCE(device->adapter->session))
		now = 0;
	if (!now && status & VIRTIO_CONFIG_S_DRIVER_OK &&
	    !(device->status & VIRTIO_CONFIG_S_DRIVER_OK))
		vcrq_run_queues(device, false);
	if (!now)
		now = vcrq_change_status(device, status);
	if (now >= 0) {
		WRITE_ONCE(device->status, now & ~VIRTIO_CONFIG_S_NEEDS_RESET);
		if (now & VIRTIO_CONFIG_S_NEEDS_RESET ||
		    (now ^ status) & VIRTIO_CONFIG_S_DRIVER_OK)
			vcrq_break_device(device, VCRQ_RULE_DEVICE_NEEDS_RESET,
					  device->number, now);
		else if (status & VIRTIO_CONFIG_S_DRIVER_OK)
			vcrq_run_queues(device, true);
	} else if (status & VIRTIO_CONFIG_S_DRIVER_OK || !status ||
		   status & VIRTIO_CONFIG_S_FAILED) {
		WRITE_ONCE(device->status, status);
	} else {
		set_bit(VCRQ_DEV_NEEDS_DRIVER, &device->flags);
	}
	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		vcrq_break_late(device);
	mutex_unlock(&device->setup);
}

/*
 * Process context.  Without a session the server has reset the device already,
 * and what remains is done here (CRQ-F-25).
 */
static void vcrq_reset(struct virtio_device *vdev)
{
	struct vcrq_device *device = to_vcrq(vdev);
	u32 session;
	int now = 0;
	u16 index;

	mutex_lock(&device->setup);
	for (index = 0; index < device->queue_max; index++)
		if (device->queues[index])
			WRITE_ONCE(device->queues[index]->session, 0);
	session = READ_ONCE(device->adapter->session);
	if (test_bit(VCRQ_DEV_GONE, &device->flags))
		session = 0;
	if (session)
		now = vcrq_change_status(device, 0);
	/* A device that does not come back to 0 is not used. */
	device->session = session && now == 0 ? session : 0;
	WRITE_ONCE(device->status, 0);
	device->unsure_bytes = 0;
	vcrq_forget_queues(device);
	if (!test_bit(VCRQ_DEV_GONE, &device->flags)) {
		clear_bit(VCRQ_DEV_BROKEN, &device->flags);
		clear_bit(VCRQ_DEV_TOLD, &device->flags);
		clear_bit(VCRQ_DEV_UNTOLD, &device->flags);
		clear_bit(VCRQ_DEV_NUMBERED, &device->flags);
	}
	if (!device->session)
		set_bit(VCRQ_DEV_NEEDS_DRIVER, &device->flags);
	else
		clear_bit(VCRQ_DEV_NEEDS_DRIVER, &device->flags);
	mutex_unlock(&device->setup);
}

#ifdef VCRQ_FIND_VQS_BY_ARRAYS
/* Process context. */
static int vcrq_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
			 struct virtqueue *vqs[], vq_callback_t *callbacks[],
			 const char * const names[], const bool *ctx,
			 struct irq_affinity *affinity)
{
	struct virtqueue_info *info;
	unsigned int at;
	int error;

	info = kcalloc(nvqs, sizeof(*info), GFP_KERNEL);
	if (!info)
		return -ENOMEM;
	for (at = 0; at < nvqs; at++)
		info[at] = (struct virtqueue_info) {
			names[at], callbacks[at], ctx && ctx[at] };
	error = vcrq_find_vqs_by_info(vdev, nvqs, vqs, info, affinity);
	kfree(info);
	return error;
}
#else
#define vcrq_find_vqs vcrq_find_vqs_by_info
#endif

/* Process context.  Callbacks run with interrupts off, in interrupts or not. */
static void vcrq_synchronize_cbs(struct virtio_device *vdev)
{
	synchronize_rcu();
}

/* Any context. */
static u64 vcrq_get_features(struct virtio_device *vdev)
{
	return to_vcrq(vdev)->offered[0];
}

#ifdef VCRQ_EXTENDED_FEATURES
/* Any context. */
static void vcrq_get_extended_features(struct virtio_device *vdev,
				       u64 *features)
{
	memcpy(features, to_vcrq(vdev)->offered, sizeof(u64) * 2);
}
#endif

/* Process context. */
static int vcrq_finalize_features(struct virtio_device *vdev)
{
	struct vcrq_device *device = to_vcrq(vdev);
	struct vcrq_features ask = {
		.num_blocks = cpu_to_le32(VCRQ_FEATURE_BLOCKS),
	};
	int error = -ENOTCONN, block;

	vring_transport_features(vdev);
	/* The ring of the device's own is a split one, and used out of order. */
	__virtio_clear_bit(vdev, VIRTIO_F_RING_PACKED);
	__virtio_clear_bit(vdev, VIRTIO_F_IN_ORDER);
	if (device->offered[0] & BIT_ULL(VIRTIO_F_RING_RESET))
		__virtio_set_bit(vdev, VIRTIO_F_RING_RESET);
	mutex_lock(&device->setup);
	for (block = 0; block < VCRQ_FEATURE_BLOCKS; block++) {
		device->negotiated[block / 2] =
			vcrq_driver_features(vdev, block / 2);
		ask.features[block] =
			cpu_to_le32(device->negotiated[block / 2] >>
				    32 * (block % 2));
	}
	if (device->session &&
	    device->session == READ_ONCE(device->adapter->session))
		error = vcrq_ask_device(device, VCRQ_SET_DRIVER_FEATURES, &ask,
					sizeof(ask), NULL, 0);
	if (error)
		set_bit(VCRQ_DEV_NEEDS_DRIVER, &device->flags);
	mutex_unlock(&device->setup);
	return error;
}

/* Any context. */
static const char *vcrq_bus_name(struct virtio_device *vdev)
{
	return dev_name(vcrq_dev(to_vcrq(vdev)->adapter));
}

/* All queues of an adapter share its one interrupt: there is nothing to move. */
static int vcrq_set_vq_affinity(struct virtqueue *vq,
				const struct cpumask *cpu_mask)
{
	return 0;
}

/* NULL: block drivers spread their queues over CPUs by themselves. */
static const struct cpumask *vcrq_get_vq_affinity(struct virtio_device *vdev,
						  int index)
{
	return NULL;
}

/* There is no memory that both partitions map (section 15: GET_SHM). */
static bool vcrq_get_shm_region(struct virtio_device *vdev,
				struct virtio_shm_region *region, u8 id)
{
	return false;
}

/* Process context. */
static int vcrq_disable_vq_and_reset(struct virtqueue *vq)
{
	struct vcrq_queue *queue = vq->priv;
	struct vcrq_device *device = queue->device;
	__le32 index = cpu_to_le32(queue->index);
	int error;

	if (!virtio_has_feature(vq->vdev, VIRTIO_F_RING_RESET))
		return -ENOENT;
	mutex_lock(&device->setup);
	error = vcrq_ask_device(device, VCRQ_RESET_VQUEUE, &index,
				sizeof(index), NULL, 0);
	if (!error) {
		vcrq_queue_reset(queue);
		synchronize_rcu();
		vq->reset = true;
	}
	mutex_unlock(&device->setup);
	return error;
}

/* Process context. */
static int vcrq_enable_vq_after_reset(struct virtqueue *vq)
{
	struct vcrq_queue *queue = vq->priv;
	struct vcrq_device *device = queue->device;
	int error;

	if (!vq->reset)
		return -EBUSY;
	mutex_lock(&device->setup);
	vcrq_queue_open(queue, device->session, 0, false);
	error = vcrq_enable_queue(queue);
	if (!error) {
		vq->reset = false;
		vcrq_queue_start(queue);
	}
	mutex_unlock(&device->setup);
	return error;
}

const struct virtio_config_ops vcrq_config_ops = {
	.get = vcrq_get,
	.set = vcrq_set,
	.generation = vcrq_generation,
	.get_status = vcrq_get_status,
	.set_status = vcrq_set_status,
	.reset = vcrq_reset,
	.find_vqs = vcrq_find_vqs,
	.del_vqs = vcrq_del_vqs,
	.synchronize_cbs = vcrq_synchronize_cbs,
	.get_features = vcrq_get_features,
#ifdef VCRQ_EXTENDED_FEATURES
	.get_extended_features = vcrq_get_extended_features,
#endif
	.finalize_features = vcrq_finalize_features,
	.bus_name = vcrq_bus_name,
	.set_vq_affinity = vcrq_set_vq_affinity,
	.get_vq_affinity = vcrq_get_vq_affinity,
	.get_shm_region = vcrq_get_shm_region,
	.disable_vq_and_reset = vcrq_disable_vq_and_reset,
	.enable_vq_after_reset = vcrq_enable_vq_after_reset,
};
