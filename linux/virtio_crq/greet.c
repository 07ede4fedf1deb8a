// SPDX-License-Identifier: GPL-2.0-only
/*
 * HELLO, which has a place of its own, and what may answer it.
 */
#include "virtio_crq.h"

/*
 * Session work.  The transport features that HELLO offers: queues that there
 * are keep what they were made with (CRQ-F-69).  A window ends below 2^32
 * (CRQ-F-60), and what an indirect table names is not seen.
 */
static u64 vcrq_wishes(const struct vcrq_adapter *adapter)
{
	bool push = READ_ONCE(adapter->queue_count) ? adapter->push :
						      vcrq_push && !vcrq_indirect;

	return push ? VCRQ_PUSH : 0;
}

/* What a front-end must not build a session on (CRQ-F-5). */
static bool vcrq_welcome_ok(struct vcrq_adapter *adapter,
			    const struct vcrq_welcome *welcome)
{
	u8 low = le32_to_cpu(welcome->session) & 0xff;
	u32 message = le32_to_cpu(welcome->max_message);

	return le16_to_cpu(welcome->revision) == VCRQ_REVISION &&
	       !(le64_to_cpu(welcome->features) & ~adapter->offered) &&
	       low &&
	       low != (adapter->lost_session & 0xff) &&
	       message >= VCRQ_MESSAGE_MIN &&
	       message <= VCRQ_MESSAGE_HEADER + VCRQ_SLOT_BYTES &&
	       le16_to_cpu(welcome->copy_granularity) >= 2 &&
	       le32_to_cpu(welcome->ring_entries) >= VCRQ_RING_ENTRIES_MIN &&
	       welcome->copy_max;
}

/* adapter->lock is held.  Whether a ring has room for the queues that are enabled (CRQ-F-18). */
static bool vcrq_ring_suffices(const struct vcrq_adapter *adapter, u32 entries)
{
	return entries >= 2 * adapter->queue_count + adapter->device_count +
			  VCRQ_RING_SPARE;
}

/*
 * adapter->lock is held.  Servers that restart give their numbers again, to
 * every other session for instance, and what is kept of one, by device and by
 * queue, must not be taken for another's (CRQ-F-110).  Messages carry the
 * lowest byte, which is the number's.
 */
static u32 vcrq_name_session(struct vcrq_adapter *adapter, u32 number)
{
	return ++adapter->sessions << 8 | (number & 0xff);
}

/*
 * Session work.  What HELLO's answer says, or the rule that it breaks.  One of
 * a partner that has left since counts for nothing (CRQ-F-111): who is there
 * now, if somebody is, has yet to be greeted.
 */
static int vcrq_welcomed(struct vcrq_adapter *adapter,
			 const struct vcrq_welcome *welcome, u32 life)
{
	u32 entries = min_t(u32, VCRQ_RING_ENTRIES,
			    le32_to_cpu(welcome->ring_entries));
	unsigned long flags;
	int result;

	if (le32_to_cpu(welcome->magic) != VCRQ_HELLO_MAGIC) {
		vcrq_count(adapter, VCRQ_RULE_WELCOME,
			   le32_to_cpu(welcome->magic), VCRQ_HELLO_MAGIC);
		return -EPROTO;
	}
	if (!welcome->revision) {
		vcrq_count(adapter, VCRQ_RULE_HELLO_REVISION,
			   le16_to_cpu(welcome->highest_revision),
			   VCRQ_REVISION);
		return -EPROTO;
	}
	if (!vcrq_welcome_ok(adapter, welcome)) {
		vcrq_count(adapter, VCRQ_RULE_WELCOME,
			   le32_to_cpu(welcome->session),
			   le32_to_cpu(welcome->max_message));
		return -EPROTO;
	}
	spin_lock_irqsave(&adapter->lock, flags);
	if (adapter->phase != VCRQ_INITIALIZED || adapter->life != life) {
		result = -ENOTCONN;
	} else if (!vcrq_ring_suffices(adapter, entries)) {
		result = -EPROTO;
	} else {
		adapter->max_message = le32_to_cpu(welcome->max_message);
		adapter->ring_entries = entries;
		adapter->phase = VCRQ_ACTIVE;
		WRITE_ONCE(adapter->push,
			   le64_to_cpu(welcome->features) & VCRQ_PUSH);
		WRITE_ONCE(adapter->number, le32_to_cpu(welcome->session));
		WRITE_ONCE(adapter->session,
			   vcrq_name_session(adapter, adapter->number));
		result = 0;
	}
	spin_unlock_irqrestore(&adapter->lock, flags);
	if (result == -EPROTO)
		vcrq_count(adapter, VCRQ_RULE_WELCOME, entries,
			   adapter->queue_count);
	return result;
}

/* Session work: HELLO, the first message after initialization (CRQ-F-4). */
int vcrq_greet(struct vcrq_adapter *adapter)
{
	struct vcrq_hello *hello = vcrq_slot(adapter, VCRQ_HELLO_SLOT);
	struct vcrq_request request = {
		.bus = true,
		.msg_id = VCRQ_HELLO,
		.slot = VCRQ_HELLO_SLOT,
		.answer_min = sizeof(struct vcrq_welcome),
		.answer_max = sizeof(struct vcrq_welcome),
	};
	union vcrq_entry entry = {
		.command.header = VCRQ_HEADER_COMMAND,
		.command.flags = VCRQ_FLAG_BUS |
				 VCRQ_BODY_HELLO << VCRQ_BODY_SHIFT,
		.command.msg_id = VCRQ_HELLO,
	};
	struct vcrq_hello_place *place = (void *)entry.command.payload;
	struct vcrq_welcome welcome;
	unsigned long flags;
	int result;

	adapter->offered = vcrq_wishes(adapter);
	*hello = (struct vcrq_hello) {
		.magic = cpu_to_le32(VCRQ_HELLO_MAGIC),
		.revision = cpu_to_le16(VCRQ_REVISION),
		.lowest_revision = cpu_to_le16(VCRQ_REVISION),
		.features = cpu_to_le64(adapter->offered),
		.session = cpu_to_le32(adapter->lost_session),
		.max_message = cpu_to_le32(VCRQ_MESSAGE_HEADER +
					   VCRQ_SLOT_BYTES),
		.ring_entries = cpu_to_le32(VCRQ_RING_ENTRIES),
		.max_devices = cpu_to_le16(VCRQ_DEVICES_MAX),
		.copy_granularity = cpu_to_le16(2),
		.area_address = cpu_to_le64(adapter->area_dma),
		.area_slots = cpu_to_le16(VCRQ_SLOTS),
		.area_slot_size = cpu_to_le16(VCRQ_SLOT_BYTES),
	};
	place->ioba = cpu_to_le32(adapter->area_dma);
	place->length = cpu_to_le16(sizeof(*hello));
	result = vcrq_exchange_one(adapter, &request, &entry, VCRQ_INITIALIZED);
	if (!result) {
		memcpy(&welcome, hello, sizeof(welcome));
		result = vcrq_welcomed(adapter, &welcome, request.life);
	} else if (result == -EREMOTEIO) {
		vcrq_count(adapter, VCRQ_RULE_WELCOME, 0, 0);
	}
	if (result == -EPROTO || result == -EREMOTEIO) {
		spin_lock_irqsave(&adapter->lock, flags);
		if (adapter->phase == VCRQ_INITIALIZED &&
		    adapter->life == request.life)
			adapter->phase = VCRQ_UNUSABLE;
		spin_unlock_irqrestore(&adapter->lock, flags);
	}
	return result;
}
