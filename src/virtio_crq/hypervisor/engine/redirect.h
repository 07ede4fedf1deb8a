/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Redirected RDMA: clones of a client's TCEs in the table of a storage adapter of its server (LoPAR, Redirected RDMA).
 *
 * A clone stands in two words. The *slot*, in the storage adapter's table, is what a transfer goes by. The *link*, beside
 * the client's entry, leads whoever takes the entry back to the slot. Only the server's partition sets and clears links
 * and slots, under the storage adapter's lock; the client's side changes a slot in one way only: a clone becomes a bit
 * bucket. A clone is made while its maker's publication covers the client's entry, so a revoker that has stored its TCE
 * and waited for publications sees every link that there will be.
 */
#ifndef VIRTIO_CRQ_REDIRECT_H
#define VIRTIO_CRQ_REDIRECT_H

#include "calls.h"

#define LIOBN_BIT_BUCKET 1ull /* bit 63: the platform may point a clone at the bit bucket */

/* Slot: access (bits 0, 1), bucket, page in the client's RAM (12 to 39), client adapter + 1, generation. No client: free.
 * The generation changes with each clone, so that a revoker that was late does not hit the next clone in the slot. */
#define SLOT_BUCKET 4ull
#define SLOT_PAGE 0xfffffff000ull
#define SLOT_CLIENT(slot) ((slot) >> 40 & 0xfff)
#define SLOT_GENERATION (1ull << 52)
#define SLOT_AGE(slot) ((slot) & ~(SLOT_GENERATION - 1))
#define SLOT_IDENTITY(slot) ((slot) & ~((1ull << 40) - 1))

/* Link: storage adapter + 1 and the slot's place in its table; 0: none. */
#define LINK_SLOT 0xffffffffull
#define LINK_STORAGE(link) ((link) >> 32)

static inline uint64_t *hv_links(struct hv_header *state, const struct hv_adapter *client, uint64_t page)
{
	return (uint64_t *)((char *)state + state->links_at) + (client->tces + page) * HV_CLONES;
}

static inline uint64_t *hv_slot(struct hv_header *state, uint64_t link)
{
	return hv_tces(state, hv_adapter(state, LINK_STORAGE(link) - 1)) + (link & LINK_SLOT);
}

/* H_PUT_RTCE and H_PUT_RTCE_INDIRECT: `count` I/O addresses, or that many pages from the first on. How many were cloned
 * goes to `reached` whatever the answer; those stay cloned. */
struct hv_cloning {
	const struct hv_pane *client; /* the caller's second pane */
	struct hv_adapter *storage;
	const uint64_t *list; /* null: pages that follow each other */
	uint64_t first, ioba, count;
};
int64_t hv_put_rtces(struct hv_caller *caller, const struct hv_cloning *cloning, uint64_t *reached);
int64_t hv_remove_rtces(struct hv_caller *caller, const struct hv_cloning *cloning);

/* Whether a clone of these entries exists whose storage adapter may not use the bit bucket: H_Resource then. */
int hv_clones_hold(struct hv_header *state, const struct hv_adapter *client, uint64_t page, uint64_t count);
/* The entries were taken back: clones of them become bit buckets. H_BUSY while a transfer through one runs. */
int64_t hv_revoke_clones(struct hv_header *state, const struct hv_adapter *client, uint64_t page, uint64_t count);
int hv_clones_in_use(struct hv_header *state, const struct hv_adapter *client, uint64_t page, uint64_t count);
/* The connection is closing and nothing runs on it: what was cloned over it ends. */
int64_t hv_close_clones(struct hv_caller *caller, const struct hv_adapter *adapter, int forced);
/* A storage adapter's partition died, its connections are closed. */
void hv_clear_slots(struct hv_header *state, struct hv_adapter *storage);

/* One transfer between a file and clones of `server`'s client: bytes moved, or -errno. `flags`: RWF_NOWAIT, or 0. */
int64_t hv_transfer(struct hv_caller *caller, const struct hv_adapter *server, const struct hv_adapter *storage, uint64_t ioba,
		    uint64_t length, int file, uint64_t position, int writes, int flags);

#endif
