// SPDX-License-Identifier: Apache-2.0
// One virtual processor without QEMU, for tests of the plugin: the functions that it calls, and registers to look at.
//
//   fakeqemu PLUGIN WORDS…     loads it as QEMU would; then obeys lines on its input, each answered by one line:
//   sc ORDER R3 … R12          executes `sc 1`; `answered R3 … R12`, or `passed R3 … R12` when QEMU itself would go on
//   msr VALUE                  what the processor's MSR is from now on; `went on`
//   enter R3 R5                executes the kernel's first instruction; `went on`
//   other WORD                 translates another instruction; `untouched` when no callback was asked for
#define _GNU_SOURCE
#include <dlfcn.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemuapi.h"

struct qemu_plugin_insn {
	uint32_t word;
	uint64_t address;
	qemu_on_vcpu *callback;
	int registers;
	void *context;
};

#define MSR 32
#define ROWS 35 // 32 general registers, the MSR, and two whose names only begin like others

static uint64_t registers[33];
static int big;
static qemu_on_vcpu *on_vcpu;
static qemu_on_translation *on_translation;
static struct qemu_plugin_insn instruction;
static jmp_buf set_pc;
static uint64_t pc;

#define API QEMU_EXPORT

API void qemu_plugin_register_vcpu_init_cb(uint64_t plugin, qemu_on_vcpu *callback, void *context)
{
	(void)plugin, (void)context;
	on_vcpu = callback;
}

API void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t plugin, qemu_on_translation *callback, void *context)
{
	(void)plugin, (void)context;
	on_translation = callback;
}

API void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *which, qemu_on_vcpu *callback, int access, void *context)
{
	which->callback = callback;
	which->registers = access;
	which->context = context;
}

API size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block)
{
	(void)block;
	return 1;
}

API struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index)
{
	(void)block, (void)index;
	return &instruction;
}

API size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *which, void *to, size_t length)
{
	memcpy(to, &which->word, length);
	return length;
}

API uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *which)
{
	return which->address;
}

API struct glib_bytes *g_byte_array_new(void)
{
	return calloc(1, sizeof(struct glib_bytes));
}

API struct glib_bytes *g_byte_array_set_size(struct glib_bytes *array, unsigned int length)
{
	array->data = realloc(array->data, length + 64);
	array->length = length;
	return array;
}

API unsigned int g_array_get_element_size(struct glib_array *array)
{
	(void)array;
	return sizeof(struct qemu_register_row) + 8; // a later QEMU may add a field
}

API char *g_array_free(struct glib_array *array, int data_too)
{
	(void)data_too;
	free(array->data);
	free(array);
	return 0;
}

API struct glib_array *qemu_plugin_get_registers(void)
{
	struct glib_array *array = calloc(1, sizeof *array);
	unsigned int stride = g_array_get_element_size(array);
	static char names[ROWS][8];

	array->data = calloc(ROWS, stride);
	for (; array->length < ROWS; array->length++) {
		struct qemu_register_row *row = (void *)(array->data + (size_t)array->length * stride);

		snprintf(names[array->length], 8, array->length < 32 ? "r%u" : "r%ux", array->length % 32);
		row->name = array->length == MSR ? "msr" : names[array->length];
		row->handle = (void *)(uintptr_t)(array->length + 1);
	}
	return array;
}

static uint64_t *register_of(struct qemu_plugin_register *handle)
{
	return &registers[((uintptr_t)handle - 1) % 33];
}

API bool qemu_plugin_read_register(struct qemu_plugin_register *handle, struct glib_bytes *to)
{
	uint64_t value = big ? __builtin_bswap64(*register_of(handle)) : *register_of(handle);
	unsigned int at = to->length;

	g_byte_array_set_size(to, at + 8);
	memcpy(to->data + at, &value, 8);
	return true;
}

API bool qemu_plugin_write_register(struct qemu_plugin_register *handle, struct glib_bytes *from)
{
	uint64_t value;

	memcpy(&value, from->data, 8);
	*register_of(handle) = big ? __builtin_bswap64(value) : value;
	return instruction.registers >= QEMU_REGS_WRITE;
}

API void qemu_plugin_set_pc(uint64_t address)
{
	pc = address;
	longjmp(set_pc, 1);
}

static void translate(uint32_t word, uint64_t address)
{
	instruction = (struct qemu_plugin_insn){ .word = word, .address = address };
	on_translation(0, 0);
}

static void show(const char *what)
{
	printf("%s", what);
	for (int index = 3; index <= 12; index++)
		printf(" %lx", (unsigned long)registers[index]);
	printf("\n");
}

static void obey(const char *line)
{
	uint64_t *r = registers;
	char order[8];
	uint32_t word;

	if (sscanf(line, "sc %7s %lx %lx %lx %lx %lx %lx %lx %lx %lx %lx", order, &r[3], &r[4], &r[5], &r[6], &r[7], &r[8], &r[9],
		   &r[10], &r[11], &r[12]) == 11) {
		big = !strcmp(order, "big");
		translate(big ? 0x22000044u : 0x44000022u, 0xc000000000001000ul);
		if (setjmp(set_pc)) {
			show(pc == 0xc000000000001004ul ? "answered" : "astray");
			return;
		}
		instruction.callback(0, instruction.context);
		show("passed");
	} else if (sscanf(line, "msr %lx", &r[MSR]) == 1) {
		printf("went on\n");
	} else if (sscanf(line, "enter %lx %lx", &r[3], &r[5]) == 2) {
		translate(0x48000000u, 0x400000);
		if (instruction.callback)
			instruction.callback(0, instruction.context);
		printf("went on\n");
	} else if (sscanf(line, "other %x", &word) == 1) {
		translate(word, 0x1000);
		printf(instruction.callback ? "touched\n" : "untouched\n");
	}
}

int main(int count, char **words)
{
	void *plugin = dlopen(words[1], RTLD_NOW);
	int (*install)(uint64_t, const void *, int, char **);
	char line[512];
	int code;

	setvbuf(stdout, 0, _IOLBF, 0);
	if (!plugin) {
		printf("%s\n", dlerror());
		return 1;
	}
	install = (int (*)(uint64_t, const void *, int, char **))dlsym(plugin, "qemu_plugin_install");
	printf("api %d\n", *(int *)dlsym(plugin, "qemu_plugin_version"));
	code = install(1, 0, count - 2, words + 2);
	if (code)
		return code;
	on_vcpu(0, 0);
	while (fgets(line, sizeof line, stdin))
		obey(line);
	return 0;
}
