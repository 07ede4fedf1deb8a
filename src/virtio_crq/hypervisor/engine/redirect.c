/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Clones: made and removed by the server, revoked by the client, ended by the end of the connection. */
#include "redirect.h"

/* What the calls name must be the caller's: a second pane, and a place in a storage adapter's table. */
static int hv_cloning_outside(const struct hv_cloning *cloning)
{
	const struct hv_adapter *client = cloning->client->target;

	if (cloning->ioba % TCE_PAGE || cloning->count > client->window / TCE_PAGE ||
	    !hv_inside(cloning->storage, cloning->ioba, cloning->count * TCE_PAGE))
		return 1;
	if (!cloning->list)
		return cloning->first % TCE_PAGE || !hv_inside(client, cloning->first, cloning->count * TCE_PAGE);
	for (uint64_t index = 0; index < cloning->count; index++)
		if (cloning->list[index] % TCE_PAGE || !hv_inside(client, cloning->list[index], TCE_PAGE))
			return 1;
	return 0;
}

static uint64_t hv_client_page(const struct hv_cloning *cloning, uint64_t index)
{
	return cloning->list ? cloning->list[index] / TCE_PAGE : cloning->first / TCE_PAGE + index;
}

static uint64_t hv_link_to(struct hv_header *state, const struct hv_cloning *cloning, uint64_t index)
{
	return (hv_adapter_index(state, cloning->storage) + 1) << 32 | (cloning->ioba / TCE_PAGE + index);
}

/* Covers all entries that are cloned; a list lies somewhere between its lowest and its highest. */
static void hv_publish_cloning(struct hv_caller *caller, const struct hv_cloning *cloning)
{
	uint64_t low = cloning->first, high = cloning->first + cloning->count * TCE_PAGE;

	for (uint64_t index = 0; cloning->list && index < cloning->count; index++) {
		uint64_t ioba = cloning->list[index];

		low = !index || ioba < low ? ioba : low;
		high = !index || ioba + TCE_PAGE > high ? ioba + TCE_PAGE : high;
	}
	hv_publish(caller->publication, 0, cloning->client->key, low, high - low);
	hv_barrier();
	STOP(clone_published);
}

/* Order of checks: the client's entry, the place in the table, how often the entry is cloned. */
static int64_t hv_clone(struct hv_caller *caller, const struct hv_cloning *cloning, uint64_t index)
{
	struct hv_header *state = caller->state;
	uint64_t page = hv_client_page(cloning, index), *links = hv_links(state, cloning->client->target, page);
	uint64_t tce = __atomic_load_n(&hv_tces(state, cloning->client->target)[page], __ATOMIC_ACQUIRE);
	uint64_t *slot = hv_tces(state, cloning->storage) + cloning->ioba / TCE_PAGE + index;
	uint64_t old = __atomic_load_n(slot, __ATOMIC_RELAXED), which = 0;

	if (!(tce & TCE_ACCESS) || (tce & ~(uint64_t)(TCE_PAGE - 1) & ~SLOT_PAGE))
		return H_R_PARM;
	if (SLOT_CLIENT(old))
		return H_IN_USE;
	while (which < state->facts.redirected_mappings && __atomic_load_n(&links[which], __ATOMIC_RELAXED))
		which++;
	if (which == state->facts.redirected_mappings)
		return H_RESOURCE;
	__atomic_store_n(&links[which], hv_link_to(state, cloning, index), __ATOMIC_RELEASE);
	STOP(clone_linked);
	__atomic_store_n(slot,
			 (SLOT_AGE(old) + SLOT_GENERATION) | (hv_adapter_index(state, cloning->client->target) + 1) << 40 |
				 (tce & (SLOT_PAGE | TCE_ACCESS)),
			 __ATOMIC_RELEASE);
	STOP(clone_made);
	return H_SUCCESS;
}

int64_t hv_put_rtces(struct hv_caller *caller, const struct hv_cloning *cloning, uint64_t *reached)
{
	struct hv_adapter *client = cloning->client->target;
	int64_t code = H_SUCCESS;

	*reached = 0;
	if (hv_cloning_outside(cloning))
		return H_PARAMETER;
	hv_lock(&cloning->storage->lock);
	hv_publish_cloning(caller, cloning);
	if (!hv_connected(caller->state, cloning->client->through))
		code = H_R_PARM;
	else if (!__atomic_load_n(&client->cloned, __ATOMIC_RELAXED))
		__atomic_store_n(&client->cloned, 1, __ATOMIC_RELEASE);
	while (!code && *reached < cloning->count) {
		code = hv_clone(caller, cloning, *reached);
		*reached += !code;
	}
	hv_withdraw(caller->publication);
	hv_unlock(&cloning->storage->lock);
	return code;
}

/* The place of this clone's link; null when the slot is not a clone of that entry. A bit bucket may have none. */
static int hv_is_clone(struct hv_header *state, const struct hv_cloning *cloning, uint64_t index, uint64_t **found)
{
	uint64_t *links = hv_links(state, cloning->client->target, hv_client_page(cloning, index));
	uint64_t slot = hv_tces(state, cloning->storage)[cloning->ioba / TCE_PAGE + index];

	*found = 0;
	if (SLOT_CLIENT(slot) != hv_adapter_index(state, cloning->client->target) + 1)
		return 0;
	for (int which = 0; which < HV_CLONES; which++)
		if (__atomic_load_n(&links[which], __ATOMIC_RELAXED) == hv_link_to(state, cloning, index))
			*found = &links[which];
	return *found != 0;
}

/* No transfer begins through the slots any more; those that run are waited for. */
static int64_t hv_still_slots(struct hv_caller *caller, const struct hv_cloning *cloning)
{
	struct hv_header *state = caller->state;

	for (uint64_t index = 0; index < cloning->count; index++)
		__atomic_fetch_and(hv_tces(state, cloning->storage) + cloning->ioba / TCE_PAGE + index, ~(SLOT_PAGE | TCE_ACCESS),
				   __ATOMIC_RELEASE);
	STOP(clone_stilled);
	hv_barrier();
	return hv_transfer_in_use(state, cloning->client->target, cloning->storage, cloning->ioba, cloning->count * TCE_PAGE) ?
		       H_BUSY :
		       H_SUCCESS;
}

/* What stands in the place afterwards grants no access, whatever the caller asked for (LoPAR). */
int64_t hv_remove_rtces(struct hv_caller *caller, const struct hv_cloning *cloning)
{
	struct hv_header *state = caller->state;
	uint64_t *link;
	int64_t code = H_SUCCESS;

	if (hv_cloning_outside(cloning))
		return H_PARAMETER;
	hv_lock(&cloning->storage->lock);
	for (uint64_t index = 0; !code && index < cloning->count; index++)
		if (!hv_is_clone(state, cloning, index, &link))
			code = H_PARAMETER;
	if (!code)
		code = hv_still_slots(caller, cloning);
	for (uint64_t index = 0; !code && index < cloning->count; index++) {
		uint64_t *slot = hv_tces(state, cloning->storage) + cloning->ioba / TCE_PAGE + index;

		if (!hv_is_clone(state, cloning, index, &link))
			continue;
		__atomic_store_n(link, 0, __ATOMIC_RELEASE);
		STOP(clone_unlinked);
		__atomic_store_n(slot, SLOT_AGE(*slot), __ATOMIC_RELEASE);
		STOP(clone_removed);
	}
	hv_unlock(&cloning->storage->lock);
	return code;
}

/* A clone as its link leads to it: 0 when it is none, or none any more. */
static uint64_t hv_live(struct hv_header *state, const struct hv_adapter *client, const uint64_t *place, uint64_t **slot)
{
	uint64_t link = __atomic_load_n(place, __ATOMIC_ACQUIRE), found;

	if (!link)
		return 0;
	*slot = hv_slot(state, link);
	found = __atomic_load_n(*slot, __ATOMIC_ACQUIRE);
	if (SLOT_CLIENT(found) != hv_adapter_index(state, client) + 1 || !(found & TCE_ACCESS))
		return 0;
	/* The slot was this clone's when it was read, if the link still stands. */
	return __atomic_load_n(place, __ATOMIC_ACQUIRE) == link ? found : 0;
}

static void hv_bit_bucket(struct hv_header *state, const struct hv_adapter *client, const uint64_t *place)
{
	uint64_t *slot, found;

	while ((found = hv_live(state, client, place, &slot)))
		if (__atomic_compare_exchange_n(slot, &found, SLOT_IDENTITY(found) | SLOT_BUCKET, 0, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			break;
	STOP(clone_bucketed);
}

static int hv_is_cloned(struct hv_header *state, const struct hv_adapter *client)
{
	return state->links_at && __atomic_load_n(&client->cloned, __ATOMIC_ACQUIRE);
}

int hv_clones_hold(struct hv_header *state, const struct hv_adapter *client, uint64_t page, uint64_t count)
{
	uint64_t *slot;

	for (; hv_is_cloned(state, client) && count; page++, count--) {
		const uint64_t *links = hv_links(state, client, page);

		for (int which = 0; which < HV_CLONES; which++) {
			const struct hv_adapter *storage;

			if (!hv_live(state, client, &links[which], &slot))
				continue;
			storage = hv_adapter(state, LINK_STORAGE(links[which]) - 1);
			if (!(__atomic_load_n(&storage->attributes, __ATOMIC_RELAXED) & LIOBN_BIT_BUCKET))
				return 1;
		}
	}
	return 0;
}

int hv_clones_in_use(struct hv_header *state, const struct hv_adapter *client, uint64_t page, uint64_t count)
{
	for (; hv_is_cloned(state, client) && count; page++, count--) {
		const uint64_t *links = hv_links(state, client, page);

		for (int which = 0; which < HV_CLONES; which++) {
			uint64_t link = __atomic_load_n(&links[which], __ATOMIC_ACQUIRE);

			if (link && hv_transfer_in_use(state, client, hv_adapter(state, LINK_STORAGE(link) - 1),
						       (link & LINK_SLOT) * TCE_PAGE, TCE_PAGE))
				return 1;
		}
	}
	return 0;
}

int64_t hv_revoke_clones(struct hv_header *state, const struct hv_adapter *client, uint64_t page, uint64_t count)
{
	if (!hv_is_cloned(state, client))
		return H_SUCCESS;
	/* Made between the first look and the store: told now, and again until it is removed. */
	if (hv_clones_hold(state, client, page, count))
		return H_RESOURCE;
	for (uint64_t index = 0; index < count * HV_CLONES; index++)
		hv_bit_bucket(state, client, hv_links(state, client, page) + index);
	hv_barrier();
	return hv_clones_in_use(state, client, page, count) ? H_BUSY : H_SUCCESS;
}

/* The server's own end: its slots are free again. */
static void hv_take_down(struct hv_header *state, struct hv_adapter *client)
{
	for (uint64_t index = 0; index < client->window / TCE_PAGE * HV_CLONES; index++) {
		uint64_t *place = hv_links(state, client, 0) + index, link = __atomic_load_n(place, __ATOMIC_RELAXED), *slot;

		if (!link)
			continue;
		slot = hv_slot(state, link);
		hv_lock(&hv_adapter(state, LINK_STORAGE(link) - 1)->lock);
		if (__atomic_load_n(place, __ATOMIC_RELAXED) == link) {
			__atomic_store_n(slot, SLOT_AGE(*slot), __ATOMIC_RELEASE);
			__atomic_store_n(place, 0, __ATOMIC_RELEASE);
		}
		hv_unlock(&hv_adapter(state, LINK_STORAGE(link) - 1)->lock);
	}
	__atomic_store_n(&client->cloned, 0, __ATOMIC_RELEASE);
}

int64_t hv_close_clones(struct hv_caller *caller, const struct hv_adapter *adapter, int forced)
{
	struct hv_header *state = caller->state;
	struct hv_adapter *client = hv_adapter(state, adapter->server ? adapter->partner : hv_adapter_index(state, adapter));
	uint64_t pages = client->window / TCE_PAGE;

	if (!hv_is_cloned(state, client))
		return H_SUCCESS;
	if (!forced && hv_clones_hold(state, client, 0, pages))
		return H_RESOURCE;
	for (uint64_t index = 0; index < pages * HV_CLONES; index++)
		if (__atomic_load_n(hv_links(state, client, 0) + index, __ATOMIC_RELAXED))
			hv_bit_bucket(state, client, hv_links(state, client, 0) + index);
	if (adapter->server)
		hv_take_down(state, client);
	return H_SUCCESS;
}

void hv_clear_slots(struct hv_header *state, struct hv_adapter *storage)
{
	uint64_t *slots = hv_tces(state, storage);

	for (uint64_t index = 0; index < storage->window / TCE_PAGE; index++)
		if (SLOT_CLIENT(__atomic_load_n(&slots[index], __ATOMIC_RELAXED)))
			__atomic_store_n(&slots[index], SLOT_AGE(slots[index]), __ATOMIC_RELEASE);
}
