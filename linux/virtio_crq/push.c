// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pushed requests: the transport reads the driver's ring itself and makes a
 * record of each request in a ring of the window; completions come back as
 * records, too.  A request's header and status stand in them where this
 * partition knows what is behind their addresses, which is so for lent ones.
 *
 * Requests are taken only while an announcement may be sent.  So whenever some
 * are, the device has fetched every list before them (CRQ-D-147), and a kick
 * without credit costs nothing: the driver is not even asked to make it.
 */
#include <uapi/linux/virtio_blk.h>
#include <uapi/linux/virtio_ids.h>

#include "ring.h"

#define VCRQ_LENGTH_MOST	(BIT(24) - 1)

size_t vcrq_push_bytes(u16 size)
{
	/* Lists of what is announced, and of as much again that stood there at a return. */
	return size * (sizeof(struct vcrq_record) +
		       sizeof(struct vcrq_completion) +
		       2 * sizeof(struct vring_desc));
}

/* Process context, the queue's memory is there. */
void vcrq_push_layout(struct vcrq_queue *queue)
{
	queue->records = queue->shared;
	queue->completions = (void *)(queue->records + queue->size);
	queue->lists = (void *)(queue->completions + queue->size);
}

dma_addr_t vcrq_push_completions(const struct vcrq_queue *queue)
{
	return queue->shared_dma + queue->size * sizeof(struct vcrq_record);
}

static u64 vcrq_desc_address(const struct vring_desc *desc)
{
	return le64_to_cpu((__force __le64)desc->addr);
}

/* queue->lock is held.  A list of `count` descriptors of a chain, from `from` on; its place. */
static u64 vcrq_make_list(struct vcrq_queue *queue,
			  const struct vring_desc *from, unsigned int count)
{
	struct vring_desc *into = &queue->lists[queue->list_next];
	u64 at = queue->shared_dma + ((void *)into - queue->shared);
	unsigned int index;
	u16 flags;

	queue->list_next += count;
	for (index = 0; index < count; index++, into++) {
		flags = ring16(from->flags) & VRING_DESC_F_WRITE;
		if (index + 1 < count)
			flags |= VRING_DESC_F_NEXT;
		into->addr = from->addr;
		into->len = from->len;
		into->flags = to_ring16(flags);
		into->next = to_ring16(index + 1);
		from = vcrq_next_desc(queue, from);
	}
	return at | (u64)(count * sizeof(*into)) << VCRQ_RECORD_ADDRESS_BITS;
}

/* queue->lock is held.  Where the record says that the rest of the chain is. */
static void vcrq_place_rest(struct vcrq_queue *queue,
			    const struct vring_desc *from, unsigned int count,
			    struct vcrq_record *record)
{
	u64 address, place = 0;
	u32 length;

	if (count) {
		address = vcrq_desc_address(from);
		length = ring32(from->len);
		if (count == 1 && length && length <= VCRQ_LENGTH_MOST &&
		    !(address >> VCRQ_RECORD_ADDRESS_BITS)) {
			place = address | (u64)length << VCRQ_RECORD_ADDRESS_BITS;
			if (ring16(from->flags) & VRING_DESC_F_WRITE)
				record->flags |= VCRQ_RECORD_WRITE;
		} else {
			place = vcrq_make_list(queue, from, count);
			record->flags |= VCRQ_RECORD_LIST;
		}
	}
	record->place = cpu_to_le64(place);
}

/* queue->lock is held.  Has the record stand at the next position (CRQ-F-61). */
static void vcrq_stand(struct vcrq_queue *queue, u16 id, u32 session)
{
	struct vcrq_record *record = &queue->pushed[id].record;

	record->marker = VCRQ_RECORD_MARKER;
	record->head = cpu_to_le16(id);
	record->device = cpu_to_le16(queue->device->number);
	record->queue = queue->index;
	record->session = session;
	memcpy(&queue->records[queue->shown & (queue->size - 1)], record,
	       sizeof(*record));
}

/* queue->lock is held.  The last descriptor of a chain, and how many it has. */
static const struct vring_desc *vcrq_chain_end(struct vcrq_queue *queue, u16 id,
					       unsigned int *count)
{
	const struct vring_desc *desc = &queue->ring.desc[id];

	*count = 1;
	while (ring16(desc->flags) & VRING_DESC_F_NEXT && *count < queue->size) {
		desc = vcrq_next_desc(queue, desc);
		++*count;
	}
	return desc;
}

/* queue->lock is held.  The chain's descriptors but for those that are inside the record. */
static const struct vring_desc *vcrq_rest(struct vcrq_queue *queue, u16 id,
					  u8 flags, unsigned int *count)
{
	const struct vring_desc *first = &queue->ring.desc[id];

	vcrq_chain_end(queue, id, count);
	if (flags & VCRQ_RECORD_TAIL)
		--*count;
	if (!(flags & VCRQ_RECORD_INLINED))
		return first;
	--*count;
	return vcrq_next_desc(queue, first);
}

/*
 * queue->lock is held.  What of a chain stands in its record: the leading
 * bytes, kept for a return (CRQ-F-68), and the place of the last one.
 */
static void vcrq_look_inside(struct vcrq_queue *queue, u16 id,
			     struct vcrq_pushed *pushed)
{
	struct vcrq_adapter *adapter = queue->device->adapter;
	const struct vring_desc *first = &queue->ring.desc[id], *last;
	u32 length = ring32(first->len);
	unsigned int count;
	const void *memory;

	pushed->tail = NULL;
	memset(&pushed->record, 0, sizeof(pushed->record));
	if (!(ring16(first->flags) & VRING_DESC_F_WRITE) && length &&
	    length <= VCRQ_INLINED_MOST) {
		memory = vcrq_lent_memory(adapter, vcrq_desc_address(first));
		if (memory) {
			memcpy(pushed->record.inlined, memory, length);
			pushed->record.flags = length;
		}
	}
	last = vcrq_chain_end(queue, id, &count);
	if (!(ring16(last->flags) & VRING_DESC_F_WRITE) ||
	    ring32(last->len) != 1)
		return;
	pushed->tail = vcrq_lent_memory(adapter, vcrq_desc_address(last));
	if (!pushed->tail)
		return;
	pushed->record.flags |= VCRQ_RECORD_TAIL;
	/* Of a request whose device writes none, this is how it ended (CRQ-F-101). */
	if (queue->device->device_id == VIRTIO_ID_BLOCK)
		WRITE_ONCE(*pushed->tail, VIRTIO_BLK_S_IOERR);
}

/* queue->lock is held.  The record of the chain at `id`, which the driver made available. */
void vcrq_push_put(struct vcrq_queue *queue, u16 id)
{
	struct vcrq_pushed *pushed = &queue->pushed[id];
	const struct vring_desc *rest;
	unsigned int count;

	/* Every list is the device's no more, if it owes nothing (CRQ-F-62). */
	if (queue->shown == queue->announced && !queue->lists_stand)
		queue->list_next = 0;
	vcrq_look_inside(queue, id, pushed);
	rest = vcrq_rest(queue, id, pushed->record.flags, &count);
	vcrq_place_rest(queue, rest, count, &pushed->record);
	vcrq_stand(queue, id, queue->session);
}

/* queue->lock is held.  The rule that a completion breaks, or VCRQ_RULES (CRQ-F-65, CRQ-F-66). */
static enum vcrq_rule vcrq_check_completion(struct vcrq_queue *queue, u64 word,
					    u64 value)
{
	u64 name = queue->device->number | (u64)queue->index << 16 |
		   (u64)(queue->session & 0xff) << 24;
	u8 flags = word >> 8, tail = value >> 32;
	u16 id = word >> 16;
	u32 written = value;
	enum vcrq_rule rule;

	if ((word & 0xff) != VCRQ_RECORD_MARKER || word >> 32 != name ||
	    flags & ~VCRQ_RECORD_TAIL || value >> 40 ||
	    (!(flags & VCRQ_RECORD_TAIL) && tail))
		return VCRQ_RULE_COMPLETION_FORM;
	rule = vcrq_check_head(queue, id, written);
	if (rule != VCRQ_RULES)
		return rule;
	if (!(flags & VCRQ_RECORD_TAIL))
		return queue->pushed[id].tail ? VCRQ_RULES :
			vcrq_check_short(queue, id, written);
	if (!queue->pushed[id].tail)
		return VCRQ_RULE_COMPLETION_TAIL;
	if (queue->device->device_id == VIRTIO_ID_BLOCK &&
	    queue->heads[id].reads && written < queue->heads[id].writable &&
	    tail == VIRTIO_BLK_S_OK)
		return VCRQ_RULE_USED_LENGTH_SHORT;
	return VCRQ_RULES;
}

/*
 * queue->lock is held.  Takes the completions that were announced, each word
 * read once.  What their requests were lent is the driver's again when this
 * returns; the used index, which the driver looks at, covers none of them yet.
 */
void vcrq_push_reap(struct vcrq_queue *queue, struct vcrq_breach *breach)
{
	const __le64 *words;
	u64 word, value;
	u16 id;

	while (queue->reaped != queue->told) {
		words = (const __le64 *)&queue->completions[queue->reaped &
							     (queue->size - 1)];
		word = le64_to_cpu(READ_ONCE(words[0]));
		value = le64_to_cpu(READ_ONCE(words[1]));
		breach->rule = vcrq_check_completion(queue, word, value);
		id = word >> 16;
		if (breach->rule != VCRQ_RULES) {
			breach->first = id;
			breach->second = value;
			break;
		}
		if ((word >> 8) & VCRQ_RECORD_TAIL)
			WRITE_ONCE(*queue->pushed[id].tail, value >> 32);
		vcrq_chain_each(queue, id, vcrq_give_back);
		vcrq_give(queue, id, value);
	}
}

/*
 * Session work.  The records of what is in flight stand again from position 0,
 * in their order, with what was inlined at first (CRQ-F-68); lists are made anew.
 */
void vcrq_push_again(struct vcrq_queue *queue,
		     const struct vcrq_head *const *order, u16 count,
		     u32 session)
{
	const struct vring_desc *first;
	struct vcrq_record *record;
	unsigned int rest;
	u16 at, id;

	queue->shown = 0;
	queue->reaped = 0;
	queue->told = 0;
	queue->list_next = 0;
	queue->lists_stand = true;
	for (at = 0; at < count; at++) {
		id = order[at] - queue->heads;
		record = &queue->pushed[id].record;
		if (record->flags & VCRQ_RECORD_LIST) {
			first = vcrq_rest(queue, id, record->flags, &rest);
			record->place = cpu_to_le64(vcrq_make_list(queue, first,
								   rest));
		}
		vcrq_stand(queue, id, session);
		queue->heads[id].position = queue->shown++;
	}
	memset(queue->completions, 0,
	       queue->size * sizeof(*queue->completions));
}
