// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of the connection: initialization, HELLO, loss and return.
 *
 * CLOSED -> REGISTERED --0xC001 or 0xC002--> INITIALIZED --HELLO--> ACTIVE
 *              ^   ^                              |                   |
 *              |   '---- 0xFF01, 0xFF02, 0xFF04 --+-------------------+
 *              '-- RESETTING <-- protocol error --'-------------------'
 *
 * A partner's going never makes this side register again: two sides that do
 * so in answer to each other do not stop.
 */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <asm/hvcall.h>

#include "virtio_crq.h"

/* adapter->lock is held.  What was asked is not answered any more. */
static void vcrq_lost(struct vcrq_adapter *adapter, enum vcrq_phase phase)
{
	if (adapter->session)
		adapter->lost_session = adapter->number;
	WRITE_ONCE(adapter->session, 0);
	adapter->life++;
	adapter->phase = phase;
	vcrq_abandon_requests(adapter);
}

/* Any context, no lock held. */
static void vcrq_change(struct vcrq_adapter *adapter, enum vcrq_phase phase)
{
	unsigned long flags;

	spin_lock_irqsave(&adapter->lock, flags);
	/* What is to be freed or enabled stays so until it was. */
	if (adapter->phase != VCRQ_RESETTING && adapter->phase != VCRQ_CLOSED &&
	    (adapter->phase != VCRQ_ENABLING || phase == VCRQ_RESETTING))
		vcrq_lost(adapter, phase);
	spin_unlock_irqrestore(&adapter->lock, flags);
	if (!test_bit(VCRQ_REMOVING, &adapter->flags))
		queue_work(adapter->session_queue, &adapter->session_work);
	else
		vcrq_break_all(adapter);	/* nobody waits for a return */
}

/*
 * Any context, no lock held.  The partner cannot be trusted with this session;
 * the devices are resumed in the next one (CRQ-F-19, CRQ-F-30, CRQ-F-36).
 */
void vcrq_end_session(struct vcrq_adapter *adapter, enum vcrq_rule rule,
		      u32 first, u32 second)
{
	vcrq_count(adapter, rule, first, second);
	vcrq_change(adapter, VCRQ_RESETTING);
}

/* Process context, session work or probe: our 0xC001, with a number of its own. */
void vcrq_call_out(struct vcrq_adapter *adapter)
{
	union vcrq_entry entry = {
		.command.header = VCRQ_HEADER_INIT,
		.command.flags = VCRQ_INIT_CALL,
	};
	unsigned long flags;
	u64 number;

	spin_lock_irqsave(&adapter->lock, flags);
	if (!++adapter->next_call)
		adapter->next_call++;
	number = adapter->next_call;
	entry.word[1] = cpu_to_be64(number);
	/* Set before the entry travels: the answer may be there at once. */
	adapter->called = number;
	spin_unlock_irqrestore(&adapter->lock, flags);

	/* H_Closed: the partner has yet to come, and will call out itself. */
	if (vcrq_send_entry(adapter, &entry) != H_SUCCESS) {
		spin_lock_irqsave(&adapter->lock, flags);
		if (adapter->called == number)
			adapter->called = 0;
		spin_unlock_irqrestore(&adapter->lock, flags);
	}
}

/* Interrupts off. */
static void vcrq_initialized(struct vcrq_adapter *adapter)
{
	spin_lock(&adapter->lock);
	if (adapter->phase == VCRQ_REGISTERED)
		adapter->phase = VCRQ_INITIALIZED;
	spin_unlock(&adapter->lock);
	queue_work(adapter->session_queue, &adapter->session_work);
}

/* Interrupts off.  An answer counts only if it repeats the number of the call. */
static void vcrq_initialization(struct vcrq_adapter *adapter,
				const union vcrq_entry *entry)
{
	union vcrq_entry answer = *entry;
	bool ours;

	switch (entry->command.flags) {
	case VCRQ_INIT_CALL:
		if (READ_ONCE(adapter->phase) != VCRQ_REGISTERED)
			vcrq_change(adapter, VCRQ_REGISTERED);
		memset(&answer.byte[2], 0, 6);
		answer.command.flags = VCRQ_INIT_COMPLETE;
		if (vcrq_send_entry(adapter, &answer) == H_SUCCESS)
			vcrq_initialized(adapter);
		break;
	case VCRQ_INIT_COMPLETE:
		spin_lock(&adapter->lock);
		ours = adapter->called &&
		       be64_to_cpu(entry->word[1]) == adapter->called;
		if (ours)
			adapter->called = 0;
		spin_unlock(&adapter->lock);
		if (ours)
			vcrq_initialized(adapter);
		else
			vcrq_count(adapter, VCRQ_RULE_INIT_STALE,
				   be64_to_cpu(entry->word[1]) >> 32,
				   be64_to_cpu(entry->word[1]));
		break;
	default:
		vcrq_count(adapter, VCRQ_RULE_INIT_CODE, entry->command.flags,
			   0);
	}
}

/* Interrupts off.  Of several before the log's turn comes it tells the last. */
static void vcrq_log_event(struct vcrq_adapter *adapter, u8 code)
{
	WRITE_ONCE(adapter->event, code);
	queue_work(adapter->rescue_queue, &adapter->log_work);
}

/* Interrupts off. */
static void vcrq_transport_event(struct vcrq_adapter *adapter, u8 code)
{
	switch (code) {
	case VCRQ_EVENT_FAILED:
	case VCRQ_EVENT_DEREGISTERED:
	case VCRQ_EVENT_TERMINATED:
		vcrq_log_event(adapter, code);
		vcrq_change(adapter, VCRQ_REGISTERED);
		break;
	case VCRQ_EVENT_SUSPENDED:
		vcrq_change(adapter, VCRQ_ENABLING);
		break;
	case VCRQ_EVENT_FAILOVER:
	case VCRQ_EVENT_PREPARE:
	case VCRQ_EVENT_RESUMED:
		break;
	default:
		/* Of an event that nobody knows the worst is assumed. */
		vcrq_log_event(adapter, code);
		vcrq_change(adapter, VCRQ_RESETTING);
	}
}

/* Interrupts off.  A frame whose unused parts are not zero is dropped (CRQ-F-2). */
static bool vcrq_frame_ok(const struct vcrq_command *command)
{
	u8 form = command->flags >> VCRQ_BODY_SHIFT;
	bool response = command->flags & VCRQ_FLAG_RESPONSE;
	bool bus = command->flags & VCRQ_FLAG_BUS;
	bool event = command->msg_id & 0x40;
	const struct vcrq_hello_place *hello = (const void *)command->payload;
	const struct vcrq_area_place *area = (const void *)command->payload;

	if (form > VCRQ_BODY_HELLO || command->length > VCRQ_INLINE_MAX)
		return false;
	if (event && (response || form != VCRQ_BODY_INLINE))
		return false;
	if ((form == VCRQ_BODY_HELLO) != (bus && command->msg_id == VCRQ_HELLO))
		/* REFUSED and the like are events and come inline */
		return false;
	if (bus && command->device && command->msg_id != VCRQ_CREDIT)
		return false;
	if (form == VCRQ_BODY_INLINE)
		return !memchr_inv(command->payload + command->length, 0,
				   VCRQ_INLINE_MAX - command->length);
	if (command->length)
		return false;
	return form == VCRQ_BODY_AREA ? !area->reserved : !hello->reserved;
}

/* Interrupts off: an announcement that is not right in every field (CRQ-F-10). */
static enum vcrq_rule vcrq_bad_announcement(const struct vcrq_command *command,
					    bool credit)
{
	const struct vcrq_announcement *body = (const void *)command->payload;
	u32 position = le32_to_cpu(body->position);

	if (command->sequence & ~1)
		return VCRQ_RULE_FRAME;
	if (command->length != sizeof(*body) ||
	    position > (credit ? VCRQ_CREDIT_USED : 0xffff))
		return VCRQ_RULE_MESSAGE_SIZE;
	return VCRQ_RULE_MESSAGE_DIRECTION;
}

/* Interrupts off.  Requests are the front-end's; here responses and events come. */
static void vcrq_control(struct vcrq_adapter *adapter,
			 const union vcrq_entry *entry)
{
	const struct vcrq_command *command = &entry->command;
	const struct vcrq_event_config *config = (void *)command->payload;
	const struct vcrq_event_device *device = (void *)command->payload;
	bool bus = command->flags & VCRQ_FLAG_BUS;
	u32 session = READ_ONCE(adapter->session);
	bool greeting = bus && command->msg_id == VCRQ_HELLO;

	if (!vcrq_frame_ok(command)) {
		vcrq_count(adapter, VCRQ_RULE_FRAME, command->flags,
			   command->msg_id);
	} else if (!session && READ_ONCE(adapter->phase) != VCRQ_INITIALIZED) {
		vcrq_count(adapter, VCRQ_RULE_SESSION_NONE, command->msg_id, 0);
	} else if (!greeting && command->session != (session & 0xff)) {
		vcrq_count(adapter, VCRQ_RULE_SESSION_STALE, command->session,
			   session);
	} else if (command->flags & VCRQ_FLAG_RESPONSE) {
		vcrq_answered(adapter, entry);
	} else if (!bus && command->msg_id == VCRQ_REFUSED) {
		vcrq_refused(adapter, entry);
	} else if (!bus && command->msg_id == VCRQ_EVENT_CONFIG) {
		/* Cut to its first 8 bytes by the framing (section 15). */
		if (command->length != sizeof(*config))
			vcrq_count(adapter, VCRQ_RULE_MESSAGE_SIZE,
				   command->msg_id, command->length);
		else
			vcrq_config_event(adapter, le16_to_cpu(command->device),
					  le32_to_cpu(config->status));
	} else if (bus && command->msg_id == VCRQ_EVENT_DEVICE) {
		if (command->length != sizeof(*device))
			vcrq_count(adapter, VCRQ_RULE_MESSAGE_SIZE,
				   command->msg_id, command->length);
		else
			vcrq_device_event(adapter, le16_to_cpu(device->device),
					  le16_to_cpu(device->state));
	} else if (command->msg_id == (bus ? VCRQ_CREDIT : VCRQ_EVENT_USED)) {
		vcrq_count(adapter, vcrq_bad_announcement(command, bus),
			   command->msg_id, command->length);
	} else {
		vcrq_count(adapter, VCRQ_RULE_MESSAGE_DIRECTION,
			   command->msg_id, command->flags);
	}
}

/* Interrupts off, under DRAINING: one entry that was taken out of the ring. */
void vcrq_take_entry(struct vcrq_adapter *adapter,
		     const union vcrq_entry *entry)
{
	u64 high = be64_to_cpu(entry->word[0]);
	u32 session = READ_ONCE(adapter->session);

	switch (READ_ONCE(adapter->phase)) {
	case VCRQ_CLOSED:
	case VCRQ_RESETTING:
	case VCRQ_ENABLING:
		return;		/* left over from before */
	default:
		break;
	}
	switch (entry->command.header) {
	case VCRQ_HEADER_COMMAND:
		if (session && vcrq_announced(adapter, high,
					      be64_to_cpu(entry->word[1]),
					      session))
			return;
		vcrq_control(adapter, entry);
		break;
	case VCRQ_HEADER_INIT:
		vcrq_initialization(adapter, entry);
		break;
	case VCRQ_HEADER_EVENT:
		vcrq_transport_event(adapter, entry->command.flags);
		break;
	default:
		vcrq_count(adapter, VCRQ_RULE_FRAME_HEADER,
			   entry->command.header, 0);
	}
}

/* Session work, under DRAINING.  0 when the CRQ is open again. */
static int vcrq_open_again(struct vcrq_adapter *adapter)
{
	enum vcrq_phase phase = READ_ONCE(adapter->phase);

	if (phase == VCRQ_ENABLING && !vcrq_enable(adapter))
		return 0;
	if (phase != VCRQ_CLOSED)
		vcrq_free(adapter);
	return vcrq_register(adapter);
}

/*
 * Session work: free and register again, or enable again.  DRAINING keeps
 * interrupts, works and kicks that poll from a ring that is cleared; whom it
 * turned away left the signal off, and the worker turns it on.
 *
 * The interrupt itself stays enabled.  To disable it while its handler runs on
 * another CPU, which may be the one that asked for this, leaves an XIVE source
 * without its end of interrupt: no further one would come.
 */
static int vcrq_recover(struct vcrq_adapter *adapter)
{
	unsigned long flags;
	int error;

	vio_disable_interrupts(adapter->vio);
	/* Who else holds it does so for one burst, with interrupts off. */
	while (test_and_set_bit_lock(VCRQ_DRAINING, &adapter->flags))
		usleep_range(50, 200);
	error = vcrq_open_again(adapter);
	spin_lock_irqsave(&adapter->lock, flags);
	adapter->called = 0;
	if (error)
		vcrq_lost(adapter, VCRQ_CLOSED);
	else
		adapter->phase = VCRQ_REGISTERED;
	spin_unlock_irqrestore(&adapter->lock, flags);
	clear_bit_unlock(VCRQ_DRAINING, &adapter->flags);
	if (error)
		return error;
	queue_work(adapter->rescue_queue, &adapter->drain_work);
	vcrq_call_out(adapter);
	return 0;
}

/*
 * Process context, one at a time.  Brings the connection to a session and what
 * devices there are in accord with it.  Waits for answers, never for drivers.
 */
static void vcrq_connect(struct vcrq_adapter *adapter)
{
	enum vcrq_phase phase = READ_ONCE(adapter->phase);
	int error = 0;

	if (test_bit(VCRQ_REMOVING, &adapter->flags))
		return;
	if (phase == VCRQ_RESETTING || phase == VCRQ_ENABLING ||
	    phase == VCRQ_CLOSED)
		error = vcrq_recover(adapter);

	if (READ_ONCE(adapter->phase) == VCRQ_INITIALIZED) {
		error = vcrq_greet(adapter);
		if (!error)
			set_bit(VCRQ_RESCAN, &adapter->flags);
	}
	if (READ_ONCE(adapter->phase) == VCRQ_ACTIVE &&
	    test_and_clear_bit(VCRQ_RESCAN, &adapter->flags)) {
		error = vcrq_list_devices(adapter);
		if (!error)
			vcrq_resume_devices(adapter);
	}
	/* Who greets and does not carry on is away all the same. */
	if ((READ_ONCE(adapter->phase) != VCRQ_ACTIVE ||
	     adapter->session != adapter->resumed) && vcrq_away_seconds)
		queue_delayed_work(adapter->rescue_queue, &adapter->away_work,
				   vcrq_away_seconds * HZ);
	/*
	 * A partner that calls itself there but gives nonsense is asked again,
	 * and so is a platform that would not open the CRQ.
	 */
	phase = READ_ONCE(adapter->phase);
	if (error && (phase == VCRQ_ACTIVE || phase == VCRQ_CLOSED))
		queue_delayed_work(adapter->session_queue, &adapter->retry_work,
				   HZ);
}

/* Process context.  What it allocates must not wait for a disk that waits for it. */
void vcrq_session_work(struct work_struct *work)
{
	unsigned int noio = memalloc_noio_save();

	vcrq_connect(container_of(work, struct vcrq_adapter, session_work));
	memalloc_noio_restore(noio);
}

/* Process context. */
void vcrq_retry_work(struct work_struct *work)
{
	struct vcrq_adapter *adapter =
		container_of(work, struct vcrq_adapter, retry_work.work);

	set_bit(VCRQ_RESCAN, &adapter->flags);
	vcrq_session_work(&adapter->session_work);
}
