/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* The few functions of QEMU (plugin API 7) and of glib that the plugin calls, as their documentation describes them.
 *
 * Distributions ship QEMU's binary without its header. Another API is told before anything here is called: QEMU compares
 * `qemu_plugin_version` when it loads the plugin.
 */
#ifndef VIRTIO_CRQ_QEMUAPI_H
#define VIRTIO_CRQ_QEMUAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QEMU_API 7
#define QEMU_EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_register;

/* What an execution callback may do with registers. The last one may also set the PC. */
enum { QEMU_REGS_NONE, QEMU_REGS_READ, QEMU_REGS_WRITE, QEMU_REGS_WRITE_PC };

/* One row of the array that `qemu_plugin_get_registers` gives. */
struct qemu_register_row {
	struct qemu_plugin_register *handle;
	const char *name, *feature;
	bool readonly;
};

/* glib's growing arrays, of bytes and of rows. */
struct glib_bytes {
	uint8_t *data;
	unsigned int length;
};

struct glib_array {
	char *data;
	unsigned int length;
};

typedef void qemu_on_translation(struct qemu_plugin_tb *block, void *context);
typedef void qemu_on_vcpu(unsigned int vcpu, void *context);

void qemu_plugin_register_vcpu_init_cb(uint64_t plugin, qemu_on_vcpu *callback, void *context);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t plugin, qemu_on_translation *callback, void *context);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *instruction, qemu_on_vcpu *callback, int registers,
					    void *context);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction, void *to, size_t length);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
struct glib_array *qemu_plugin_get_registers(void);
bool qemu_plugin_read_register(struct qemu_plugin_register *handle, struct glib_bytes *to); /* appends */
bool qemu_plugin_write_register(struct qemu_plugin_register *handle, struct glib_bytes *from);
__attribute__((noreturn)) void qemu_plugin_set_pc(uint64_t address);

struct glib_bytes *g_byte_array_new(void);
struct glib_bytes *g_byte_array_set_size(struct glib_bytes *array, unsigned int length);
unsigned int g_array_get_element_size(struct glib_array *array);
char *g_array_free(struct glib_array *array, int data_too);

#endif
