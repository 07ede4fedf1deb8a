/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* The hypervisor in QEMU's virtual processors: `sc 1` of the guest comes here first.
 *
 * What is ours is answered by the engine in the processor's own thread, and QEMU never sees it. The rest QEMU handles as
 * if we were not there. Some answers end with a call that QEMU makes for us, see decision.h.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "decision.h"
#include "inheritance.h"
#include "treeexchange.h"
#include "vcpu.h"

#define SC_1 0x44000022u
#define VCPU_LIMIT 64 /* general publications of a partition */
#define BIG 1ull /* in a callback's context, beside an instruction's address */

QEMU_EXPORT int qemu_plugin_version = QEMU_API;
QEMU_EXPORT int qemu_plugin_install(uint64_t plugin, const void *about, int count, char **words);

static struct inheritance given;
static struct vcpu *vcpus[VCPU_LIMIT];
static int presented; /* the device tree was exchanged */

static __attribute__((noreturn)) void give_up(const char *why)
{
	dprintf(given.control, "error %s\n", why);
	fprintf(stderr, "virtio-crq: %s\n", why);
	_exit(1);
}

/* What was rung and has not reached the terminal yet goes too: QEMU's next call drains the terminal itself. */
static void swallow(const struct hv_adapter *adapter)
{
	int heard = given.attachment->doorbell[hv_adapter_index(given.attachment->state, adapter)].receiver;
	char bytes[256];

	while (heard >= 0 && recv(heard, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		;
}

static void on_call(unsigned int index, void *context)
{
	uint64_t at = (uint64_t)(uintptr_t)context & ~3ull, values[VCPU_REGISTERS], old[VCPU_REGISTERS];
	int big = ((uint64_t)(uintptr_t)context & BIG) != 0;
	struct vcpu *vcpu = vcpus[index];
	const struct hv_adapter *drained;

	/* QEMU refuses every hypercall of a program: H_Privilege. */
	if (vcpu_in_problem_state(vcpu, big))
		return;
	vcpu_load(vcpu, big, values);
	memcpy(old, values, sizeof old);
	if (decide_hidden(given.attachment, given.bells, values[0], values[1])) {
		values[0] = (uint64_t)H_PARAMETER;
		vcpu_store(vcpu, big, values, old);
		qemu_plugin_set_pc(at + 4);
	}
	if (!decide_ours(given.attachment, values[0], &values[1]))
		return;
	values[0] = (uint64_t)hv_call_patiently(&vcpu->caller, old[0], &values[1], &hv_guest_patience);
	drained = decide_drain(given.attachment, old[0], &old[1], (int64_t)values[0]);
	if (drained) {
		swallow(drained);
		values[0] = H_GET_TERM_CHAR;
		values[1] = given.bells + drained->local;
		vcpu_store(vcpu, big, values, old);
		return;
	}
	vcpu_store(vcpu, big, values, old);
	qemu_plugin_set_pc(at + 4);
}

/* The kernel is entered for the second time when its own boot code has flattened the tree: R5 is 0, R3 the tree. */
static void on_entry(unsigned int index, void *context)
{
	uint8_t *memory = given.attachment->ram[given.attachment->partition];
	uint64_t values[VCPU_REGISTERS], at, size = given.attachment->own->memory;
	const char *why;
	uint32_t bytes;

	(void)context;
	if (__atomic_load_n(&presented, __ATOMIC_ACQUIRE))
		return;
	vcpu_load(vcpus[index], 0, values);
	if (values[5 - VCPU_FIRST])
		return;
	/* The first instructions are the same for both byte orders, so they do not tell which one the registers are in. */
	at = tree_at(memory, size, values[0]) ? values[0] : __builtin_bswap64(values[0]);
	bytes = tree_at(memory, size, at);
	if (!bytes)
		return;
	why = tree_exchange(given.control, memory + at, bytes);
	if (why)
		give_up(why);
	__atomic_store_n(&presented, 1, __ATOMIC_RELEASE);
}

static void on_translation(struct qemu_plugin_tb *block, void *context)
{
	size_t count = qemu_plugin_tb_n_insns(block);

	(void)context;
	for (size_t index = 0; index < count; index++) {
		struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, index);
		uint64_t at = qemu_plugin_insn_vaddr(instruction);
		uint32_t word = 0;

		qemu_plugin_insn_data(instruction, &word, sizeof word);
		if (word == SC_1)
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_call, QEMU_REGS_WRITE_PC, (void *)(uintptr_t)at);
		else if (word == __builtin_bswap32(SC_1))
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_call, QEMU_REGS_WRITE_PC,
							       (void *)(uintptr_t)(at | BIG));
		if (at == given.entry && !__atomic_load_n(&presented, __ATOMIC_ACQUIRE))
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_entry, QEMU_REGS_READ, (void *)(uintptr_t)at);
	}
}

static void on_vcpu(unsigned int index, void *context)
{
	(void)context;
	if (index >= VCPU_LIMIT || !(vcpus[index] = vcpu_new(given.attachment)))
		give_up("a virtual processor cannot make hypercalls");
}

/* A guest ends with whoever started it, however that ended: nobody would read its terminals any more. And with its
 * machine: what goes on without a hypervisor is a partition that the next machine of that name knows nothing of. */
static void *watch(void *context)
{
	struct pollfd watched[] = {
		{ .fd = given.control, .events = POLLRDHUP },
		{ .fd = given.hypervisor, .events = POLLRDHUP },
	};

	while (poll(watched, 2, -1) <= 0)
		;
	if (!watched[0].revents)
		give_up("the machine's hypervisor has ended");
	_exit(1);
	return context;
}

int qemu_plugin_install(uint64_t plugin, const void *about, int count, char **words)
{
	pthread_t watcher;

	const char *why = inherit(&given, count, words);

	(void)about;
	if (given.probe) {
		printf("virtio-crq: fit\n");
		fflush(stdout);
		return 1; /* that was the question; there is no guest */
	}
	if (!why && pthread_create(&watcher, 0, watch, 0))
		why = "no thread for a watch over the guest's starter";
	if (why) {
		fprintf(stderr, "virtio-crq: %s\n", why);
		return 1;
	}
	qemu_plugin_register_vcpu_init_cb(plugin, on_vcpu, 0);
	qemu_plugin_register_vcpu_tb_trans_cb(plugin, on_translation, 0);
	return 0;
}
