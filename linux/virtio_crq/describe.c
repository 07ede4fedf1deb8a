// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a device says of itself before its driver sees it: type, identity,
 * features, queues, configuration.  All of it is checked (CRQ-F-22, CRQ-F-40).
 */
#include <linux/slab.h>
#include <uapi/linux/virtio_config.h>
#include <uapi/linux/virtio_ring.h>

#include "virtio_crq.h"

#define VCRQ_GENERATION_TRIES	16

/* Features of transport and ring that this front-end can carry; all of a device's own pass. */
static u64 vcrq_supported(void)
{
	u64 own = GENMASK_ULL(23, 0) | GENMASK_ULL(63, 50);

	if (vcrq_indirect)
		own |= BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC);
	return own | BIT_ULL(VIRTIO_RING_F_EVENT_IDX) |
	       BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM) |
	       BIT_ULL(VIRTIO_F_RING_RESET);
}

static int vcrq_read_features(struct vcrq_device *device)
{
	const u64 must = BIT_ULL(VIRTIO_F_VERSION_1) |
			 BIT_ULL(VIRTIO_F_ACCESS_PLATFORM);
	struct vcrq_features answer = {
		.num_blocks = cpu_to_le32(VCRQ_FEATURE_BLOCKS),
	};
	int block, error;

	error = vcrq_ask_device(device, VCRQ_GET_DEVICE_FEATURES, &answer,
				offsetof(struct vcrq_features, features),
				&answer, sizeof(answer));
	if (error)
		return error;
	if (answer.block_index ||
	    le32_to_cpu(answer.num_blocks) != VCRQ_FEATURE_BLOCKS) {
		vcrq_count(device->adapter, VCRQ_RULE_FEATURE_BLOCK,
			   le32_to_cpu(answer.block_index),
			   le32_to_cpu(answer.num_blocks));
		return -EPROTO;
	}
	memset(device->offered, 0, sizeof(device->offered));
	for (block = 0; block < VCRQ_FEATURE_BLOCKS; block++)
		device->offered[block / 2] |=
			(u64)le32_to_cpu(answer.features[block])
			<< 32 * (block % 2);
	if ((device->offered[0] & must) != must) {
		vcrq_count(device->adapter, VCRQ_RULE_FEATURES_MANDATORY,
			   device->number, device->offered[0] >> 32);
		return -EPROTO;
	}
	device->offered[0] &= vcrq_supported();
	return 0;
}

static int vcrq_read_queues(struct vcrq_device *device)
{
	struct vcrq_vqueue answer;
	__le32 index;
	u32 size;
	u16 at;
	int error;

	for (at = 0; at < device->queue_max; at++) {
		index = cpu_to_le32(at);
		error = vcrq_ask_device(device, VCRQ_GET_VQUEUE, &index,
					sizeof(index), &answer, sizeof(answer));
		if (error)
			return error;
		size = le32_to_cpu(answer.max_size);
		if (answer.index != index || !is_power_of_2(size) ||
		    size > 32768) {
			vcrq_count(device->adapter, VCRQ_RULE_QUEUE_SIZE, at,
				   size);
			return -EPROTO;
		}
		device->queue_sizes[at] = min_t(u32, size, VCRQ_QUEUE_SIZE_MAX);
	}
	return 0;
}

/* One piece of the configuration; its generation, or an error. */
static int vcrq_read_piece(struct vcrq_device *device, u32 offset, u32 length,
			   u8 *into, u32 *generation)
{
	u8 buffer[sizeof(struct vcrq_config) + VCRQ_CONFIG_PIECE];
	const struct vcrq_config *answer = (const void *)buffer;
	struct vcrq_get_config ask = {
		.offset = cpu_to_le32(offset),
		.length = cpu_to_le32(length),
	};
	int error;

	error = vcrq_ask_device(device, VCRQ_GET_CONFIG, &ask, sizeof(ask),
				buffer, sizeof(*answer) + length);
	if (error)
		return error;
	if (answer->offset != ask.offset || answer->length != ask.length) {
		vcrq_count(device->adapter, VCRQ_RULE_CONFIG_ANSWER,
			   le32_to_cpu(answer->offset),
			   le32_to_cpu(answer->length));
		return -EPROTO;
	}
	memcpy(into, buffer + sizeof(*answer), length);
	*generation = le32_to_cpu(answer->generation);
	return 0;
}

/*
 * device->config_lock is held.  Shows the driver a new configuration; whether
 * it differs from the one before.
 */
static int vcrq_show_config(struct vcrq_device *device, u8 *fresh)
{
	vcrq_limit_config(device, fresh);
	if (!memcmp(device->config, fresh, device->config_bytes))
		return 0;
	memcpy(device->config, fresh, device->config_bytes);
	device->generation++;
	return 1;
}

/*
 * Process context.  All pieces have to carry one generation (CRQ-F-26).  1 when
 * the driver is to be told that something changed, 0 when not, or an error.
 */
int vcrq_read_config(struct vcrq_device *device)
{
	u32 at, length, generation = 0, first = 0;
	unsigned long flags;
	int tries, error = 0;
	u8 *fresh;

	if (!device->config_bytes)
		return 0;
	/* Under device->setup, for which the session's work may wait. */
	fresh = kmalloc(device->config_bytes, GFP_NOIO);
	if (!fresh)
		return -ENOMEM;
	for (tries = 0; tries < VCRQ_GENERATION_TRIES; tries++) {
		for (at = 0; at < device->config_bytes; at += length) {
			length = min_t(u32, VCRQ_CONFIG_PIECE,
				       device->config_bytes - at);
			error = vcrq_read_piece(device, at, length, fresh + at,
						&generation);
			if (error)
				goto out;
			if (!at)
				first = generation;
			else if (generation != first)
				break;
		}
		if (generation == first)
			break;
	}
	if (generation != first) {
		vcrq_count(device->adapter, VCRQ_RULE_CONFIG_GENERATION, first,
			   generation);
		error = -EPROTO;
		goto out;
	}
	spin_lock_irqsave(&device->config_lock, flags);
	error = vcrq_show_config(device, fresh);
	spin_unlock_irqrestore(&device->config_lock, flags);
out:
	kfree(fresh);
	return error;
}

static int vcrq_read_info(struct vcrq_device *device)
{
	struct vcrq_device_info info;
	u32 queues;
	int error;

	error = vcrq_ask_device(device, VCRQ_GET_DEVICE_INFO, NULL, 0, &info,
				sizeof(info));
	if (error)
		return error;
	queues = le32_to_cpu(info.max_virtqueues);
	if (queues > VCRQ_QUEUES_MAX) {
		vcrq_count(device->adapter, VCRQ_RULE_QUEUE_COUNT,
			   device->number, queues);
		return -EPROTO;
	}
	device->device_id = le32_to_cpu(info.device_id);
	device->vdev.id.device = device->device_id;
	device->vdev.id.vendor = le32_to_cpu(info.vendor_id);
	device->queue_max = queues;
	/* What lies beyond is not shown; no device type is that long. */
	device->config_bytes = min_t(u32, le32_to_cpu(info.config_size),
				     VCRQ_CONFIG_MAX);
	return vcrq_ask_device(device, VCRQ_GET_IDENTITY, NULL, 0,
			       device->identity, sizeof(device->identity));
}

/* Process context, before the virtio device is registered; repeated after a loss. */
int vcrq_describe(struct vcrq_device *device)
{
	int error;

	error = vcrq_read_info(device);
	if (!error)
		error = vcrq_read_features(device);
	if (error)
		return error;
	kfree(device->queue_sizes);
	kfree(device->queues);
	kfree(device->config);
	device->queue_sizes = kcalloc(device->queue_max + 1, sizeof(u16),
				      GFP_KERNEL);
	device->queues = kcalloc(device->queue_max + 1,
				 sizeof(*device->queues), GFP_KERNEL);
	device->config = kzalloc(device->config_bytes + 1, GFP_KERNEL);
	if (!device->queue_sizes || !device->queues || !device->config)
		return -ENOMEM;
	error = vcrq_read_queues(device);
	if (!error)
		error = vcrq_read_config(device);
	if (error < 0)
		return error;
	vcrq_limit_device(device);
	vcrq_limit_config(device, device->config);
	return 0;
}
