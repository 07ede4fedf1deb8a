/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of lent addresses share: lend.c, entries.c.
 */
#ifndef VIRTIO_CRQ_LEND_H
#define VIRTIO_CRQ_LEND_H

#include "virtio_crq.h"

#define VCRQ_LIST_MOST	(VCRQ_IOMMU_PAGE / sizeof(__be64))	/* entries in one call */

struct vcrq_loan {
	void *page;		/* an IOMMU page of the driver's; NULL: it has its buffer back */
	const struct vcrq_device *device;	/* whose request named it last; compared only */
	u16 access;
	u16 users;		/* announced requests that name it, or about to be */
};

struct vcrq_loans {
	spinlock_t lock;	/* any context, innermost */
	unsigned int count;	/* pages */
	unsigned int next;	/* where an address is looked for */
	unsigned int next_carried;	/* the same for what records carry */
	dma_addr_t dma;
	unsigned long *busy;	/* has a buffer, or an entry */
	unsigned long *due;	/* to be entered before the next announcement */
	unsigned long *stale;	/* to be taken back before drivers go on */
	unsigned long *stuck;	/* the same, but the platform would not */
	unsigned int stuck_count;
	bool any_due;
	bool any_owed;		/* stale, or stuck */
	bool refused;		/* the platform would not enter a page: no more are lent */
	__be64 *list;
	u64 entered;		/* pages */
	u64 calls;		/* for them, both ways */
	u64 passed;		/* buffers that found no address */
	struct vcrq_loan loans[];
};

static inline u64 vcrq_lent_address(const struct vcrq_loans *loans,
				    unsigned int page)
{
	return loans->dma + (u64)page * VCRQ_IOMMU_PAGE;
}

/* entries.c; loans->lock is held */
void vcrq_take_back(struct vcrq_adapter *adapter);
void vcrq_try_stuck(struct vcrq_adapter *adapter, unsigned int page);

#endif /* VIRTIO_CRQ_LEND_H */
