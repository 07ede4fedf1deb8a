/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* What a physical adapter would do: transfers between files and the pages that its table leads to. No partition's code
 * takes part, and none gets a pointer. A transfer never waits for a disk: what would is not made (EAGAIN), since whoever
 * takes a page back waits for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/uio.h>
#include <unistd.h>

#include "storage.h"

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

#define PIECE 64   /* pages of one transfer; a revoker waits about as long as one takes */
#define TRIES 4096 /* of a busy call; each lets others run */

/* Where writes to a page that its client took back end. Nobody reads it. */
static uint8_t bit_bucket[TCE_PAGE];

/* SAFETY: as hv_translate, for a slot: null unless it is a clone of this connection's client that grants `access` and its
 * page lies in mapped RAM; valid for that 4 KiB page, and for as long as the caller's publication covers the slot. */
static uint8_t *hv_translate_slot(struct hv_caller *caller, uint64_t client, uint64_t slot, uint64_t access)
{
	const struct hv_attachment *attachment = caller->attachment;
	uint64_t page = slot & SLOT_PAGE;
	uint32_t partition;

	if (SLOT_CLIENT(slot) != client + 1)
		return 0;
	if (slot & SLOT_BUCKET)
		return access == TCE_WRITE ? bit_bucket : 0;
	partition = hv_adapter(caller->state, client)->partition;
	if (!(slot & access) || page + TCE_PAGE > attachment->ram_bytes[partition])
		return 0;
	return attachment->ram[partition] + page;
}

static int64_t hv_vector(struct hv_caller *caller, uint64_t client, const struct hv_adapter *storage, uint64_t ioba,
			 uint64_t length, uint64_t access, struct iovec vector[PIECE])
{
	int count = 0;

	for (uint64_t done = 0; done < length; done += TCE_PAGE) {
		uint64_t slot = __atomic_load_n(&hv_tces(caller->state, storage)[(ioba + done) / TCE_PAGE], __ATOMIC_ACQUIRE);
		uint8_t *at = hv_translate_slot(caller, client, slot, access);

		if (!at)
			return -EFAULT;
		if (count && at != bit_bucket && (uint8_t *)vector[count - 1].iov_base + vector[count - 1].iov_len == at)
			vector[count - 1].iov_len += TCE_PAGE;
		else
			vector[count++] = (struct iovec){ at, TCE_PAGE };
	}
	return count;
}

int64_t hv_transfer(struct hv_caller *caller, const struct hv_adapter *server, const struct hv_adapter *storage, uint64_t ioba,
		    uint64_t length, int file, uint64_t position, int writes, int flags)
{
	struct iovec vector[PIECE];
	int64_t done;

	if (ioba % TCE_PAGE || length % TCE_PAGE || length > PIECE * TCE_PAGE || !hv_inside(storage, ioba, length))
		return -EINVAL;
	hv_publish(caller->publication, 0, hv_adapter_index(caller->state, storage) + 1, ioba, length);
	/* It stands on the connection as well, whose end waits for it; of the client's addresses it uses none itself. */
	hv_publish(caller->publication, 1, ((uint64_t)server->partner + 1) | HV_LINKED, 0, 0);
	hv_barrier();
	STOP(transfer_published);
	done = hv_connected(caller->state, server) ? hv_vector(caller, server->partner, storage, ioba, length,
							       writes ? TCE_READ : TCE_WRITE, vector) :
						     -ENOTCONN;
	if (done > 0) {
		done = writes ? pwritev2(file, vector, (int)done, (off_t)position, flags) :
				preadv2(file, vector, (int)done, (off_t)position, flags);
		done = done < 0 ? -errno : done;
	}
	STOP(transfer_made);
	hv_withdraw(caller->publication);
	hv_count(&caller->counters->transfers, 1);
	hv_count(&caller->counters->transferred, done > 0 ? (uint64_t)done : 0);
	if (hv_mode(caller) & HV_MODE_TRACE) {
		const uint64_t in[6] = { ioba, length, position, writes != 0, 0, 0 }, out[2] = { 0, 0 };

		hv_trace(caller, server, HV_TRANSFER, in, done, out);
	}
	return done;
}

int64_t hv_storage_use(struct hv_storage *storage, uint64_t unit_address, uint64_t bus, uint64_t size)
{
	struct hv_caller *caller = storage->caller;
	struct hv_adapter *adapter = hv_find(caller->state, caller->own, unit_address);

	if (!adapter || !adapter->storage || !storage->server->server || storage->server->partner == HV_NONE)
		return H_NOT_FOUND;
	if (bus % TCE_PAGE || size % TCE_PAGE || !size || !hv_inside(adapter, bus, size))
		return H_PARAMETER;
	storage->adapter = adapter;
	storage->ioba = bus;
	storage->pages = size / TCE_PAGE;
	return H_SUCCESS;
}

/* The platform keeps a descriptor of its own: what the partition does with its number afterwards does not matter. */
int64_t hv_storage_lend(struct hv_storage *storage, int descriptor)
{
	if (!storage->adapter)
		return H_NOT_FOUND;
	for (int64_t file = 0; file < HV_FILES; file++) {
		if (__atomic_load_n(&storage->file[file], __ATOMIC_RELAXED))
			continue;
		descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
		if (descriptor < 0)
			return H_PARAMETER;
		__atomic_store_n(&storage->file[file], descriptor + 1, __ATOMIC_RELEASE);
		return file;
	}
	return H_RESOURCE;
}

void hv_storage_reclaim(struct hv_storage *storage, uint64_t file)
{
	int descriptor = file < HV_FILES ? __atomic_exchange_n(&storage->file[file], 0, __ATOMIC_ACQ_REL) : 0;

	if (descriptor)
		close(descriptor - 1);
}

void hv_storage_close(struct hv_storage *storage)
{
	for (uint64_t file = 0; file < HV_FILES; file++)
		hv_storage_reclaim(storage, file);
}

static uint64_t hv_pages(const struct seam_transfer *transfer)
{
	return transfer->length / TCE_PAGE;
}

/* By number: counted, traced and refused like every call. */
static int64_t hv_redirecting(struct hv_storage *storage, enum hv_opcode opcode, uint64_t *r)
{
	uint64_t given[SEAM_REGISTERS];
	int64_t code = H_BUSY;

	if (hv_caller_open(storage->general, storage->caller->attachment))
		return H_HARDWARE;
	memcpy(given, r, sizeof given);
	for (int tries = 0; code == H_BUSY && tries < TRIES; tries++) {
		if (tries)
			sched_yield();
		memcpy(r, given, sizeof given);
		code = hv_call(storage->general, opcode, r);
	}
	hv_caller_close(storage->general);
	return code;
}

static uint64_t hv_handle(const struct hv_storage *storage, const struct hv_adapter *adapter, int second)
{
	return HV_LIOBN_BASE + 4 * hv_adapter_index(storage->caller->state, adapter) + (uint64_t)second;
}

static int hv_lists(const struct hv_storage *storage)
{
	return storage->list && !(storage->caller->state->facts.absent & 1u << CALL_H_PUT_RTCE_INDIRECT);
}

/* Clones the pages of these transfers by one call; how many pages it reached. A single stretch needs no list. */
static uint64_t hv_clone_some(struct hv_storage *storage, const struct seam_transfer *vector, uint64_t count, uint64_t ioba,
			      uint64_t pages)
{
	int listed = count > 1;
	uint64_t client = hv_handle(storage, storage->server, 1), table = hv_handle(storage, storage->adapter, 0);
	uint64_t direct[SEAM_REGISTERS] = { client, vector->remote, table, ioba, hv_pages(vector) };
	uint64_t indirect[SEAM_REGISTERS] = { storage->list, client, table, ioba, pages };
	uint64_t *list = (uint64_t *)(storage->caller->attachment->ram[storage->caller->attachment->partition] + storage->list);
	int64_t code;

	for (uint64_t at = 0, which = 0; listed && which < count; which++)
		for (uint64_t page = 0; page < hv_pages(&vector[which]); page++)
			list[at++] = hv_swap64(vector[which].remote + page * TCE_PAGE);
	code = listed ? hv_redirecting(storage, OP_H_PUT_RTCE_INDIRECT, indirect) : hv_redirecting(storage, OP_H_PUT_RTCE, direct);
	if (!code)
		return listed ? pages : hv_pages(vector);
	return code == H_R_PARM || code == H_IN_USE || code == H_RESOURCE ? (listed ? indirect[0] : direct[0]) : 0;
}

/* Whatever was cloned of these transfers, whose pages lie one after the other in the table. */
static int64_t hv_remove_some(struct hv_storage *storage, const struct seam_transfer *vector, uint64_t count, uint64_t ioba,
			      uint64_t pages)
{
	int64_t code = H_SUCCESS;

	for (uint64_t which = 0; which < count && pages; which++) {
		uint64_t first = vector[which].remote, run = hv_pages(&vector[which]);
		uint64_t r[SEAM_REGISTERS];

		while (which + 1 < count && vector[which + 1].remote == first + run * TCE_PAGE)
			run += hv_pages(&vector[++which]);
		run = run < pages ? run : pages;
		memcpy(r, (uint64_t[SEAM_REGISTERS]){ hv_handle(storage, storage->server, 1), first,
						      hv_handle(storage, storage->adapter, 0), ioba, run, 0 }, sizeof r);
		if (hv_redirecting(storage, OP_H_REMOVE_RTCE, r))
			code = H_HARDWARE;
		ioba += run * TCE_PAGE;
		pages -= run;
	}
	return code;
}

static int hv_follows(const struct seam_transfer *one, const struct seam_transfer *next)
{
	return next->file == one->file && next->write == one->write && next->position == one->position + one->length;
}

/* Moves one run of transfers that follow each other in the file, in pieces; what came is theirs from the first on. */
static void hv_move_run(struct hv_storage *storage, struct seam_transfer *vector, uint64_t count, uint64_t ioba)
{
	uint64_t length = 0, done = 0;
	int descriptor = vector->file < HV_FILES ? __atomic_load_n(&storage->file[vector->file], __ATOMIC_ACQUIRE) : 0;
	int64_t moved = descriptor ? 0 : -EBADF;

	for (uint64_t which = 0; which < count; which++)
		length += vector[which].length;
	while (done < length && moved >= 0) {
		uint64_t piece = length - done < PIECE * TCE_PAGE ? length - done : PIECE * TCE_PAGE;

		moved = hv_transfer(storage->caller, storage->server, storage->adapter, ioba + done, piece, descriptor - 1,
				    vector->position + done, vector->write != 0, RWF_NOWAIT);
		done += moved > 0 ? (uint64_t)moved : 0;
		if (moved >= 0 && (uint64_t)moved < piece)
			break; /* the end of the file, or of what needs no waiting */
	}
	for (uint64_t which = 0; which < count; which++) {
		uint64_t part = done < vector[which].length ? done : vector[which].length;

		vector[which].moved = part || moved >= 0 ? (int64_t)part : moved;
		done -= part;
	}
}

/* What fits the stretch and one list is cloned, moved and removed together. */
static uint64_t hv_transfer_some(struct hv_storage *storage, struct seam_transfer *vector, uint64_t count)
{
	uint64_t most = storage->pages < TCE_LIST ? storage->pages : TCE_LIST, pages = 0, some = 0, cloned, whole = 0, at = 0;

	while (some < count && pages + hv_pages(&vector[some]) <= most)
		pages += hv_pages(&vector[some++]);
	if (!some)
		return 1; /* longer than a pass: not redirected */
	if (!hv_lists(storage)) {
		some = 1;
		pages = hv_pages(vector);
	}
	cloned = hv_clone_some(storage, vector, some, storage->ioba, pages);
	while (whole < some && at + hv_pages(&vector[whole]) <= cloned)
		at += hv_pages(&vector[whole++]);
	at = 0;
	for (uint64_t first = 0, next; first < whole; first = next) {
		uint64_t length = vector[first].length;

		for (next = first + 1; next < whole && hv_follows(&vector[next - 1], &vector[next]); next++)
			length += vector[next].length;
		hv_move_run(storage, vector + first, next - first, storage->ioba + at);
		at += length;
	}
	if (hv_remove_some(storage, vector, some, storage->ioba, cloned))
		for (uint64_t which = 0; which < whole; which++)
			vector[which].moved = -EIO;
	/* The one that could not be cloned is left as it is; the next pass begins behind it. */
	return whole == some ? some : whole + 1;
}

int64_t hv_storage_transfer(struct hv_storage *storage, struct seam_transfer *vector, uint64_t count)
{
	for (uint64_t which = 0; which < count; which++) {
		vector[which].moved = -ENOTSUP;
		if (vector[which].remote % TCE_PAGE || vector[which].length % TCE_PAGE || !vector[which].length)
			return H_PARAMETER;
	}
	if (!storage->adapter)
		return H_NOT_FOUND;
	if (hv_stale(storage->caller))
		return H_HARDWARE;
	for (uint64_t which = 0; which < count;)
		which += hv_transfer_some(storage, vector + which, count - which);
	return H_SUCCESS;
}
