/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* H_VIOCTL. Order of checks: subfunction known, unit address, applicable to this adapter; unused parameters are 0. */
#include "calls.h"

#define PREPARE_LIMIT_MS 30000
#define PREPARE_VERSION 1

/* LoPAR's whole table; those that are not below apply to other adapters. */
static int hv_known(uint64_t subfunction)
{
	return (subfunction >= 0x1 && subfunction <= 0x14) || (subfunction >= 0x18 && subfunction <= 0x1e);
}

/* p1: 8 bits of zero, 24 bits of length, 32 bits of I/O address in pane 1. */
static int64_t hv_partner_info(struct hv_caller *caller, struct hv_adapter *adapter, uint64_t descriptor)
{
	const struct hv_adapter *partner;
	uint64_t words[2], bytes = descriptor >> 32 & 0xffffff, text;
	uint8_t buffer[sizeof words + HV_NAME];
	struct hv_pane pane = hv_pane_through(caller->state, adapter, 0);

	if (descriptor >> 56)
		return H_PARAMETER;
	if (adapter->partner == HV_NONE)
		return H_CLOSED;
	partner = hv_adapter(caller->state, adapter->partner);
	text = strnlen(partner->location, HV_NAME - 1) + 1;
	if (bytes < sizeof words + text)
		return H_CONSTRAINED;
	words[0] = hv_swap64(hv_partition(caller->state, partner->partition)->number);
	words[1] = hv_swap64(partner->unit_address);
	memcpy(buffer, words, sizeof words);
	memcpy(buffer + sizeof words, partner->location, text);
	return hv_move(caller, &pane, descriptor & 0xffffffff, buffer, sizeof words + text, 1) ? H_PARAMETER : H_SUCCESS;
}

static int64_t hv_partner_uuid(struct hv_caller *caller, const struct hv_adapter *adapter, uint64_t *registers)
{
	const struct hv_partition *partition;

	if (adapter->partner == HV_NONE)
		return H_CLOSED;
	partition = hv_partition(caller->state, hv_adapter(caller->state, adapter->partner)->partition);
	registers[0] = partition->uuid[0];
	registers[1] = partition->uuid[1];
	return H_SUCCESS;
}

/* To be asked for again after each registration; only a server prepares for its client's suspension. */
static int64_t hv_prepare_suspend(struct hv_adapter *adapter, uint64_t milliseconds, uint64_t *registers)
{
	if (!adapter->server || milliseconds > PREPARE_LIMIT_MS)
		return H_PARAMETER;
	if (__atomic_load_n(&adapter->state, __ATOMIC_ACQUIRE) == CRQ_CLOSED)
		return H_CLOSED;
	adapter->prepare_suspend = 1;
	registers[0] = PREPARE_VERSION;
	return H_SUCCESS;
}

static int64_t hv_ready_suspend(struct hv_adapter *adapter)
{
	if (!adapter->server)
		return H_PARAMETER;
	if (!adapter->prepare_suspend)
		return H_CONSTRAINED;
	adapter->suspend_ready = 1;
	return H_SUCCESS;
}

int64_t hv_vioctl(struct hv_caller *caller, uint64_t registers[SEAM_REGISTERS], struct hv_adapter **named)
{
	uint64_t subfunction = registers[1], p1 = registers[2], unused = registers[3] | registers[4];
	struct hv_adapter *adapter = hv_find(caller->state, caller->own, registers[0]);

	*named = adapter;
	if (!hv_known(subfunction))
		return H_NOT_FOUND;
	if (!adapter || unused)
		return H_PARAMETER;
	switch (subfunction) {
	case VIOCTL_GET_PARTNER_INFO:
		return hv_partner_info(caller, adapter, p1);
	case VIOCTL_DISABLE_ALL_INTERRUPTS:
		if (p1)
			return H_PARAMETER;
		hv_sub_mask(caller->state, adapter);
		return hv_set_signal(caller, adapter, 0);
	case VIOCTL_DISABLE_INTERRUPT:
	case VIOCTL_ENABLE_INTERRUPT:
		if (p1 != adapter->interrupt)
			return hv_sub_set_signal(caller, adapter, p1, subfunction == VIOCTL_ENABLE_INTERRUPT);
		return hv_set_signal(caller, adapter, subfunction == VIOCTL_ENABLE_INTERRUPT);
	case VIOCTL_GET_PARTNER_UUID:
		return p1 ? H_PARAMETER : hv_partner_uuid(caller, adapter, registers);
	case VIOCTL_GET_MAX_REDIRECTED_MAPPINGS:
		if (p1 || !adapter->server)
			return H_PARAMETER;
		registers[0] = caller->state->facts.redirected_mappings;
		return H_SUCCESS;
	case VIOCTL_ENABLE_PREPARE_FOR_SUSPEND:
		return hv_prepare_suspend(adapter, p1, registers);
	case VIOCTL_READY_FOR_SUSPEND:
		return p1 ? H_PARAMETER : hv_ready_suspend(adapter);
	default:
		return H_PARAMETER;
	}
}
