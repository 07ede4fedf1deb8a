# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F821, RET504 — C names come from the .pxd; types for people stand in binding.pyi
"""The engine for Python: building a machine's state, attaching to it, opening ports, watching it.

Always compiled. `binding_stops` is this same source over an engine that has stop points.
"""

import os

import cython

from virtio_crq.errors import PlatformError

NO_PARTNER = 0xFFFFFFFF
H_NOT_FOUND = -7


def create(
    partitions: object,
    adapters: object,
    facts: object,
    absent: object,
    faults: object,
    trace: int,
    storage: object = (),
) -> int:
    """The descriptor of a new machine's state. The rows are those of `hv_plan_partition` and `hv_plan_adapter`.

    `storage` lists the adapters that are storage adapters.
    """
    plan = hv_plan_new(len(partitions), len(adapters), trace)
    if plan == cython.NULL:
        raise MemoryError("no memory for a machine's plan")
    for index, (name, number, count, memory, high, low) in enumerate(partitions):
        hv_plan_partition(plan, index, name, number, count, memory, high, low)
    for index, (partition, partner, unit, server, window, location) in enumerate(adapters):
        hv_plan_adapter(plan, index, partition, partner, unit, server, window, location)
    for index in storage:
        hv_plan_storage(plan, index)
    for index, value in enumerate(facts):
        values[index] = value
    hv_plan_facts(plan, values)
    for opcode in absent:
        hv_plan_absent(plan, opcode)  # calls that no build has are absent anyway
    for opcode, code, period in faults:
        if hv_plan_fault(plan, opcode, code, period) < 0:
            raise PlatformError("machine", code, f"a fault for call {opcode:#x} cannot be injected")
    return _descriptor(hv_plan_carry_out(plan))


def memory(name: bytes, size: int) -> int:
    """A memfd that can neither shrink nor grow."""
    return _descriptor(hv_memory(name, size))


def zero(descriptor: int, size: int) -> None:
    """Give all pages of a RAM back, so that it reads as zero."""
    if hv_zero(descriptor, size) < 0:
        raise OSError("the RAM of a partition cannot be zeroed")


def _descriptor(descriptor: int) -> int:
    if descriptor < 0:
        raise OSError("no memory for a machine's state or RAM")
    return descriptor


def call_names() -> list[str]:
    """Names of the calls that are counted, in the engine's order; the last stands for all others."""
    return [hv_call_name(index).decode() for index in range(CALL_LIMIT)]


def stop_points() -> list[str]:
    """Names between any two stores that others can see; empty unless this is the test build."""
    names = []
    index = 0
    while hv_stop_names()[index] != cython.NULL:
        names.append(hv_stop_names()[index].decode())
        index += 1
    return names


def arm(name: str, signal: int, skip: int = 0) -> None:
    """This process gets `signal` when one of its calls comes by `name` for the `skip`+1st time."""
    encoded = name.encode()
    if hv_stop_arm(encoded, signal, skip) < 0:
        raise ValueError(f"no stop point {name!r} in this build")


def measure(capsule: object, what: str, rounds: int, length: int) -> float:
    """Nanoseconds per call of the port in `capsule`: `c` copies, `p` maps and unmaps, `s` sends."""
    port = binding_port(capsule)
    letter = ord(what)
    with cython.nogil:
        answer = hv_measure(port, letter, rounds, length)
    return answer


def transfer(capsule: object, unit_address: int, ioba: int, length: int, file: int, writes: int) -> int:
    """One transfer between a file's beginning and what is cloned at `ioba` of a storage adapter; bytes, or -errno."""
    port = binding_port(capsule)
    with cython.nogil:
        answer = hv_port_transfer(port, unit_address, ioba, length, file, writes)
    return answer


class Attachment:
    """A process attached to a machine as one of its partitions."""

    def __cinit__(self, state: int, partition: int) -> None:
        self.attachment = binding_attach(state, partition)
        if self.attachment == cython.NULL:
            raise PlatformError("attach", -1, binding_why().decode())

    def __dealloc__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let go; ports that are still open keep what they need."""
        if self.attachment != cython.NULL:
            hv_detach(self.attachment)
            self.attachment = cython.NULL

    def state(self) -> object:
        if self.attachment == cython.NULL:
            raise PlatformError("attachment", -1, "closed")
        return self.attachment.state

    def add_ram(self, partition: int, descriptor: int) -> None:
        self.state()
        if hv_attach_ram(self.attachment, partition, descriptor) < 0:
            raise PlatformError("attach", -1, f"the RAM of partition {partition} cannot be used")

    def add_doorbell(self, adapter: int, descriptor: int, kind: int = 0) -> None:
        self.state()
        if hv_attach_doorbell(self.attachment, adapter, descriptor, kind) < 0:
            raise PlatformError("attach", -1, f"the doorbell of adapter {adapter} cannot be used")

    def add_receiver(self, adapter: int, descriptor: int) -> None:
        self.state()
        if hv_attach_receiver(self.attachment, adapter, descriptor) < 0:
            raise PlatformError("attach", -1, f"the doorbell of adapter {adapter} cannot be heard")

    def open(self, unit_address: int) -> object:
        """A capsule for `platform.port.Port`."""
        code = 0
        self.state()
        port = hv_port_open(self.attachment, unit_address, cython.address(code))
        if port == cython.NULL:
            detail = "no such adapter" if code == H_NOT_FOUND else "all ports of this adapter are taken"
            raise PlatformError("open", code, f"unit address {unit_address:#x}: {detail}")
        return binding_capsule(port)

    def call_as_guest(self, opcode: int, arguments: object, alarm: float, limit: float) -> int:
        """As a virtual processor of a guest calls: where a TCE call is busy, it waits; times in seconds."""
        self.state()
        for index in range(9):
            registers[index] = arguments[index] if index < len(arguments) else 0
        number = opcode
        patience.alarm_ns = int(alarm * 1e9)
        patience.limit_ns = int(limit * 1e9)
        memset(cython.address(caller), 0, cython.sizeof(hv_caller))
        if hv_caller_open(cython.address(caller), self.attachment):
            raise PlatformError("call", -1, "all callers of this partition are taken")
        with cython.nogil:
            code = hv_call_patiently(cython.address(caller), number, registers, cython.address(patience))
        hv_caller_close(cython.address(caller))
        return code

    def obstructs(self, partition: int) -> bool:
        """Whether a guest has waited long for a call of that partition."""
        return bool(hv_obstructs(self.state(), partition))

    def reap(self) -> int:
        self.state()
        with cython.nogil:
            code = hv_reap(self.attachment)
        return code

    def post_event(self, unit_address: int, event: int) -> int:
        self.state()
        return hv_post_event(self.attachment, unit_address, event)

    def crq_state(self, adapter: int) -> int:
        """0 closed, 1 open, 2 disabled, 3 closing."""
        return hv_crq_state(self.state(), adapter)

    def counters(self, adapter: int) -> dict[str, int]:
        hv_sum(self.state(), adapter, sums)
        return _sums(sums)

    def other_counters(self, partition: int) -> dict[str, int]:
        """Calls that named none of the partition's adapters."""
        hv_sum_other(self.state(), partition, sums)
        return _sums(sums)

    def reset_counters(self) -> None:
        hv_reset_counters(self.state())

    def set_trace(self, enabled: bool) -> None:
        hv_set_trace(self.state(), enabled)

    def set_weak(self, enabled: bool, seed: int) -> None:
        hv_set_weak(self.state(), enabled, seed)

    def set_prices(self, ns_per_call: int, ns_per_kib: int) -> None:
        hv_set_prices(self.state(), ns_per_call, ns_per_kib)

    def trace_last(self) -> int:
        """The sequence of the newest entry that was begun."""
        return hv_trace_last(self.state())

    def trace_entry(self, sequence: int) -> tuple[object, ...] | int:
        """The entry with this sequence; 0 when it is not written yet, -1 when it was overwritten."""
        found = hv_read_trace(self.state(), sequence, cython.address(entry))
        if found != 1:
            return found
        return (
            entry.sequence,
            entry.time_ns,
            entry.partition,
            entry.unit_address,
            entry.opcode,
            tuple([entry.input[index] for index in range(6)]),
            entry.code,
            (entry.output[0], entry.output[1]),
        )


def _sums(sums: object) -> dict[str, int]:
    found = {}
    for index in range(CALL_LIMIT):
        found[hv_call_name(index).decode()] = sums[index]
    found["copies"] = sums[SUM_COPIES]
    found["bytes"] = sums[SUM_BYTES]
    found["interrupts"] = sums[SUM_INTERRUPTS]
    found["transfers"] = sums[SUM_TRANSFERS]
    found["transferred"] = sums[SUM_TRANSFERRED]
    return found


# A file of this module's name that is run instead of its compiled form would have no engine under it.
if not cython.compiled:
    raise ImportError(f"{os.path.basename(__file__)} is the source of an extension: build it first")
