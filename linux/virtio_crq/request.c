// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests: one that is sent and waited for, its slot in the message area, its
 * answer.
 */
#include <linux/slab.h>
#include <asm/hvcall.h>

#include "virtio_crq.h"

void *vcrq_slot(struct vcrq_adapter *adapter, int slot)
{
	return adapter->area + slot * VCRQ_SLOT_BYTES;
}

/* adapter->lock is held.  The session is over; nobody answers any more. */
void vcrq_abandon_requests(struct vcrq_adapter *adapter)
{
	struct vcrq_request *request, *next;

	list_for_each_entry_safe(request, next, &adapter->requests, list) {
		list_del_init(&request->list);
		request->result = -ENOTCONN;
		complete(&request->done);
	}
}

/* Interrupts off.  The request that an answer belongs to; it is off the list. */
static struct vcrq_request *vcrq_find(struct vcrq_adapter *adapter,
				      const struct vcrq_command *command,
				      bool bus, u8 msg_id)
{
	struct vcrq_request *request;

	list_for_each_entry(request, &adapter->requests, list) {
		if (request->bus != bus || request->msg_id != msg_id ||
		    request->device != le16_to_cpu(command->device) ||
		    request->sequence != command->sequence)
			continue;
		list_del_init(&request->list);
		return request;
	}
	return NULL;
}

/* Interrupts off.  Where the answer stands has to be where it was asked for. */
static int vcrq_place(struct vcrq_adapter *adapter,
		      struct vcrq_request *request,
		      const struct vcrq_command *command)
{
	const struct vcrq_hello_place *hello = (const void *)command->payload;
	const struct vcrq_area_place *area = (const void *)command->payload;

	switch (command->flags >> VCRQ_BODY_SHIFT) {
	case VCRQ_BODY_INLINE:
		memcpy(request->answer, command->payload, VCRQ_INLINE_MAX);
		request->length = command->length;
		request->inlined = true;
		return 0;
	case VCRQ_BODY_AREA:
		request->length = le16_to_cpu(area->length);
		return request->slot > 0 &&
		       request->slot == le16_to_cpu(area->slot) ?
		       0 : -EPROTO;
	default:
		request->length = le16_to_cpu(hello->length);
		return request->slot == VCRQ_HELLO_SLOT &&
		       le32_to_cpu(hello->ioba) == (u32)adapter->area_dma ?
		       0 : -EPROTO;
	}
}

/* Whether there is a request that has this identifier (section 15). */
static bool vcrq_is_request(bool bus, u8 msg_id)
{
	if (bus)
		return msg_id == VCRQ_GET_DEVICES || msg_id == VCRQ_PING ||
		       msg_id == VCRQ_HELLO;
	return (msg_id >= VCRQ_GET_DEVICE_INFO && msg_id <= VCRQ_GET_SHM) ||
	       (msg_id >= VCRQ_RESUME_DEVICE && msg_id <= VCRQ_GET_IDENTITY);
}

/*
 * Interrupts off.  An answer elsewhere, or of another length, is none: it is
 * dropped, and the request goes on waiting (CRQ-F-8, CRQ-F-10).
 */
void vcrq_answered(struct vcrq_adapter *adapter, const union vcrq_entry *entry)
{
	const struct vcrq_command *command = &entry->command;
	enum vcrq_rule rule = VCRQ_RULE_RESPONSE_STALE;
	bool bus = command->flags & VCRQ_FLAG_BUS;
	struct vcrq_request *request;

	spin_lock(&adapter->lock);
	request = vcrq_find(adapter, command, bus, command->msg_id);
	if (!request && !vcrq_is_request(bus, command->msg_id))
		rule = VCRQ_RULE_MESSAGE_UNKNOWN;
	if (request && !vcrq_place(adapter, request, command)) {
		rule = VCRQ_RULE_MESSAGE_SIZE;
		if (request->length >= request->answer_min &&
		    request->length <= request->answer_max)
			rule = VCRQ_RULES;
	}
	if (rule == VCRQ_RULES) {
		request->result = 0;
		complete(&request->done);
	} else if (request) {
		request->inlined = false;
		list_add(&request->list, &adapter->requests);
	}
	spin_unlock(&adapter->lock);
	if (rule != VCRQ_RULES)
		vcrq_count(adapter, rule, command->msg_id,
			   le16_to_cpu(command->device));
}

/* Interrupts off. */
void vcrq_refused(struct vcrq_adapter *adapter, const union vcrq_entry *entry)
{
	const struct vcrq_command *command = &entry->command;
	const struct vcrq_refused *body = (const void *)command->payload;
	struct vcrq_request *request = NULL;

	if (command->length != sizeof(*body)) {
		vcrq_count(adapter, VCRQ_RULE_MESSAGE_SIZE, command->msg_id,
			   command->length);
		return;
	}
	spin_lock(&adapter->lock);
	if (le16_to_cpu(body->msg_id) <= 0xff)
		request = vcrq_find(adapter, command,
				    le16_to_cpu(body->flags) & 1,
				    le16_to_cpu(body->msg_id));
	if (request) {
		request->reason = le32_to_cpu(body->reason);
		request->result = -EREMOTEIO;
		complete(&request->done);
	}
	spin_unlock(&adapter->lock);
	if (!request)
		vcrq_count(adapter, VCRQ_RULE_RESPONSE_STALE, command->msg_id,
			   le16_to_cpu(command->device));
}

/*
 * Process context.  When nothing that holds a slot was answered for so long,
 * the partner stalls; a device that is being resumed is so in the next session.
 */
static int vcrq_take_slot(struct vcrq_adapter *adapter, u8 msg_id, u16 device)
{
	u32 session = READ_ONCE(adapter->session);
	unsigned long flags;
	int slot;

	if (down_timeout(&adapter->slots, VCRQ_REQUEST_SECONDS * HZ)) {
		if (session && session == READ_ONCE(adapter->session))
			vcrq_end_session(adapter, VCRQ_RULE_PARTNER_STALLED,
					 msg_id, device);
		return -ETIMEDOUT;
	}
	spin_lock_irqsave(&adapter->lock, flags);
	slot = __ffs(adapter->free_slots);
	__clear_bit(slot, &adapter->free_slots);
	spin_unlock_irqrestore(&adapter->lock, flags);
	return slot;
}

static void vcrq_give_slot(struct vcrq_adapter *adapter, int slot)
{
	unsigned long flags;

	spin_lock_irqsave(&adapter->lock, flags);
	__set_bit(slot, &adapter->free_slots);
	spin_unlock_irqrestore(&adapter->lock, flags);
	up(&adapter->slots);
}

/*
 * Process context.  Sends and waits.  -ENOTCONN: the session ended; -EREMOTEIO:
 * refused; -ETIMEDOUT: the server lives but does not answer, the session is
 * ended so that neither slot nor device stay with it.
 */
int vcrq_exchange_one(struct vcrq_adapter *adapter,
		      struct vcrq_request *request, union vcrq_entry *entry,
		      enum vcrq_phase phase)
{
	unsigned long flags;
	bool waits;
	long rc;

	init_completion(&request->done);
	spin_lock_irqsave(&adapter->lock, flags);
	if (adapter->phase != phase) {
		spin_unlock_irqrestore(&adapter->lock, flags);
		return -ENOTCONN;
	}
	request->sequence = ++adapter->sequence;
	request->life = adapter->life;
	entry->command.sequence = request->sequence;
	entry->command.session = adapter->session & 0xff;
	list_add_tail(&request->list, &adapter->requests);
	/* Under the lock: no loss comes between the session's byte and this. */
	rc = vcrq_send_entry(adapter, entry);
	spin_unlock_irqrestore(&adapter->lock, flags);

	if (rc == H_DROPPED)
		vcrq_end_session(adapter, VCRQ_RULE_PARTNER_STALLED,
				 request->msg_id, request->device);
	/* After H_Closed the news of the partner's going is on its way. */
	if (wait_for_completion_timeout(&request->done,
					VCRQ_REQUEST_SECONDS * HZ))
		return request->result;

	spin_lock_irqsave(&adapter->lock, flags);
	waits = !list_empty(&request->list);
	list_del_init(&request->list);
	spin_unlock_irqrestore(&adapter->lock, flags);
	if (!waits)
		return request->result;
	vcrq_end_session(adapter, VCRQ_RULE_PARTNER_STALLED, request->msg_id,
			 request->device);
	return -ETIMEDOUT;
}

/* Whether payload and answer both fit an entry. */
static bool vcrq_fits_entry(const struct vcrq_exchange *exchange)
{
	return exchange->ask_length <= VCRQ_INLINE_MAX &&
	       exchange->answer_max <= VCRQ_INLINE_MAX;
}

/*
 * Process context; the caller sees to it that this device has no other request
 * under way.  Returns the answer's length or an error.
 */
int vcrq_ask(struct vcrq_adapter *adapter, struct vcrq_exchange *exchange)
{
	struct vcrq_request request = {
		.bus = exchange->bus,
		.device = exchange->device,
		.msg_id = exchange->msg_id,
		.slot = -1,
		.answer_min = exchange->answer_min,
		.answer_max = exchange->answer_max,
	};
	union vcrq_entry entry = {
		.command.header = VCRQ_HEADER_COMMAND,
		.command.flags = exchange->bus ? VCRQ_FLAG_BUS : 0,
		.command.msg_id = exchange->msg_id,
		.command.device = cpu_to_le16(exchange->device),
	};
	struct vcrq_area_place *place = (void *)entry.command.payload;
	const void *answer = request.answer;
	int result;

	if (vcrq_fits_entry(exchange)) {
		entry.command.length = exchange->ask_length;
		memcpy(entry.command.payload, exchange->ask,
		       exchange->ask_length);
	} else {
		request.slot = vcrq_take_slot(adapter, exchange->msg_id,
					      exchange->device);
		if (request.slot < 0)
			return request.slot;
		memcpy(vcrq_slot(adapter, request.slot), exchange->ask,
		       exchange->ask_length);
		entry.command.flags |= VCRQ_BODY_AREA << VCRQ_BODY_SHIFT;
		place->slot = cpu_to_le16(request.slot);
		place->length = cpu_to_le16(exchange->ask_length);
	}
	result = vcrq_exchange_one(adapter, &request, &entry, VCRQ_ACTIVE);
	if (result == -EREMOTEIO)
		dev_warn_ratelimited(vcrq_dev(adapter),
				     "device %u refused message %#x: reason %u\n",
				     request.device, request.msg_id,
				     request.reason);
	if (!result) {
		/* Copied once, and only the copy is decoded (CRQ-F-13). */
		if (!request.inlined)
			answer = vcrq_slot(adapter, request.slot);
		memcpy(exchange->answer, answer, request.length);
		result = request.length;
	}
	if (request.slot >= 0)
		vcrq_give_slot(adapter, request.slot);
	return result;
}

/* Process context.  An answer of exactly this length; 0 or an error. */
int vcrq_ask_device(struct vcrq_device *device, u8 msg_id, const void *ask,
		    u16 ask_length, void *answer, u16 answer_length)
{
	struct vcrq_exchange exchange = {
		.msg_id = msg_id,
		.device = device->number,
		.ask = ask,
		.ask_length = ask_length,
		.answer = answer,
		.answer_max = answer_length,
		.answer_min = answer_length,
	};
	int result;

	mutex_lock(&device->ask);
	result = vcrq_ask(device->adapter, &exchange);
	mutex_unlock(&device->ask);
	return result < 0 ? result : 0;
}
