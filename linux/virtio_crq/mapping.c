// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a driver's buffer gets an I/O address: through the pool (pool.c), lent by
 * announcement (lend.c), or by the platform's own DMA operations.
 *
 * Drivers are not asked.  Up to Linux 6.17 the virtio core maps through the
 * adapter's dma_map_ops, and those are wrapped; since then a transport may have
 * operations of its own, virtio_map_ops.
 */
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>

#include "virtio_crq.h"

/*
 * Any context.  False: the platform is to map it.  Of pushed requests the short
 * buffers travel in records, and their addresses only say where they are.
 */
static bool vcrq_map_own(struct vcrq_adapter *adapter, void *memory,
			 size_t size, enum dma_data_direction direction,
			 dma_addr_t *dma)
{
	bool carried = READ_ONCE(adapter->push) && size <= VCRQ_INLINED_MOST;

	if (carried &&
	    vcrq_lend_map(adapter, memory, size, direction, true, dma))
		return true;
	if (size <= vcrq_pool_bytes &&
	    vcrq_pool_map(adapter->pool, memory, size, dma))
		return true;
	return vcrq_lend_map(adapter, memory, size, direction, false, dma);
}

/* Any context.  False: the platform mapped it. */
static bool vcrq_unmap_own(struct vcrq_adapter *adapter, dma_addr_t dma,
			   size_t size, enum dma_data_direction direction)
{
	return vcrq_lend_unmap(adapter, dma) ||
	       vcrq_pool_unmap(adapter->pool, dma, size, direction);
}

#ifdef VCRQ_VIRTIO_MAP_OPS

static struct vcrq_adapter *vcrq_of(union virtio_map map)
{
	return dev_get_drvdata(map.dma_dev);
}

static dma_addr_t vcrq_map_page(union virtio_map map, struct page *page,
				unsigned long offset, size_t size,
				enum dma_data_direction direction,
				unsigned long attrs)
{
	dma_addr_t dma;

	if (vcrq_map_own(vcrq_of(map), page_address(page) + offset, size,
			 direction, &dma))
		return dma;
	return dma_map_page_attrs(map.dma_dev, page, offset, size, direction,
				  attrs);
}

static void vcrq_unmap_page(union virtio_map map, dma_addr_t dma, size_t size,
			    enum dma_data_direction direction,
			    unsigned long attrs)
{
	if (!vcrq_unmap_own(vcrq_of(map), dma, size, direction))
		dma_unmap_page_attrs(map.dma_dev, dma, size, direction, attrs);
}

static void vcrq_sync_for_cpu(union virtio_map map, dma_addr_t dma, size_t size,
			      enum dma_data_direction direction)
{
	vcrq_pool_sync(vcrq_of(map)->pool, dma, size, false);
}

static void vcrq_sync_for_device(union virtio_map map, dma_addr_t dma,
				 size_t size, enum dma_data_direction direction)
{
	vcrq_pool_sync(vcrq_of(map)->pool, dma, size, true);
}

static void *vcrq_alloc_coherent(union virtio_map map, size_t size,
				 dma_addr_t *dma, gfp_t gfp)
{
	return dma_alloc_coherent(map.dma_dev, size, dma, gfp);
}

static void vcrq_free_coherent(union virtio_map map, size_t size, void *memory,
			       dma_addr_t dma, unsigned long attrs)
{
	dma_free_attrs(map.dma_dev, size, memory, dma, attrs);
}

static bool vcrq_need_sync(union virtio_map map, dma_addr_t dma)
{
	return vcrq_pool_has(vcrq_of(map)->pool, dma);
}

static int vcrq_mapping_error(union virtio_map map, dma_addr_t dma)
{
	return dma_mapping_error(map.dma_dev, dma);
}

static size_t vcrq_max_mapping_size(union virtio_map map)
{
	return dma_max_mapping_size(map.dma_dev);
}

static const struct virtio_map_ops vcrq_map_ops = {
	.map_page = vcrq_map_page,
	.unmap_page = vcrq_unmap_page,
	.sync_single_for_cpu = vcrq_sync_for_cpu,
	.sync_single_for_device = vcrq_sync_for_device,
	.alloc = vcrq_alloc_coherent,
	.free = vcrq_free_coherent,
	.need_sync = vcrq_need_sync,
	.mapping_error = vcrq_mapping_error,
	.max_mapping_size = vcrq_max_mapping_size,
};

/* Process context, before the virtio device is registered. */
void vcrq_serve_mapping(struct vcrq_device *device)
{
	if (!device->adapter->pool && !device->adapter->loans)
		return;
	device->vdev.map = &vcrq_map_ops;
	device->vdev.vmap.dma_dev = vcrq_dev(device->adapter);
}

void vcrq_wrap_mapping(struct vcrq_adapter *adapter)
{
}

void vcrq_unwrap_mapping(struct vcrq_adapter *adapter)
{
}

/* Process context: memory that is shown to the device itself, not a copy of it. */
dma_addr_t vcrq_map_lasting(struct vcrq_adapter *adapter, void *memory,
			    size_t size)
{
	return dma_map_single(vcrq_dev(adapter), memory, size, DMA_TO_DEVICE);
}

#else

static dma_addr_t vcrq_map_page(struct device *dev, struct page *page,
				unsigned long offset, size_t size,
				enum dma_data_direction direction,
				unsigned long attrs)
{
	struct vcrq_adapter *adapter = dev_get_drvdata(dev);
	dma_addr_t dma;

	if (vcrq_map_own(adapter, page_address(page) + offset, size, direction,
			 &dma))
		return dma;
	return adapter->platform_ops->map_page(dev, page, offset, size,
					       direction, attrs);
}

static void vcrq_unmap_page(struct device *dev, dma_addr_t dma, size_t size,
			    enum dma_data_direction direction,
			    unsigned long attrs)
{
	struct vcrq_adapter *adapter = dev_get_drvdata(dev);

	if (!vcrq_unmap_own(adapter, dma, size, direction))
		adapter->platform_ops->unmap_page(dev, dma, size, direction,
						  attrs);
}

void vcrq_serve_mapping(struct vcrq_device *device)
{
}

/* Process context, before any device is there: only these two entries become ours. */
void vcrq_wrap_mapping(struct vcrq_adapter *adapter)
{
	if (!adapter->pool && !adapter->loans)
		return;
	adapter->platform_ops = get_dma_ops(vcrq_dev(adapter));
	adapter->own_ops = *adapter->platform_ops;
	adapter->own_ops.map_page = vcrq_map_page;
	adapter->own_ops.unmap_page = vcrq_unmap_page;
	set_dma_ops(vcrq_dev(adapter), &adapter->own_ops);
}

/* Process context, no device is left. */
void vcrq_unwrap_mapping(struct vcrq_adapter *adapter)
{
	if (adapter->platform_ops)
		set_dma_ops(vcrq_dev(adapter), adapter->platform_ops);
}

dma_addr_t vcrq_map_lasting(struct vcrq_adapter *adapter, void *memory,
			    size_t size)
{
	struct device *dev = vcrq_dev(adapter);

	if (!adapter->platform_ops)
		return dma_map_single(dev, memory, size, DMA_TO_DEVICE);
	return adapter->platform_ops->map_page(dev, virt_to_page(memory),
					       offset_in_page(memory), size,
					       DMA_TO_DEVICE, 0);
}

#endif /* VCRQ_VIRTIO_MAP_OPS */
