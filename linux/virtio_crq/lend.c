// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O addresses that are lent: a buffer within one IOMMU page has its address
 * when its driver maps it, but the page is in the window's table only from the
 * announcement of its request (CRQ-F-98) until its completion was read, before
 * the driver sees that (CRQ-F-99).  So one call enters the pages of many
 * requests, another one takes many back, and no byte is copied.
 *
 * A driver's unmap takes back what still is in the table, whatever became of
 * the request.  It cannot be refused, as the platform's cannot: a page that the
 * platform keeps even so ends the session, and its address is given to nobody
 * before it comes back (entries.c).
 *
 * The addresses are reserved from the platform as one mapping, whose entries
 * are cleared at once.  Buffers that cross a page, or come when no address is
 * free, the platform maps.  They are given in turn, those of buffers that travel
 * in records apart from the others: so the data of requests that are announced
 * together has neighbouring addresses, which one call enters, and one of the
 * server's copies goes on from one request's pages to the next one's.
 */
#include <linux/bitmap.h>
#include <linux/dma-mapping.h>
#include <linux/slab.h>

#include "lend.h"

#define VCRQ_CARRIED_SHARE	3	/* header, data and status: one in three is not carried */
#define VCRQ_READABLE	1UL
#define VCRQ_WRITABLE	2UL

/* Whether an I/O address is one of these; its page's number. */
static bool vcrq_is_lent(const struct vcrq_loans *loans, u64 dma,
			 unsigned int *page)
{
	if (!loans || dma < loans->dma)
		return false;
	dma = (dma - loans->dma) / VCRQ_IOMMU_PAGE;
	*page = dma;
	return dma < loans->count;
}

/* Any context: a request that is about to be announced names this address. */
void vcrq_lend(struct vcrq_device *device, u64 dma)
{
	struct vcrq_loans *loans = device->adapter->loans;
	unsigned long flags;
	unsigned int page;

	if (!vcrq_is_lent(loans, dma, &page))
		return;
	spin_lock_irqsave(&loans->lock, flags);
	if (!loans->loans[page].users++) {
		__clear_bit(page, loans->stale);
		if (__test_and_clear_bit(page, loans->stuck))
			loans->stuck_count--;
		__set_bit(page, loans->due);
		WRITE_ONCE(loans->any_due, true);
		loans->loans[page].device = device;
		loans->entered++;
	}
	spin_unlock_irqrestore(&loans->lock, flags);
}

/* Any context: that request was used; vcrq_lend_recall() is to follow. */
void vcrq_give_back(struct vcrq_device *device, u64 dma)
{
	struct vcrq_loans *loans = device->adapter->loans;
	unsigned long flags;
	unsigned int page;

	if (!vcrq_is_lent(loans, dma, &page))
		return;
	spin_lock_irqsave(&loans->lock, flags);
	if (loans->loans[page].users && !--loans->loans[page].users) {
		__clear_bit(page, loans->due);
		__set_bit(page, loans->stale);
		WRITE_ONCE(loans->any_owed, true);
	}
	spin_unlock_irqrestore(&loans->lock, flags);
}

/* Any context.  Where a lent address leads in own memory, or NULL. */
void *vcrq_lent_memory(struct vcrq_adapter *adapter, u64 dma)
{
	unsigned int page;

	if (!vcrq_is_lent(adapter->loans, dma, &page))
		return NULL;
	return adapter->loans->loans[page].page + dma % VCRQ_IOMMU_PAGE;
}

/*
 * loans->lock is held.  A page without a buffer: the next one from `begin` to
 * before `end`, and another only if these are taken; loans->count: none is free.
 */
static unsigned int vcrq_free_page(struct vcrq_loans *loans, unsigned int begin,
				   unsigned int end, unsigned int *next)
{
	unsigned int page;

	page = find_next_zero_bit(loans->busy, end, max(*next, begin));
	if (page >= end)
		page = find_next_zero_bit(loans->busy, end, begin);
	if (page >= end)
		page = find_first_zero_bit(loans->busy, loans->count);
	*next = page + 1;
	return page;
}

/* loans->lock is held.  The same for a buffer that a record carries, and for others. */
static unsigned int vcrq_choose_page(struct vcrq_adapter *adapter, bool carried)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned int border = loans->count / VCRQ_CARRIED_SHARE;

	if (carried)
		return vcrq_free_page(loans, border, loans->count,
				      &loans->next_carried);
	return vcrq_free_page(loans, 0, READ_ONCE(adapter->push) ? border :
			      loans->count, &loans->next);
}

/* Any context.  False: the platform is to map it. */
bool vcrq_lend_map(struct vcrq_adapter *adapter, void *memory, size_t size,
		   enum dma_data_direction direction, bool carried,
		   dma_addr_t *dma)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned int offset = (unsigned long)memory % VCRQ_IOMMU_PAGE;
	unsigned long flags;
	unsigned int page;

	if (!loans || loans->refused || !size ||
	    offset + size > VCRQ_IOMMU_PAGE)
		return false;
	spin_lock_irqsave(&loans->lock, flags);
	page = vcrq_choose_page(adapter, carried);
	if (page >= loans->count) {
		loans->passed++;
		spin_unlock_irqrestore(&loans->lock, flags);
		return false;
	}
	__set_bit(page, loans->busy);
	loans->loans[page] = (struct vcrq_loan) {
		.page = memory - offset,
		.access = (direction != DMA_FROM_DEVICE ? VCRQ_READABLE : 0) |
			  (direction != DMA_TO_DEVICE ? VCRQ_WRITABLE : 0),
	};
	spin_unlock_irqrestore(&loans->lock, flags);
	*dma = vcrq_lent_address(loans, page) + offset;
	return true;
}

/*
 * loans->lock is held.  The page's entry is taken back, if it is in the table.
 * True: the platform keeps it, and that is news.
 */
static bool vcrq_end_loan(struct vcrq_adapter *adapter, unsigned int page)
{
	struct vcrq_loans *loans = adapter->loans;
	struct vcrq_loan *loan = &loans->loans[page];
	bool known = test_bit(page, loans->stuck);

	if (loan->users) {
		/* Its request was not used: the queue or the device was reset. */
		loan->users = 0;
		__clear_bit(page, loans->due);
		__set_bit(page, loans->stale);
	}
	loan->page = NULL;
	if (known)
		vcrq_try_stuck(adapter, page);
	else if (test_bit(page, loans->stale))
		vcrq_take_back(adapter);
	/* An address that still leads to this buffer is no other's. */
	if (test_bit(page, loans->stuck))
		return !known;
	__clear_bit(page, loans->busy);
	return false;
}

/* Any context.  False: the address was not lent. */
bool vcrq_lend_unmap(struct vcrq_adapter *adapter, dma_addr_t dma)
{
	struct vcrq_loans *loans = adapter->loans;
	unsigned long flags;
	unsigned int page;
	bool kept;

	if (!vcrq_is_lent(loans, dma, &page))
		return false;
	spin_lock_irqsave(&loans->lock, flags);
	kept = vcrq_end_loan(adapter, page);
	spin_unlock_irqrestore(&loans->lock, flags);
	/* The driver takes its buffer whatever we say: the server is to have no way to it. */
	if (kept)
		vcrq_end_session(adapter, VCRQ_RULE_PARTNER_STALLED, page, 0);
	return true;
}

/* Process context: nothing of the window is there, and nobody gets these addresses. */
static int vcrq_reserve(struct vcrq_adapter *adapter, struct vcrq_loans *loans)
{
	size_t bytes = (size_t)loans->count * VCRQ_IOMMU_PAGE;
	void *memory = alloc_pages_exact(bytes, GFP_KERNEL | __GFP_ZERO |
						__GFP_NOWARN);
	bool cleared;

	if (!memory)
		return -ENOMEM;
	loans->dma = dma_map_single(vcrq_dev(adapter), memory, bytes,
				    DMA_TO_DEVICE);
	if (dma_mapping_error(vcrq_dev(adapter), loans->dma)) {
		free_pages_exact(memory, bytes);
		return -ENOMEM;
	}
	adapter->loans = loans;
	bitmap_fill(loans->stale, loans->count);
	spin_lock_irq(&loans->lock);
	vcrq_take_back(adapter);
	cleared = !loans->stuck_count;
	spin_unlock_irq(&loans->lock);
	if (!cleared) {
		adapter->loans = NULL;
		dma_unmap_single(vcrq_dev(adapter), loans->dma, bytes,
				 DMA_TO_DEVICE);
	}
	loans->calls = 0;
	free_pages_exact(memory, bytes);
	return cleared ? 0 : -EIO;
}

static void vcrq_drop_loans(struct vcrq_loans *loans)
{
	bitmap_free(loans->busy);
	bitmap_free(loans->due);
	bitmap_free(loans->stale);
	bitmap_free(loans->stuck);
	free_page((unsigned long)loans->list);
	kvfree(loans);
}

/*
 * Process context, probe, before any device is there.  An indirect table's
 * buffers are not seen, and so not lent.
 */
void vcrq_make_loans(struct vcrq_adapter *adapter)
{
	u64 bytes = (u64)vcrq_lend_kib * SZ_1K;
	unsigned int count = bytes / VCRQ_IOMMU_PAGE;
	struct vcrq_loans *loans;
	int error = -ENOMEM;

	if (!count || vcrq_indirect || bytes > adapter->window / VCRQ_POOL_SHARE)
		return;
	loans = kvzalloc(struct_size(loans, loans, count), GFP_KERNEL);
	if (!loans)
		return;
	spin_lock_init(&loans->lock);
	loans->count = count;
	loans->busy = bitmap_zalloc(count, GFP_KERNEL);
	loans->due = bitmap_zalloc(count, GFP_KERNEL);
	loans->stale = bitmap_zalloc(count, GFP_KERNEL);
	loans->stuck = bitmap_zalloc(count, GFP_KERNEL);
	loans->list = (__be64 *)get_zeroed_page(GFP_KERNEL);
	if (loans->busy && loans->due && loans->stale && loans->stuck &&
	    loans->list)
		error = vcrq_reserve(adapter, loans);
	if (error) {
		/* The platform maps everything, as it did before there were loans. */
		vcrq_drop_loans(loans);
		return;
	}
	adapter->window_left -= bytes;
}

/* Process context, no device is left, and the platform's operations are back. */
void vcrq_free_loans(struct vcrq_adapter *adapter)
{
	struct vcrq_loans *loans = adapter->loans;

	if (!loans)
		return;
	adapter->loans = NULL;
	dma_unmap_single(vcrq_dev(adapter), loans->dma,
			 (size_t)loans->count * VCRQ_IOMMU_PAGE, DMA_TO_DEVICE);
	vcrq_drop_loans(loans);
}

/* Process context: how many pages were entered, by how many calls, both ways; which do not come back. */
static ssize_t loans_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct vcrq_adapter *adapter = dev_get_drvdata(dev);
	struct vcrq_loans *loans = adapter ? adapter->loans : NULL;
	u64 entered, calls, passed;
	unsigned int stuck;

	if (!loans)
		return sysfs_emit(buf, "none\n");
	spin_lock_irq(&loans->lock);
	entered = loans->entered;
	calls = loans->calls;
	passed = loans->passed;
	stuck = loans->stuck_count;
	spin_unlock_irq(&loans->lock);
	return sysfs_emit(buf, "pages %u\nentered %llu\ncalls %llu\npassed %llu\nstuck %u\n",
			  loans->count, entered, calls, passed, stuck);
}
DEVICE_ATTR_RO(loans);
