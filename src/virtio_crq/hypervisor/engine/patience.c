/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Waiting in place of a caller that will not call again. Stock Linux takes no notice of a TCE call's code when it takes
 * a mapping back: it would hand the page on while the copy that kept the call busy still runs.
 *
 * A copy that runs is over in microseconds. One that does not end belongs to a process that is stopped or starved, which
 * on hardware a partition cannot do to its hypervisor: the machine is told, and powers that partition off.
 */
#define _GNU_SOURCE
#include <time.h>

#include "calls.h"

#define PAUSE_NS 50000

const struct hv_patience hv_guest_patience = { .alarm_ns = 1000000000ull, .limit_ns = 10000000000ull };

static void hv_sleep(void)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	nanosleep(&pause, 0);
}

/* The partner's partition, if it is its call that runs in the adapter's window; else the calls are our own. */
static struct hv_partition *hv_obstructor(struct hv_caller *caller, const struct hv_adapter *adapter)
{
	const struct hv_adapter *partner;

	if (adapter->partner == HV_NONE)
		return 0;
	partner = hv_adapter(caller->state, adapter->partner);
	return partner->partition == adapter->partition ? 0 : hv_partition(caller->state, partner->partition);
}

int64_t hv_be_patient(struct hv_caller *caller, const struct hv_adapter *adapter, hv_attempt *again, void *what,
		      const struct hv_patience *patience)
{
	struct hv_partition *obstructor = hv_obstructor(caller, adapter);
	uint64_t begun = hv_now(), waited = 0;
	int told = 0;
	int64_t code;

	do {
		hv_sleep();
		if (hv_stale(caller)) {
			code = H_HARDWARE;
			break;
		}
		code = again(caller, what);
		waited = hv_now() - begun;
		if (code == H_BUSY && obstructor && !told && waited >= patience->alarm_ns) {
			__atomic_store_n(&obstructor->obstructs, 1, __ATOMIC_RELEASE);
			told = 1;
		}
	} while (code == H_BUSY && waited < patience->limit_ns);
	if (told)
		__atomic_store_n(&obstructor->obstructs, 0, __ATOMIC_RELEASE);
	return code;
}
