/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "stops.h"

#ifdef STOP_POINTS

#define HV_STOP_NAME(name) #name,
static const char *const names[] = { HV_STOPS(HV_STOP_NAME) 0 };
#undef HV_STOP_NAME

static volatile int armed;
static int armed_signal;
static unsigned armed_skip;

void hv_stop(enum hv_stop point)
{
	if ((int)point != armed)
		return;
	if (armed_skip) {
		armed_skip--;
		return;
	}
	armed = 0;
	kill(getpid(), armed_signal);
}

int hv_stop_arm(const char *name, int signal, unsigned skip)
{
	for (int index = 0; names[index]; index++) {
		if (strcmp(names[index], name))
			continue;
		armed_signal = signal;
		armed_skip = skip;
		armed = index + 1;
		return 0;
	}
	return -1;
}

#else

static const char *const names[] = { 0 };

int hv_stop_arm(const char *name, int signal, unsigned skip)
{
	(void)name, (void)signal, (void)skip;
	return -1;
}

#endif

const char *const *hv_stop_names(void)
{
	return names;
}
