/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Waiting in place of a caller that will not call again. Stock Linux takes no notice of a TCE call's code when it takes
 * a mapping back: it would hand the page on while the copy that kept the call busy still runs.
 *
 * A copy that runs is over in microseconds. One that does not end belongs to a process that is stopped or starved, which
 * on hardware a partition cannot do to its hypervisor: the machine is told, and powers that partition off.
 */
#define _GNU_SOURCE
#include <time.h>

#include "redirect.h"

#define PAUSE_NS 50000

const struct hv_patience hv_guest_patience = { .alarm_ns = 1000000000ull, .limit_ns = 10000000000ull };

static void hv_sleep(void)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	nanosleep(&pause, 0);
}

/* Whom the machine is to be told of, who has been in the way since `since`. */
struct hv_alarm {
	struct hv_partition *obstructor;
	uint64_t since;
	int told;
};

static void hv_tell(struct hv_alarm *alarm, int told)
{
	if (alarm->told != told)
		__atomic_store_n(&alarm->obstructor->obstructs, (uint32_t)told, __ATOMIC_RELEASE);
	alarm->told = told;
}

/* Only who is in the way without a break is told of: a guest's own copies make it wait as well, and it must not be able
 * to have its partner powered off. */
static void hv_look(struct hv_caller *caller, const struct hv_revocation *revocation, struct hv_alarm *alarm, uint64_t now,
		    uint64_t alarm_ns)
{
	struct hv_header *state = caller->state;
	const struct hv_adapter *adapter = revocation->adapter;
	uint64_t page = revocation->ioba / TCE_PAGE, count = revocation->length / TCE_PAGE;

	if (!hv_range_in_partners_use(state, adapter, revocation->ioba, revocation->length) &&
	    !hv_clones_in_use(state, adapter, page, count) && !hv_clones_hold(state, adapter, page, count)) {
		alarm->since = now;
		hv_tell(alarm, 0);
	} else if (now - alarm->since >= alarm_ns) {
		hv_tell(alarm, 1);
	}
}

int64_t hv_be_patient(struct hv_caller *caller, const struct hv_revocation *revocation, const struct hv_patience *patience)
{
	const struct hv_adapter *adapter = revocation->adapter;
	uint64_t begun = hv_now(), now = begun;
	struct hv_alarm alarm = { .since = begun };
	int64_t code;

	if (adapter->partner != HV_NONE)
		alarm.obstructor = hv_partition(caller->state, hv_adapter(caller->state, adapter->partner)->partition);
	do {
		hv_sleep();
		if (hv_stale(caller)) {
			code = H_HARDWARE;
			break;
		}
		code = revocation->again(caller, revocation->what);
		now = hv_now();
		if (hv_in_the_way(code))
			hv_look(caller, revocation, &alarm, now, patience->alarm_ns);
	} while (hv_in_the_way(code) && now - begun < patience->limit_ns);
	hv_tell(&alarm, 0);
	return code;
}
