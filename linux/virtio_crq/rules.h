/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rules that a device side can break, counted and named.
 */
#ifndef VIRTIO_CRQ_RULES_H
#define VIRTIO_CRQ_RULES_H

#include <linux/atomic.h>
#include <linux/types.h>

struct attribute_group;
struct vcrq_adapter;
struct work_struct;

/* Rules that a device side can break, in the words of the specification. */
enum vcrq_rule {
	VCRQ_RULE_FRAME,
	VCRQ_RULE_FRAME_HEADER,
	VCRQ_RULE_INIT_CODE,
	VCRQ_RULE_INIT_STALE,
	VCRQ_RULE_WELCOME,
	VCRQ_RULE_HELLO_REVISION,
	VCRQ_RULE_SESSION_NONE,
	VCRQ_RULE_SESSION_STALE,
	VCRQ_RULE_RESPONSE_STALE,
	VCRQ_RULE_MESSAGE_SIZE,
	VCRQ_RULE_MESSAGE_DIRECTION,
	VCRQ_RULE_MESSAGE_UNKNOWN,
	VCRQ_RULE_DEVICES_WINDOW,
	VCRQ_RULE_DEVICE_STATE,
	VCRQ_RULE_DEVICE_UNKNOWN,
	VCRQ_RULE_FEATURE_BLOCK,
	VCRQ_RULE_FEATURES_MANDATORY,
	VCRQ_RULE_QUEUE_COUNT,
	VCRQ_RULE_QUEUE_MISSING,
	VCRQ_RULE_QUEUE_SIZE,
	VCRQ_RULE_CONFIG_ANSWER,
	VCRQ_RULE_CONFIG_GENERATION,
	VCRQ_RULE_STATUS_ANSWER,
	VCRQ_RULE_ANNOUNCEMENT_QUEUE,
	VCRQ_RULE_CREDIT_OVERRUN,
	VCRQ_RULE_CREDIT_UNOWED,
	VCRQ_RULE_USED_AHEAD,
	VCRQ_RULE_USED_UNKNOWN,
	VCRQ_RULE_USED_LENGTH,
	VCRQ_RULE_USED_LENGTH_SHORT,
	VCRQ_RULE_ENTROPY_EMPTY,
	VCRQ_RULE_COMPLETION_FORM,
	VCRQ_RULE_COMPLETION_TAIL,
	VCRQ_RULE_PARTNER_STALLED,
	VCRQ_RULE_RESUME_TYPE,
	/* In the order of the outcomes from 1. */
	VCRQ_RULE_RESUME_IDENTITY,
	VCRQ_RULE_RESUME_FEATURES,
	VCRQ_RULE_RESUME_STATE,
	VCRQ_RULE_RESUME_QUEUE,
	VCRQ_RULE_RESUME_POSITIONS,
	VCRQ_RULE_RESUME_PUSH,
	VCRQ_RULE_RESUME_OTHER,
	VCRQ_RULE_DEVICE_NEEDS_RESET,
	VCRQ_RULE_DEVICE_REMOVED,
	VCRQ_RULE_DEVICE_MISSING,
	VCRQ_RULE_PARTNER_AWAY,
	VCRQ_RULES
};

/* How often a rule was broken, and what the log has to say of the last time. */
struct vcrq_tally {
	atomic_t count;
	u32 first;
	u32 second;
	int logged;		/* the log's work */
};

/* rules.c */
void vcrq_log_work(struct work_struct *work);
const char *vcrq_rule_name(enum vcrq_rule rule);
void vcrq_count(struct vcrq_adapter *adapter, enum vcrq_rule rule, u32 first,
		u32 second);
extern const struct attribute_group *vcrq_groups[];

#endif /* VIRTIO_CRQ_RULES_H */
