// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that stays mapped: what drivers map is copied through it, and a
 * request needs no TCE call.
 *
 * The server can reach the pool at any time, and nothing else of a driver's
 * (CRQ-F-90).  A short buffer gets grains of a piece.  One that is longer than
 * pool_bytes, or comes when no piece has room, is mapped as if there were no
 * pool: the calls for a long buffer cost less than its copy would.  Which
 * buffers come here is mapping.c's decision.
 */
#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/slab.h>

#include "virtio_crq.h"

/* Eight IOMMU pages: what needs more than 15 has a fourth of the window only. */
#define VCRQ_PIECE_BYTES	SZ_32K
#define VCRQ_GRAIN_BYTES	512
#define VCRQ_GRAINS		(VCRQ_PIECE_BYTES / VCRQ_GRAIN_BYTES)
#define VCRQ_PAGE_GRAINS	(VCRQ_IOMMU_PAGE / VCRQ_GRAIN_BYTES)

struct vcrq_piece {
	DECLARE_BITMAP(busy, VCRQ_GRAINS);
	void *memory;		/* NULL: not mapped */
	dma_addr_t dma;
	void *original[VCRQ_GRAINS];	/* what of a buffer each grain stands for */
};

struct vcrq_pool {
	spinlock_t lock;	/* any context, innermost: the pieces, the counts */
	unsigned int count;
	unsigned int hint;	/* the piece that had room last */
	u64 copies;		/* by the processor, in and out */
	u64 bytes;
	u64 passed;		/* buffers that the platform mapped instead */
	struct xarray pages;	/* the piece of each I/O page */
	struct vcrq_piece pieces[];
};

/* A buffer's place. */
struct vcrq_place {
	struct vcrq_piece *piece;
	unsigned int first;
	unsigned int grains;
};

static void *vcrq_memory(const struct vcrq_place *place)
{
	return place->piece->memory + place->first * VCRQ_GRAIN_BYTES;
}

/* Any context.  Grains that lie together in one piece; false: there are none. */
static bool vcrq_take_place(struct vcrq_pool *pool, void *original, size_t size,
			    struct vcrq_place *place)
{
	unsigned int grains = DIV_ROUND_UP(size, VCRQ_GRAIN_BYTES);
	/* What is as long as a page lies in as few of them as it can. */
	unsigned long align = grains < VCRQ_PAGE_GRAINS ? 0 : VCRQ_PAGE_GRAINS - 1;
	struct vcrq_piece *piece;
	unsigned int tried, index;
	unsigned long flags, at;
	unsigned int grain;

	spin_lock_irqsave(&pool->lock, flags);
	for (tried = 0; grains <= VCRQ_GRAINS && tried < pool->count; tried++) {
		index = (pool->hint + tried) % pool->count;
		piece = &pool->pieces[index];
		at = bitmap_find_next_zero_area(piece->busy, VCRQ_GRAINS, 0,
						grains, align);
		if (at >= VCRQ_GRAINS)
			continue;
		bitmap_set(piece->busy, at, grains);
		for (grain = 0; grain < grains; grain++)
			piece->original[at + grain] =
				original + grain * VCRQ_GRAIN_BYTES;
		pool->hint = index;
		pool->copies++;
		pool->bytes += size;
		spin_unlock_irqrestore(&pool->lock, flags);
		*place = (struct vcrq_place) { piece, at, grains };
		return true;
	}
	pool->passed++;
	spin_unlock_irqrestore(&pool->lock, flags);
	return false;
}

/* Any context.  Where a mapped buffer lies; false: the platform mapped it. */
static bool vcrq_find_place(struct vcrq_pool *pool, dma_addr_t dma, size_t size,
			    struct vcrq_place *place)
{
	struct vcrq_piece *piece;

	piece = pool ? xa_load(&pool->pages, dma / VCRQ_IOMMU_PAGE) : NULL;
	if (!piece)
		return false;
	*place = (struct vcrq_place) {
		piece, (dma - piece->dma) / VCRQ_GRAIN_BYTES,
		DIV_ROUND_UP(size, VCRQ_GRAIN_BYTES) };
	return true;
}

static void vcrq_give_place(struct vcrq_pool *pool,
			    const struct vcrq_place *place, size_t copied)
{
	unsigned long flags;

	spin_lock_irqsave(&pool->lock, flags);
	bitmap_clear(place->piece->busy, place->first, place->grains);
	if (copied) {
		pool->copies++;
		pool->bytes += copied;
	}
	spin_unlock_irqrestore(&pool->lock, flags);
}

/*
 * Any context.  Copied in whatever the direction: a device that writes less
 * than the driver believes would otherwise show it what an earlier request left
 * in these grains.
 */
bool vcrq_pool_map(struct vcrq_pool *pool, void *original, size_t size,
		   dma_addr_t *dma)
{
	struct vcrq_place place;

	if (!pool || !size || !vcrq_take_place(pool, original, size, &place))
		return false;
	memcpy(vcrq_memory(&place), original, size);
	*dma = place.piece->dma + place.first * VCRQ_GRAIN_BYTES;
	return true;
}

/* Any context.  False: it is the platform's to unmap. */
bool vcrq_pool_unmap(struct vcrq_pool *pool, dma_addr_t dma, size_t size,
		     enum dma_data_direction direction)
{
	struct vcrq_place place;
	size_t copied = direction == DMA_TO_DEVICE ? 0 : size;

	if (!vcrq_find_place(pool, dma, size, &place))
		return false;
	if (copied)
		memcpy(place.piece->original[place.first], vcrq_memory(&place),
		       copied);
	vcrq_give_place(pool, &place, copied);
	return true;
}

/*
 * Any context, for drivers that keep buffers mapped and say when they look at
 * them, at a part of one or all of it.  False: the buffer is not in the pool.
 */
bool vcrq_pool_sync(struct vcrq_pool *pool, dma_addr_t dma, size_t size,
		    bool for_device)
{
	struct vcrq_place place;
	void *original, *memory;
	unsigned int offset;

	if (!vcrq_find_place(pool, dma, size, &place))
		return false;
	offset = (dma - place.piece->dma) % VCRQ_GRAIN_BYTES;
	memory = vcrq_memory(&place) + offset;
	original = place.piece->original[place.first] + offset;
	if (for_device)
		memcpy(memory, original, size);
	else
		memcpy(original, memory, size);
	return true;
}

bool vcrq_pool_has(struct vcrq_pool *pool, dma_addr_t dma)
{
	return pool && xa_load(&pool->pages, dma / VCRQ_IOMMU_PAGE);
}

/* Process context. */
static int vcrq_map_piece(struct vcrq_adapter *adapter, struct vcrq_pool *pool,
			  struct vcrq_piece *piece)
{
	struct device *dev = vcrq_dev(adapter);
	void *memory = kzalloc(VCRQ_PIECE_BYTES, GFP_KERNEL);
	unsigned int at;
	int error = 0;

	if (!memory)
		return -ENOMEM;
	piece->dma = dma_map_single(dev, memory, VCRQ_PIECE_BYTES,
				    DMA_BIDIRECTIONAL);
	if (dma_mapping_error(dev, piece->dma)) {
		kfree(memory);
		return -ENOMEM;
	}
	piece->memory = memory;
	for (at = 0; at < VCRQ_PIECE_BYTES && !error; at += VCRQ_IOMMU_PAGE)
		error = xa_err(xa_store(&pool->pages,
					(piece->dma + at) / VCRQ_IOMMU_PAGE,
					piece, GFP_KERNEL));
	return error;
}

static void vcrq_empty_pool(struct vcrq_adapter *adapter,
			    struct vcrq_pool *pool)
{
	struct vcrq_piece *piece;

	for (piece = pool->pieces; piece < pool->pieces + pool->count; piece++) {
		if (!piece->memory)
			continue;
		dma_unmap_single(vcrq_dev(adapter), piece->dma,
				 VCRQ_PIECE_BYTES, DMA_BIDIRECTIONAL);
		kfree(piece->memory);
	}
	xa_destroy(&pool->pages);
	kvfree(pool);
}

/*
 * Process context, probe, before any device is there.  A narrow window keeps
 * its room for what is mapped by itself; without memory there is no pool.
 */
void vcrq_make_pool(struct vcrq_adapter *adapter)
{
	u64 bytes = (u64)vcrq_pool_kib * SZ_1K;
	unsigned int count = bytes / VCRQ_PIECE_BYTES, index;
	struct vcrq_pool *pool;
	int error = 0;

	if (!count || bytes > adapter->window / VCRQ_POOL_SHARE)
		return;
	pool = kvzalloc(struct_size(pool, pieces, count), GFP_KERNEL);
	if (!pool)
		return;
	spin_lock_init(&pool->lock);
	xa_init(&pool->pages);
	pool->count = count;
	for (index = 0; index < count && !error; index++)
		error = vcrq_map_piece(adapter, pool, &pool->pieces[index]);
	if (error) {
		vcrq_empty_pool(adapter, pool);
		return;
	}
	adapter->window_left -= (u64)count * VCRQ_PIECE_BYTES;
	adapter->pool = pool;
}

/* Process context, no device is left, and the CRQ is free. */
void vcrq_free_pool(struct vcrq_adapter *adapter)
{
	struct vcrq_pool *pool = adapter->pool;

	if (!pool)
		return;
	adapter->pool = NULL;
	vcrq_empty_pool(adapter, pool);
}

/* Process context: what the pool saved, and what it cost. */
static ssize_t pool_show(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	struct vcrq_adapter *adapter = dev_get_drvdata(dev);
	struct vcrq_pool *pool = adapter ? adapter->pool : NULL;
	u64 copies, bytes, passed;

	if (!pool)
		return sysfs_emit(buf, "none\n");
	spin_lock_irq(&pool->lock);
	copies = pool->copies;
	bytes = pool->bytes;
	passed = pool->passed;
	spin_unlock_irq(&pool->lock);
	return sysfs_emit(buf, "size %u\ncopies %llu\nbytes %llu\npassed %llu\n",
			  pool->count * VCRQ_PIECE_BYTES, copies, bytes, passed);
}
DEVICE_ATTR_RO(pool);
