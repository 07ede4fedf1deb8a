/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vcpu.h"

#define MSR_PR 0x4000u /* problem state */

static int vcpu_handles(struct vcpu *vcpu)
{
	struct glib_array *rows = qemu_plugin_get_registers();
	unsigned int stride = g_array_get_element_size(rows), found = 0;

	for (unsigned int index = 0; index < rows->length; index++) {
		const struct qemu_register_row *row = (const void *)(rows->data + (size_t)index * stride);
		unsigned int number;
		char rest;

		if (!strcmp(row->name, "msr"))
			vcpu->msr = row->handle;
		if (sscanf(row->name, "r%u%c", &number, &rest) != 1 || number < VCPU_FIRST ||
		    number >= VCPU_FIRST + VCPU_REGISTERS)
			continue;
		vcpu->handle[number - VCPU_FIRST] = row->handle;
		found++;
	}
	g_array_free(rows, 1);
	return found == VCPU_REGISTERS && vcpu->msr ? 0 : -1;
}

struct vcpu *vcpu_new(struct hv_attachment *attachment)
{
	struct vcpu *vcpu = calloc(1, sizeof *vcpu);

	if (!vcpu)
		return 0;
	vcpu->bytes = g_byte_array_new();
	if (vcpu_handles(vcpu) < 0 || hv_caller_open(&vcpu->caller, attachment)) {
		free(vcpu);
		return 0;
	}
	return vcpu;
}

static uint64_t vcpu_swapped(uint64_t value, int big)
{
	return big ? __builtin_bswap64(value) : value;
}

static uint64_t vcpu_read(struct vcpu *vcpu, struct qemu_plugin_register *handle, int big)
{
	uint64_t value = 0;

	g_byte_array_set_size(vcpu->bytes, 0);
	if (qemu_plugin_read_register(handle, vcpu->bytes) && vcpu->bytes->length >= sizeof value)
		memcpy(&value, vcpu->bytes->data, sizeof value);
	return vcpu_swapped(value, big);
}

int vcpu_in_problem_state(struct vcpu *vcpu, int big)
{
	return (vcpu_read(vcpu, vcpu->msr, big) & MSR_PR) != 0;
}

void vcpu_load(struct vcpu *vcpu, int big, uint64_t values[VCPU_REGISTERS])
{
	for (int index = 0; index < VCPU_REGISTERS; index++)
		values[index] = vcpu_read(vcpu, vcpu->handle[index], big);
}

void vcpu_store(struct vcpu *vcpu, int big, const uint64_t values[VCPU_REGISTERS], const uint64_t old[VCPU_REGISTERS])
{
	for (int index = 0; index < VCPU_REGISTERS; index++) {
		uint64_t value = vcpu_swapped(values[index], big);

		if (values[index] == old[index])
			continue;
		g_byte_array_set_size(vcpu->bytes, sizeof value);
		memcpy(vcpu->bytes->data, &value, sizeof value);
		qemu_plugin_write_register(vcpu->handle[index], vcpu->bytes);
	}
}
