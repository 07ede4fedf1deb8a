// SPDX-License-Identifier: GPL-2.0-only
/*
 * Making and unmaking queues: memory, the virtio core's half, SET_VQUEUE.
 */
#include <linux/dma-mapping.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <uapi/linux/virtio_ring.h>

#include "virtio_crq.h"

#define VCRQ_ALIGN	64	/* of the used ring in the driver's half */

static size_t vcrq_avail_bytes(u16 size)
{
	return ALIGN(6 + 2 * size, VCRQ_ALIGN);
}

static size_t vcrq_used_bytes(u16 size)
{
	return 6 + 8 * size;
}

/*
 * Process context.  The driver's table is mapped for reading as long as the
 * queue lives.  I/O is coherent on this platform (the hypervisor copies), so
 * that no sync is due.
 */
static int vcrq_show_descriptors(struct vcrq_queue *queue)
{
	struct vcrq_adapter *adapter = queue->device->adapter;

	queue->desc_dma = vcrq_map_lasting(adapter, queue->pages,
					   sizeof(struct vring_desc) * queue->size);
	if (!dma_mapping_error(vcrq_dev(adapter), queue->desc_dma))
		return 0;
	queue->desc_dma = 0;
	return -ENOMEM;
}

/* Process context. */
static int vcrq_alloc_rings(struct vcrq_queue *queue)
{
	struct device *dev = vcrq_dev(queue->device->adapter);

	queue->pages_bytes = vring_size(queue->size, VCRQ_ALIGN);
	queue->pages = alloc_pages_exact(queue->pages_bytes,
					 GFP_KERNEL | __GFP_ZERO);
	if (!queue->pages)
		return -ENOMEM;
	vring_init(&queue->ring, queue->size, queue->pages, VCRQ_ALIGN);
	if (!queue->push && vcrq_show_descriptors(queue))
		return -ENOMEM;
	queue->shared_bytes = queue->push ? vcrq_push_bytes(queue->size) :
		vcrq_avail_bytes(queue->size) + vcrq_used_bytes(queue->size);
	queue->shared = dma_alloc_coherent(dev, queue->shared_bytes,
					   &queue->shared_dma, GFP_KERNEL);
	if (!queue->shared)
		return -ENOMEM;
	if (queue->push) {
		vcrq_push_layout(queue);
		queue->pushed = kvcalloc(queue->size, sizeof(*queue->pushed),
					 GFP_KERNEL);
		if (!queue->pushed)
			return -ENOMEM;
	} else {
		queue->avail = queue->shared;
		queue->used = queue->shared + vcrq_avail_bytes(queue->size);
	}
	queue->heads = kcalloc(queue->size, sizeof(*queue->heads), GFP_KERNEL);
	queue->order = kcalloc(queue->size, sizeof(*queue->order), GFP_KERNEL);
	return queue->heads && queue->order ? 0 : -ENOMEM;
}

/* Process context, nobody finds the queue any more. */
static void vcrq_free_rings(struct vcrq_queue *queue)
{
	struct device *dev = vcrq_dev(queue->device->adapter);

	if (queue->desc_dma)
		dma_unmap_single(dev, queue->desc_dma,
				 sizeof(struct vring_desc) * queue->size,
				 DMA_TO_DEVICE);
	if (queue->shared)
		dma_free_coherent(dev, queue->shared_bytes, queue->shared,
				  queue->shared_dma);
	if (queue->pages)
		free_pages_exact(queue->pages, queue->pages_bytes);
	kvfree(queue->pushed);
	kfree(queue->order);
	kfree(queue->heads);
	kfree(queue);
}

/* Process context: the ring has room for one more queue's entries (CRQ-F-18). */
static int vcrq_take_credits(struct vcrq_adapter *adapter)
{
	unsigned long flags;
	int error = -ENOSPC;
	unsigned int room;

	spin_lock_irqsave(&adapter->lock, flags);
	room = adapter->ring_entries - VCRQ_RING_SPARE;
	if (room >= 2 * (adapter->queue_count + 1) + adapter->device_count) {
		adapter->queue_count++;
		error = 0;
	}
	spin_unlock_irqrestore(&adapter->lock, flags);
	if (error)
		dev_err(vcrq_dev(adapter), "%u queues fill the CRQ\n",
			adapter->queue_count);
	return error;
}

static void vcrq_give_credits(struct vcrq_adapter *adapter)
{
	unsigned long flags;

	spin_lock_irqsave(&adapter->lock, flags);
	adapter->queue_count--;
	spin_unlock_irqrestore(&adapter->lock, flags);
}

/* Where the device finds the queue's three parts. */
static void vcrq_areas(const struct vcrq_queue *queue, __le64 areas[3])
{
	dma_addr_t shared = queue->shared_dma;

	if (queue->push) {
		areas[0] = cpu_to_le64(shared);
		areas[1] = 0;
		areas[2] = cpu_to_le64(vcrq_push_completions(queue));
	} else {
		areas[0] = cpu_to_le64(queue->desc_dma);
		areas[1] = cpu_to_le64(shared);
		areas[2] = cpu_to_le64(shared + vcrq_avail_bytes(queue->size));
	}
}

/* Process context, device->setup is held. */
int vcrq_enable_queue(struct vcrq_queue *queue)
{
	struct vcrq_set_vqueue ask = {
		.index = cpu_to_le32(queue->index),
		.size = cpu_to_le32(queue->size),
	};
	__le64 areas[3];
	int error;

	vcrq_areas(queue, areas);
	ask.descriptors = areas[0];
	ask.driver_area = areas[1];
	ask.device_area = areas[2];
	error = vcrq_ask_device(queue->device, VCRQ_SET_VQUEUE, &ask,
				sizeof(ask), NULL, 0);
	if (!error)
		queue->enabled = true;
	return error;
}

/* Process context, device->setup is held: where RESUME_VQUEUE says the queue is. */
void vcrq_queue_place(struct vcrq_queue *queue, struct vcrq_resume_vqueue *ask)
{
	__le64 areas[3];

	ask->index = cpu_to_le32(queue->index);
	ask->size = cpu_to_le32(queue->size);
	vcrq_areas(queue, areas);
	ask->descriptors = areas[0];
	ask->driver_area = areas[1];
	ask->device_area = areas[2];
}

/* Process context, device->setup is held. */
static struct vcrq_queue *vcrq_make_queue(struct vcrq_device *device, u16 index,
					  const struct virtqueue_info *info)
{
	struct vcrq_queue *queue;
	int error = -ENOMEM;

	if (index >= device->queue_max) {
		vcrq_count(device->adapter, VCRQ_RULE_QUEUE_MISSING,
			   device->number, index);
		return ERR_PTR(-ENOENT);
	}
	queue = kzalloc(sizeof(*queue), GFP_KERNEL);
	if (!queue)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&queue->lock);
	queue->device = device;
	queue->index = index;
	queue->size = device->queue_sizes[index];
	queue->event_idx = virtio_has_feature(&device->vdev,
					      VIRTIO_RING_F_EVENT_IDX);
	queue->polled = vcrq_polls(device, index);
	queue->push = device->adapter->push;
	if (vcrq_alloc_rings(queue))
		goto free;
	error = vcrq_take_credits(device->adapter);
	if (error)
		goto free;
	queue->vq = vring_new_virtqueue(index, queue->size, VCRQ_ALIGN,
					&device->vdev, true, info->ctx,
					queue->pages, vcrq_notify,
					info->callback, info->name);
	if (!queue->vq) {
		error = -ENOMEM;
		goto credits;
	}
	queue->vq->priv = queue;
	queue->vq->num_max = queue->size;
	error = vcrq_enable_queue(queue);
	if (error)
		goto delete;
	WRITE_ONCE(device->queues[index], queue);
	return queue;

delete:
	vring_del_virtqueue(queue->vq);
credits:
	vcrq_give_credits(device->adapter);
free:
	vcrq_free_rings(queue);
	return ERR_PTR(error);
}

/*
 * Process context, device->setup is held.  The device was reset, or knows of
 * no session in which it could reach the memory (CRQ-F-21).
 */
static void vcrq_delete_queues(struct vcrq_device *device)
{
	struct vcrq_queue *queue;
	u16 index;

	for (index = 0; index < device->queue_max; index++) {
		queue = device->queues[index];
		if (!queue)
			continue;
		WRITE_ONCE(device->queues[index], NULL);
		/* Every look at a queue happens with interrupts off. */
		synchronize_rcu();
		vring_del_virtqueue(queue->vq);
		vcrq_give_credits(device->adapter);
		vcrq_free_rings(queue);
	}
}

/* Process context, device->setup is held: after a reset. */
void vcrq_forget_queues(struct vcrq_device *device)
{
	u16 index;

	for (index = 0; index < device->queue_max; index++)
		if (device->queues[index])
			vcrq_queue_reset(device->queues[index]);
}

/* Process context. */
void vcrq_del_vqs(struct virtio_device *vdev)
{
	struct vcrq_device *device = to_vcrq(vdev);

	mutex_lock(&device->setup);
	vcrq_delete_queues(device);
	mutex_unlock(&device->setup);
}

/* Process context. */
int vcrq_find_vqs_by_info(struct virtio_device *vdev, unsigned int nvqs,
			  struct virtqueue *vqs[],
			  struct virtqueue_info vqs_info[],
			  struct irq_affinity *affinity)
{
	struct vcrq_device *device = to_vcrq(vdev);
	struct vcrq_queue *queue;
	unsigned int at, noio;
	u16 index = 0;
	int error = 0;

	mutex_lock(&device->setup);
	/* The session's work waits for this lock, and reclaim for that work. */
	noio = memalloc_noio_save();
	for (at = 0; at < nvqs && !error; at++) {
		vqs[at] = NULL;
		if (!vqs_info[at].name)
			continue;
		queue = vcrq_make_queue(device, index++, &vqs_info[at]);
		if (IS_ERR(queue))
			error = PTR_ERR(queue);
		else
			vqs[at] = queue->vq;
	}
	if (error) {
		vcrq_delete_queues(device);
		set_bit(VCRQ_DEV_NEEDS_DRIVER, &device->flags);
	}
	memalloc_noio_restore(noio);
	mutex_unlock(&device->setup);
	return error;
}
