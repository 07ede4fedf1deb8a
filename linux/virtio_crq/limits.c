// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the window has room for.
 *
 * A map that fails is back-pressure: the virtio core returns -ENOMEM and
 * virtio_blk asks again later.  But a queue that is full should map, so queue
 * sizes, and the limits that a block device's configuration shows, are derived
 * from the window before a driver sees them:
 *
 * Each descriptor of a ring names one buffer, and a driver's buffer is at most
 * SIZE_MAX long where the device offers that.  Without INDIRECT_DESC a full
 * ring of N descriptors therefore maps at most N buffers; with it, each of the
 * N may be a table of SEG_MAX + 2.  That is why INDIRECT_DESC is not offered
 * to drivers unless the module's parameter says so: it costs a fourth mapping
 * and a further copy per request, and makes rings that must be short.
 *
 * The IOMMU code keeps a fourth of each table for allocations of more than 15
 * IOMMU pages, and they go nowhere else: what such buffers may take is that
 * fourth.
 */
#include <linux/of.h>
#include <uapi/linux/virtio_blk.h>
#include <uapi/linux/virtio_ids.h>

#include "virtio_crq.h"

#define VCRQ_SMALL_PAGES	15
#define VCRQ_QUEUE_SIZE_MIN	16
#define VCRQ_SEGMENTS_MAX	SZ_64K		/* virtio_blk takes half of it */
#define VCRQ_BUFFER_DEFAULT	PAGE_SIZE	/* of types other than block */
#define VCRQ_BUFFER_UNLIMITED	(1280 * SZ_1K)	/* of a disk without SIZE_MAX: a request */

/* Process context, probe: handle and size of the first pane. */
int vcrq_read_window(struct vcrq_adapter *adapter)
{
	struct device_node *node = vcrq_dev(adapter)->of_node;
	u32 address_cells = 2, size_cells = 2, cells[5];
	int length;

	of_property_read_u32(node, "ibm,#dma-address-cells", &address_cells);
	of_property_read_u32(node, "ibm,#dma-size-cells", &size_cells);
	length = 1 + address_cells + size_cells;
	if (address_cells < 1 || address_cells > 2 || size_cells < 1 ||
	    size_cells > 2 ||
	    of_property_read_u32_array(node, "ibm,my-dma-window", cells,
				       length)) {
		dev_err(vcrq_dev(adapter), "no ibm,my-dma-window\n");
		return -EINVAL;
	}
	adapter->liobn = cells[0];
	adapter->window = cells[length - 1];
	if (size_cells == 2)
		adapter->window |= (u64)cells[length - 2] << 32;
	/* The announced addresses of bodies have 32 bits. */
	adapter->window = min_t(u64, adapter->window, 1ULL << 32);
	adapter->window_left = adapter->window;
	return 0;
}

/* Bytes of I/O address space that one buffer of this length may take. */
static u64 vcrq_footprint(u64 length)
{
	return ALIGN(length, VCRQ_IOMMU_PAGE) + VCRQ_IOMMU_PAGE;
}

/* Bytes that a full ring of `size` may map. */
static u64 vcrq_ring_footprint(u64 size, u64 buffer, u32 segments,
			       bool indirect)
{
	u64 buffers = indirect ? size * ((u64)segments + 3) : size;

	return buffers * vcrq_footprint(buffer) +
	       2 * ALIGN(48 * size, PAGE_SIZE);
}

/* The device's own number of segments, and its longest buffer. */
static void vcrq_device_limits(struct vcrq_device *device, u32 *segments,
			       u64 *buffer)
{
	const struct virtio_blk_config *config = (const void *)device->config;

	*segments = 1;
	*buffer = VCRQ_BUFFER_DEFAULT;
	if (device->device_id != VIRTIO_ID_BLOCK ||
	    device->config_bytes < offsetofend(typeof(*config), seg_max))
		return;
	*buffer = VCRQ_BUFFER_UNLIMITED;
	if (device->offered[0] & BIT_ULL(VIRTIO_BLK_F_SIZE_MAX))
		*buffer = le32_to_cpu((__force __le32)config->size_max);
	if (device->offered[0] & BIT_ULL(VIRTIO_BLK_F_SEG_MAX))
		*segments = min_t(u32, VCRQ_SEGMENTS_MAX,
				  le32_to_cpu((__force __le32)config->seg_max));
}

/*
 * Process context, before the virtio device is registered.  A queue gets at
 * most half of what is left, so that a device added later gets some, too.
 */
void vcrq_limit_device(struct vcrq_device *device)
{
	struct vcrq_adapter *adapter = device->adapter;
	bool indirect = device->offered[0] & BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC);
	unsigned long flags;
	u32 segments, size;
	u64 buffer, need, part;
	u16 index, smallest = VCRQ_QUEUE_SIZE_MAX;

	vcrq_device_limits(device, &segments, &buffer);
	part = vcrq_footprint(buffer) > VCRQ_SMALL_PAGES * VCRQ_IOMMU_PAGE ? 4 : 1;
	spin_lock_irqsave(&adapter->lock, flags);
	for (index = 0; index < device->queue_max; index++) {
		size = device->queue_sizes[index];
		need = vcrq_ring_footprint(size, buffer, segments, indirect);
		while (size > VCRQ_QUEUE_SIZE_MIN &&
		       need * part * 2 > adapter->window_left) {
			size /= 2;
			need = vcrq_ring_footprint(size, buffer, segments,
						   indirect);
		}
		need = min(need * part, adapter->window_left);
		adapter->window_left -= need;
		device->window_share += need;
		device->queue_sizes[index] = size;
		smallest = min_t(u16, smallest, size);
	}
	spin_unlock_irqrestore(&adapter->lock, flags);
	if (device->device_id != VIRTIO_ID_BLOCK || !device->queue_max)
		return;
	/* A chain never exceeds its ring: header, status and these. */
	if (!indirect)
		device->seg_limit = max(smallest - 2, 1);
}

/* Process context: gives back what vcrq_limit_device() took. */
void vcrq_release_window(struct vcrq_device *device)
{
	struct vcrq_adapter *adapter = device->adapter;
	unsigned long flags;

	spin_lock_irqsave(&adapter->lock, flags);
	adapter->window_left += device->window_share;
	device->window_share = 0;
	spin_unlock_irqrestore(&adapter->lock, flags);
}

/* Any context: a device's configuration becomes what the driver is to see. */
void vcrq_limit_config(struct vcrq_device *device, u8 *bytes)
{
	struct virtio_blk_config *config = (void *)bytes;
	__le32 *segments;

	if (device->device_id != VIRTIO_ID_BLOCK || !device->seg_limit ||
	    device->config_bytes < offsetofend(typeof(*config), seg_max))
		return;
	segments = (__force __le32 *)&config->seg_max;
	if (le32_to_cpu(*segments) > device->seg_limit)
		*segments = cpu_to_le32(device->seg_limit);
}

/*
 * Bus code, before probe, under CMO: entitlement for the CRQ, the message area,
 * pool, loans and one busy disk.
 */
unsigned long vcrq_desired_dma(struct vio_dev *vio)
{
	return VCRQ_RING_BYTES + VCRQ_SLOTS * VCRQ_SLOT_BYTES +
	       ((u64)vcrq_pool_kib + vcrq_lend_kib) * SZ_1K +
	       vcrq_ring_footprint(256, SZ_64K, 1, false);
}
