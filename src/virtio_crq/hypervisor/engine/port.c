/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* An opened adapter behind the seam: the calls of the data plane without their detour over numbers and handles. */
#define _GNU_SOURCE
#include <sched.h>

#include "storage.h"

#define UNMAP_TRIES 4096 /* each lets others run; then H_Busy is the caller's to deal with */

struct hv_port {
	struct seam_port seam;
	struct hv_adapter *adapter;
	struct hv_pane own, partner; /* partner.target is null on a client */
	uint64_t list;		     /* logical address of a page for H_PUT_TCE_INDIRECT, behind the visible RAM; 0: none */
	struct hv_caller caller;  /* this adapter's */
	struct hv_caller general; /* claimed for the time of one call by number */
	struct hv_storage storage;
};

static uint64_t hv_liobn(const struct hv_port *port, int second)
{
	return HV_LIOBN_BASE + 4 * hv_adapter_index(port->caller.state, port->adapter) + (uint64_t)second;
}

/* Accounts of a call on the port's own adapter; registers are only put together when somebody looks. */
#define HV_FINISH(port, name, code, bytes, ...)                                                                       \
	do {                                                                                                          \
		hv_count(&(port)->caller.counters->calls[CALL_##name], 1);                                            \
		if (__builtin_expect(hv_mode(&(port)->caller) & (HV_MODE_TRACE | HV_MODE_PRICES), 0)) {               \
			const uint64_t in[6] = { __VA_ARGS__ }, out[2] = { 0, 0 };                                    \
			hv_account_slow(&(port)->caller, (port)->adapter, OP_##name, in, code, out, bytes);           \
		}                                                                                                     \
	} while (0)

/* Absent calls and injected faults, before any effect. */
static int64_t hv_refusal(struct hv_port *port, enum hv_call_index call)
{
	const struct hv_facts *facts = &port->caller.state->facts;

	if (__builtin_expect(hv_stale(&port->caller), 0))
		return H_HARDWARE;
	if (__builtin_expect(facts->absent & 1u << call, 0))
		return H_FUNCTION;
	if (__builtin_expect(facts->faults != 0, 0))
		return hv_fault(&port->caller, port->adapter, call);
	return 0;
}

static int64_t port_call(void *context, uint64_t operation, uint64_t registers[SEAM_REGISTERS])
{
	struct hv_port *port = context;
	int64_t code;

	if (hv_stale(&port->caller))
		return H_HARDWARE;
	code = hv_caller_open(&port->general, port->caller.attachment);
	if (code)
		return code;
	code = hv_call(&port->general, operation, registers);
	hv_caller_close(&port->general);
	return code;
}

static int64_t port_copy_one(struct hv_port *port, uint64_t remote, uint64_t local, uint64_t length, int outward)
{
	const struct hv_pane *source = outward ? &port->own : &port->partner;
	const struct hv_pane *destination = outward ? &port->partner : &port->own;
	uint64_t from = outward ? local : remote, to = outward ? remote : local;
	int64_t code = hv_refusal(port, CALL_H_COPY_RDMA);

	if (!code)
		code = hv_copy(&port->caller, source, from, destination, to, length);
	if (!code) {
		hv_count(&port->caller.counters->copies, 1);
		hv_count(&port->caller.counters->bytes, length);
	}
	HV_FINISH(port, H_COPY_RDMA, code, code ? 0 : length, length, hv_liobn(port, !outward), from, hv_liobn(port, outward), to, 0);
	return code;
}

static int64_t port_copy(void *context, const struct seam_copy *vector, uint64_t count, uint64_t *done)
{
	struct hv_port *port = context;
	uint64_t most = port->caller.state->facts.max_copy;

	*done = 0;
	if (!port->partner.target) /* a client has no second pane */
		return H_FUNCTION;
	for (uint64_t index = 0; index < count; index++) {
		uint64_t remote = vector[index].remote, local = vector[index].local, left = vector[index].length;

		while (left) {
			uint64_t step = most && left > most ? most : left;
			int64_t code = port_copy_one(port, remote, local, step, vector[index].outward != 0);

			if (code)
				return code;
			remote += step;
			local += step;
			left -= step;
		}
		(*done)++;
	}
	return H_SUCCESS;
}

static int64_t port_send(void *context, const uint64_t (*entries)[2], uint64_t count, uint64_t *done)
{
	struct hv_port *port = context;

	*done = 0;
	for (uint64_t index = 0; index < count; index++) {
		int64_t code = hv_refusal(port, CALL_H_SEND_CRQ);

		if (!code)
			code = hv_send(&port->caller, port->adapter, entries[index][0], entries[index][1]);
		HV_FINISH(port, H_SEND_CRQ, code, 0, port->adapter->unit_address, entries[index][0], entries[index][1], 0, 0, 0);
		if (code)
			return code;
		(*done)++;
	}
	return H_SUCCESS;
}

/* Registers of a call that LoPAR gives outputs are traced with them. */
static int64_t port_queue_open(void *context, uint64_t bus, uint64_t length, uint64_t out[2])
{
	struct hv_port *port = context;
	int64_t code = hv_refusal(port, CALL_H_REG_SUB_CRQ);

	out[0] = out[1] = 0;
	if (!code)
		code = hv_sub_register(&port->caller, port->adapter, bus, length, out);
	hv_count(&port->caller.counters->calls[CALL_H_REG_SUB_CRQ], 1);
	if (hv_mode(&port->caller) & (HV_MODE_TRACE | HV_MODE_PRICES)) {
		const uint64_t in[6] = { port->adapter->unit_address, bus, length };

		hv_account_slow(&port->caller, port->adapter, OP_H_REG_SUB_CRQ, in, code, out, 0);
	}
	return code == H_CLOSED ? H_SUCCESS : code;
}

static int64_t port_queue_close(void *context, uint64_t handle)
{
	struct hv_port *port = context;
	int64_t code = hv_refusal(port, CALL_H_FREE_SUB_CRQ);

	if (!code)
		code = hv_sub_free(&port->caller, port->adapter, handle);
	HV_FINISH(port, H_FREE_SUB_CRQ, code, 0, port->adapter->unit_address, handle, 0, 0, 0, 0);
	return code;
}

static int64_t port_queue_send(void *context, uint64_t handle, const uint64_t words[SEAM_RECORD_WORDS])
{
	struct hv_port *port = context;
	int64_t code = hv_refusal(port, CALL_H_SEND_SUB_CRQ);

	if (!code)
		code = hv_sub_send(&port->caller, port->adapter, handle, words);
	HV_FINISH(port, H_SEND_SUB_CRQ, code, 0, port->adapter->unit_address, handle, words[0], words[1], words[2], words[3]);
	return code;
}

static int64_t port_queue_batch(void *context, uint64_t handle, uint64_t bus, uint64_t count)
{
	struct hv_port *port = context;
	int64_t code = hv_refusal(port, CALL_H_SEND_SUB_CRQ_INDIRECT);

	if (!code)
		code = hv_sub_send_indirect(&port->caller, port->adapter, handle, bus, count);
	HV_FINISH(port, H_SEND_SUB_CRQ_INDIRECT, code, 0, port->adapter->unit_address, handle, bus, count, 0, 0);
	return code;
}

static int64_t port_queue_signal(void *context, uint64_t interrupt, uint64_t enabled)
{
	struct hv_port *port = context;
	uint64_t subfunction = enabled ? VIOCTL_ENABLE_INTERRUPT : VIOCTL_DISABLE_INTERRUPT;
	int64_t code = hv_refusal(port, CALL_H_VIOCTL);

	if (!code)
		code = hv_sub_set_signal(&port->caller, port->adapter, interrupt, enabled != 0);
	HV_FINISH(port, H_VIOCTL, code, 0, port->adapter->unit_address, subfunction, interrupt, 0, 0, 0);
	return code;
}

static int64_t port_put_tce(struct hv_port *port, uint64_t bus, uint64_t tce)
{
	int64_t code = hv_refusal(port, CALL_H_PUT_TCE);

	if (!code)
		code = hv_put_tces(&port->caller, port->adapter, bus, &tce, 1, 1);
	HV_FINISH(port, H_PUT_TCE, code, 0, hv_liobn(port, 0), bus, tce, 0, 0, 0);
	return code;
}

static int64_t port_put_list(struct hv_port *port, uint64_t bus, uint64_t tce, uint64_t pages)
{
	uint64_t *list = (uint64_t *)(port->seam.memory + port->list);
	int64_t code = hv_refusal(port, CALL_H_PUT_TCE_INDIRECT);

	for (uint64_t index = 0; index < pages; index++)
		list[index] = hv_swap64(tce + index * TCE_PAGE);
	if (!code)
		code = hv_put_tce_indirect(&port->caller, port->adapter, bus, port->list, pages);
	HV_FINISH(port, H_PUT_TCE_INDIRECT, code, 0, hv_liobn(port, 0), bus, port->list, pages, 0, 0);
	return code;
}

static int64_t port_stuff(struct hv_port *port, uint64_t bus, uint64_t pages)
{
	const uint64_t none = 0;
	int64_t code = hv_refusal(port, CALL_H_STUFF_TCE);

	if (!code)
		code = hv_put_tces(&port->caller, port->adapter, bus, &none, pages, 1);
	HV_FINISH(port, H_STUFF_TCE, code, 0, hv_liobn(port, 0), bus, 0, pages, 0, 0);
	return code;
}

/* Pages one call can take; platforms without the multi-TCE calls take one. */
static uint64_t hv_pages_at_once(const struct hv_port *port, enum hv_call_index call, uint64_t left)
{
	if (port->caller.state->facts.absent & 1u << call || left == 1)
		return 1;
	return left < TCE_LIST ? left : TCE_LIST;
}

static int64_t port_unmap(void *context, uint64_t bus, uint64_t length)
{
	struct hv_port *port = context;
	uint64_t left = (length + TCE_PAGE - 1) / TCE_PAGE;

	if (bus % TCE_PAGE || length > port->adapter->window)
		return H_PARAMETER;
	while (left) {
		int stuff = !(port->caller.state->facts.absent & 1u << CALL_H_STUFF_TCE);
		uint64_t pages = stuff ? (left < TCE_LIST ? left : TCE_LIST) : 1;
		int64_t code = H_BUSY;

		for (int tries = 0; code == H_BUSY && tries < UNMAP_TRIES; tries++) {
			if (tries)
				sched_yield();
			code = stuff ? port_stuff(port, bus, pages) : port_put_tce(port, bus, 0);
			/* A clone that the partner has to remove: it does so by itself, so this is busy as well. */
			if (code == H_RESOURCE)
				code = H_BUSY;
		}
		if (code)
			return code;
		bus += pages * TCE_PAGE;
		left -= pages;
	}
	return H_SUCCESS;
}

static int64_t port_map(void *context, uint64_t bus, uint64_t offset, uint64_t length, uint64_t access)
{
	struct hv_port *port = context;
	uint64_t left = (length + TCE_PAGE - 1) / TCE_PAGE, start = bus;

	if (bus % TCE_PAGE || offset % TCE_PAGE || !access || access & ~(uint64_t)TCE_ACCESS || length > port->adapter->window ||
	    offset > port->caller.own->memory || length > port->caller.own->memory - offset)
		return H_PARAMETER;
	while (left) {
		uint64_t pages = port->list ? hv_pages_at_once(port, CALL_H_PUT_TCE_INDIRECT, left) : 1;
		int64_t code = pages == 1 ? port_put_tce(port, bus, offset | access) : port_put_list(port, bus, offset | access, pages);

		if (code) {
			/* All or nothing. Where it was mapped before, it is not any more. */
			if (bus != start)
				port_unmap(port, start, bus - start);
			return code;
		}
		bus += pages * TCE_PAGE;
		offset += pages * TCE_PAGE;
		left -= pages;
	}
	return H_SUCCESS;
}

static int64_t port_signal(void *context, uint64_t enabled)
{
	struct hv_port *port = context;
	int64_t code = hv_refusal(port, CALL_H_VIO_SIGNAL);

	if (!code)
		code = hv_set_signal(&port->caller, port->adapter, enabled);
	HV_FINISH(port, H_VIO_SIGNAL, code, 0, port->adapter->unit_address, enabled != 0, 0, 0, 0, 0);
	return code;
}

static int64_t port_storage(void *context, uint64_t unit, uint64_t bus, uint64_t size)
{
	return hv_storage_use(&((struct hv_port *)context)->storage, unit, bus, size);
}

static int64_t port_lend(void *context, int descriptor)
{
	return hv_storage_lend(&((struct hv_port *)context)->storage, descriptor);
}

static void port_reclaim(void *context, uint64_t file)
{
	hv_storage_reclaim(&((struct hv_port *)context)->storage, file);
}

static int64_t port_transfer(void *context, struct seam_transfer *vector, uint64_t count)
{
	return hv_storage_transfer(&((struct hv_port *)context)->storage, vector, count);
}

/* Behind the RAM that the partition sees there may be pages for lists, one per port of each adapter. */
static uint64_t hv_list_page(const struct hv_port *port)
{
	const struct hv_caller *caller = &port->caller;
	uint64_t bytes = caller->attachment->ram_bytes[caller->attachment->partition];
	uint64_t slot = (uint64_t)port->adapter->local * HV_ADAPTER_PUBLICATIONS + (uint64_t)__builtin_ctzll(caller->claim);
	uint64_t page = caller->own->memory + slot * TCE_PAGE;

	return page + TCE_PAGE <= bytes ? page : 0;
}

static int hv_heard_at(const struct hv_doorbell *doorbell)
{
	return doorbell->kind == DOORBELL_BYTE ? doorbell->receiver : doorbell->descriptor;
}

struct seam_port *hv_port_open(struct hv_attachment *attachment, uint64_t unit_address, int64_t *code)
{
	struct hv_adapter *adapter = hv_find(attachment->state, attachment->own, unit_address);
	struct hv_port *port;

	*code = H_NOT_FOUND;
	if (!adapter || !attachment->ram[attachment->partition])
		return 0;
	*code = H_HARDWARE;
	port = calloc(1, sizeof *port);
	if (!port)
		return 0;
	*code = hv_caller_open_adapter(&port->caller, attachment, adapter);
	if (*code) {
		free(port);
		return 0;
	}
	__atomic_add_fetch(&attachment->references, 1, __ATOMIC_RELAXED);
	port->adapter = adapter;
	port->own = hv_pane_through(attachment->state, adapter, 0);
	if (adapter->server && adapter->partner != HV_NONE)
		port->partner = hv_pane_through(attachment->state, adapter, 1);
	port->list = hv_list_page(port);
	port->storage = (struct hv_storage){
		.caller = &port->caller,
		.general = &port->general,
		.server = adapter,
		.list = port->list,
	};
	port->seam = (struct seam_port){
		.version = SEAM_VERSION,
		.context = port,
		.memory = attachment->ram[attachment->partition],
		.size = attachment->own->memory,
		.call = port_call,
		.copy = port_copy,
		.send = port_send,
		.map = port_map,
		.unmap = port_unmap,
		.signal = port_signal,
		.storage = port_storage,
		.lend = port_lend,
		.reclaim = port_reclaim,
		.transfer = port_transfer,
		.queue_open = port_queue_open,
		.queue_close = port_queue_close,
		.queue_send = port_queue_send,
		.queue_batch = port_queue_batch,
		.queue_signal = port_queue_signal,
		.descriptor = hv_heard_at(&attachment->doorbell[hv_adapter_index(attachment->state, adapter)]),
	};
	return &port->seam;
}

/* One transfer by the clones that stand in the table, for measurements and tests; as long as the file takes. */
int64_t hv_port_transfer(struct seam_port *seam, uint64_t unit_address, uint64_t ioba, uint64_t length, int file, int writes)
{
	struct hv_port *port = seam->context;
	struct hv_adapter *storage = hv_find(port->caller.state, port->caller.own, unit_address);

	if (!storage || !storage->storage || port->adapter->partner == HV_NONE || hv_stale(&port->caller))
		return H_NOT_FOUND;
	return hv_transfer(&port->caller, port->adapter, storage, ioba, length, file, 0, writes, 0);
}

void hv_port_close(struct seam_port *seam)
{
	struct hv_port *port = seam->context;
	struct hv_attachment *attachment = port->caller.attachment;

	hv_storage_close(&port->storage);
	hv_caller_close(&port->caller);
	free(port);
	hv_detach(attachment);
}
