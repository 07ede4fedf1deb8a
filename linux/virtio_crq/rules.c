// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rules that a device side can break: their names, what was counted, and
 * one line in the log.  sysfs shows the counts in the adapter's `rules`.
 */
#include <linux/device.h>
#include <linux/sysfs.h>

#include "virtio_crq.h"

static const char * const vcrq_rule_names[VCRQ_RULES] = {
	[VCRQ_RULE_FRAME] = "frame",
	[VCRQ_RULE_FRAME_HEADER] = "frame-header",
	[VCRQ_RULE_INIT_CODE] = "init-code",
	[VCRQ_RULE_INIT_STALE] = "init-stale",
	[VCRQ_RULE_WELCOME] = "welcome",
	[VCRQ_RULE_HELLO_REVISION] = "hello-revision",
	[VCRQ_RULE_SESSION_NONE] = "session-none",
	[VCRQ_RULE_SESSION_STALE] = "session-stale",
	[VCRQ_RULE_RESPONSE_STALE] = "response-stale",
	[VCRQ_RULE_MESSAGE_SIZE] = "message-size",
	[VCRQ_RULE_MESSAGE_DIRECTION] = "message-direction",
	[VCRQ_RULE_MESSAGE_UNKNOWN] = "message-unknown",
	[VCRQ_RULE_DEVICES_WINDOW] = "devices-window",
	[VCRQ_RULE_DEVICE_STATE] = "device-state",
	[VCRQ_RULE_DEVICE_UNKNOWN] = "device-unknown",
	[VCRQ_RULE_FEATURE_BLOCK] = "feature-block",
	[VCRQ_RULE_FEATURES_MANDATORY] = "features-mandatory",
	[VCRQ_RULE_QUEUE_COUNT] = "queue-count",
	[VCRQ_RULE_QUEUE_MISSING] = "queue-missing",
	[VCRQ_RULE_QUEUE_SIZE] = "queue-size",
	[VCRQ_RULE_CONFIG_ANSWER] = "config-answer",
	[VCRQ_RULE_CONFIG_GENERATION] = "config-generation",
	[VCRQ_RULE_STATUS_ANSWER] = "status-answer",
	[VCRQ_RULE_ANNOUNCEMENT_QUEUE] = "announcement-queue",
	[VCRQ_RULE_CREDIT_OVERRUN] = "credit-overrun",
	[VCRQ_RULE_CREDIT_UNOWED] = "credit-unowed",
	[VCRQ_RULE_USED_AHEAD] = "used-ahead",
	[VCRQ_RULE_USED_UNKNOWN] = "used-unknown",
	[VCRQ_RULE_USED_LENGTH] = "used-length",
	[VCRQ_RULE_USED_LENGTH_SHORT] = "used-length-short",
	[VCRQ_RULE_ENTROPY_EMPTY] = "entropy-empty",
	[VCRQ_RULE_COMPLETION_FORM] = "completion-form",
	[VCRQ_RULE_COMPLETION_TAIL] = "completion-tail",
	[VCRQ_RULE_PARTNER_STALLED] = "partner-stalled",
	[VCRQ_RULE_RESUME_TYPE] = "resume-type",
	[VCRQ_RULE_RESUME_IDENTITY] = "resume-identity",
	[VCRQ_RULE_RESUME_FEATURES] = "resume-features",
	[VCRQ_RULE_RESUME_STATE] = "resume-state",
	[VCRQ_RULE_RESUME_QUEUE] = "resume-queue",
	[VCRQ_RULE_RESUME_POSITIONS] = "resume-positions",
	[VCRQ_RULE_RESUME_PUSH] = "resume-push",
	[VCRQ_RULE_RESUME_OTHER] = "resume-other",
	[VCRQ_RULE_DEVICE_NEEDS_RESET] = "device-needs-reset",
	[VCRQ_RULE_DEVICE_REMOVED] = "device-removed",
	[VCRQ_RULE_DEVICE_MISSING] = "device-missing",
	[VCRQ_RULE_PARTNER_AWAY] = "partner-away",
};

/* What the log says of a transport event. */
static const char *vcrq_event_name(u32 event)
{
	switch (event) {
	case VCRQ_EVENT_FAILED:
	case VCRQ_EVENT_DEREGISTERED:
	case VCRQ_EVENT_TERMINATED:
		return "the partner left";
	default:
		return "not known, the session is ended";
	}
}

const char *vcrq_rule_name(enum vcrq_rule rule)
{
	return vcrq_rule_names[rule];
}

/*
 * Any context, whatever locks are held.  A worker writes the log, since that
 * may go to a console that is one of our devices.
 */
void vcrq_count(struct vcrq_adapter *adapter, enum vcrq_rule rule, u32 first,
		u32 second)
{
	struct vcrq_tally *tally = &adapter->tallies[rule];

	WRITE_ONCE(tally->first, first);
	WRITE_ONCE(tally->second, second);
	atomic_inc(&tally->count);
	queue_work(adapter->rescue_queue, &adapter->log_work);
}

/* Process context.  Each rule's first breach is told, of others what the limit lets pass. */
static void vcrq_log_tally(struct vcrq_adapter *adapter, enum vcrq_rule rule)
{
	struct vcrq_tally *tally = &adapter->tallies[rule];
	int count = atomic_read(&tally->count);
	bool fresh = !tally->logged;

	if (count == tally->logged)
		return;
	tally->logged = count;
	if (fresh)
		dev_warn(vcrq_dev(adapter), "%s: %u, %u\n",
			 vcrq_rule_names[rule], READ_ONCE(tally->first),
			 READ_ONCE(tally->second));
	else
		dev_warn_ratelimited(vcrq_dev(adapter), "%s: %u, %u (%d)\n",
				     vcrq_rule_names[rule],
				     READ_ONCE(tally->first),
				     READ_ONCE(tally->second), count);
}

/* Process context, no lock held. */
void vcrq_log_work(struct work_struct *work)
{
	struct vcrq_adapter *adapter =
		container_of(work, struct vcrq_adapter, log_work);
	u32 event = xchg(&adapter->event, 0);
	int rule;

	if (event)
		dev_info_ratelimited(vcrq_dev(adapter), "event %#x: %s\n",
				     event, vcrq_event_name(event));
	for (rule = 0; rule < VCRQ_RULES; rule++)
		vcrq_log_tally(adapter, rule);
}

/* Process context. */
static ssize_t rules_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct vcrq_adapter *adapter = dev_get_drvdata(dev);
	int rule, count, at = 0;

	for (rule = 0; adapter && rule < VCRQ_RULES; rule++) {
		count = atomic_read(&adapter->tallies[rule].count);
		if (count)
			at += sysfs_emit_at(buf, at, "%s %d\n",
					    vcrq_rule_names[rule], count);
	}
	return at;
}
static DEVICE_ATTR_RO(rules);

/* Process context.  The session's number, 0 while the partner is away. */
static ssize_t session_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	struct vcrq_adapter *adapter = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%u\n", adapter && READ_ONCE(adapter->session) ?
			  READ_ONCE(adapter->number) : 0);
}
static DEVICE_ATTR_RO(session);

static struct attribute *vcrq_attrs[] = {
	&dev_attr_rules.attr,
	&dev_attr_session.attr,
	&dev_attr_pool.attr,
	&dev_attr_loans.attr,
	NULL
};

static const struct attribute_group vcrq_group = {
	.attrs = vcrq_attrs,
};

const struct attribute_group *vcrq_groups[] = {
	&vcrq_group,
	NULL
};
