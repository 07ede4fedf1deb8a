# SPDX-License-Identifier: Apache-2.0
"""A machine: what firmware shows, what is counted, traced and priced, and that a state of another build is refused."""

import json
import os
import struct
import time
from collections.abc import Iterator

import pytest
from twopartitions import BOTH, DATA, MEBIBYTE, PAGE, RING, TwoPartitions, definition, entry, event

from virtio_crq.errors import OutOfBounds, PlatformError, UsageError
from virtio_crq.hypervisor import binding, firmware
from virtio_crq.hypervisor.definition import AdapterDefinition, MachineDefinition, PartitionDefinition
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.partition import EmulatedPartition
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import PROFILES
from virtio_crq.platform.partition import UnitAddress


@pytest.fixture
def pair() -> Iterator[TwoPartitions]:
    pair = TwoPartitions()
    yield pair
    pair.close()


def test_the_engine_counts_the_calls_that_papr_names() -> None:
    names = binding.call_names()
    assert names[-1] == "other"
    assert all(name in Hypercall.__members__ for name in names[:-1])


def test_nodes_carry_one_window_for_a_client_and_two_for_a_server(pair: TwoPartitions) -> None:
    assert len(pair.c.node.windows) == 1
    assert [window.size for window in pair.s.node.windows] == [16 * MEBIBYTE] * 2
    assert not pair.c.node.server
    assert pair.s.node.server
    assert (pair.c.node.compatible, pair.s.node.compatible) == ("virtio-crq,client", "virtio-crq,server")
    liobns = [liobn for end in (pair.c, pair.s) for liobn in end.liobns]
    assert len(set(liobns)) == 3
    for node in (*pair.client.adapters(), *pair.server.adapters()):
        assert node.properties["used-by-rtas"] == b""


def test_adapters_are_grouped_by_partition_and_ascend() -> None:
    ends = firmware.adapters(definition())
    assert [(end.partition, end.unit_address & 0xFF) for end in ends] == [(0, 2), (1, 3), (1, 4), (2, 2)]
    assert [end.partner for end in ends] == [1, 0, 3, 2]


def test_a_copy_moves_bytes_both_ways(pair: TwoPartitions) -> None:
    pair.connect()
    data = os.urandom(70_000)
    pair.c.port.write(DATA + 123, data)
    assert pair.s.port.stage(DATA + 123, DATA + 77, len(data), 0) == 0
    assert pair.s.port.flush() == 0
    assert pair.s.port.read(DATA + 77, len(data)) == data
    pair.s.port.stage(DATA + 200_000, DATA + 77, len(data), 1)
    assert pair.s.port.flush() == 0
    assert pair.c.port.read(DATA + 200_000, len(data)) == data


def test_pages_may_lie_in_any_order(pair: TwoPartitions) -> None:
    pair.connect()
    for page in range(64):  # the client's window shows its pages in reverse
        assert pair.c.port.map(DATA + page * PAGE, DATA + (63 - page) * PAGE, PAGE, BOTH) == 0
    data = os.urandom(64 * PAGE - 5)
    pair.s.port.write(DATA, data)
    pair.s.port.stage(DATA + 3, DATA, len(data), 1)
    assert pair.s.port.flush() == 0
    seen = b"".join(pair.c.port.read(DATA + (63 - page) * PAGE, PAGE) for page in range(64))
    assert seen[3 : 3 + len(data)] == data


def test_counters_are_exact(pair: TwoPartitions) -> None:
    pair.connect()
    pair.machine.reset_counters()
    for number in range(5):
        assert pair.c.send(number) == 0
    pair.s.port.stage(DATA, DATA, 1000, 0)
    pair.s.port.stage(DATA, DATA, 500, 1)
    assert pair.s.port.flush() == 0
    assert pair.s.call(Hypercall.H_GET_TCE, pair.s.liobns[0], DATA) == 0
    client, server = pair.machine.counters("c"), pair.machine.counters("s", pair.s.unit)
    assert {name: value for name, value in client.items() if value} == {"H_SEND_CRQ": 5}
    assert {name: value for name, value in server.items() if value} == {
        "H_COPY_RDMA": 2,
        "copies": 2,
        "bytes": 1500,
        "H_GET_TCE": 1,
    }
    assert not any(pair.machine.counters("s", UnitAddress(0x3000_0004)).values())


def test_calls_that_name_no_adapter_are_counted_for_the_partition(pair: TwoPartitions) -> None:
    assert pair.c.call(Hypercall.H_FREE_CRQ, 77) == -4
    assert pair.c.port.call(0xF000)[0] == -2
    counters = pair.machine.counters("c")
    assert (counters["H_FREE_CRQ"], counters["other"]) == (1, 1)


def test_a_map_of_many_pages_is_one_call_for_512_of_them(pair: TwoPartitions) -> None:
    pair.machine.reset_counters()
    assert pair.c.port.map(0, 0, 1024 * PAGE, BOTH) == 0
    assert pair.c.port.unmap(0, 1024 * PAGE) == 0
    assert pair.c.port.map(0, 0, PAGE, BOTH) == 0
    counters = pair.machine.counters("c")
    assert {name: value for name, value in counters.items() if value} == {
        "H_PUT_TCE_INDIRECT": 2,
        "H_STUFF_TCE": 2,
        "H_PUT_TCE": 1,
    }


def test_without_multi_tce_calls_each_page_is_a_call() -> None:
    pair = TwoPartitions("lopar-minimum")
    assert pair.c.port.map(0, 0, 8 * PAGE, BOTH) == 0
    assert pair.c.port.unmap(0, 8 * PAGE) == 0
    assert pair.machine.counters("c")["H_PUT_TCE"] == 16
    pair.connect()
    pair.s.port.stage(DATA, DATA, 300 << 10, 0)  # longer than one copy may be
    assert pair.s.port.flush() == 0
    assert pair.machine.counters("s")["copies"] == 3
    pair.close()


def test_the_trace_shows_calls_in_order_with_their_registers(pair: TwoPartitions) -> None:
    pair.machine.trace_on()
    pair.connect()
    pair.c.send(7)
    pair.machine.trace_on(False)
    pair.c.send(8)
    trace = pair.machine.read_trace()
    assert [call.sequence for call in trace] == list(range(1, len(trace) + 1))
    registration = next(call for call in trace if call.opcode == Hypercall.H_REG_CRQ)
    assert registration.inputs[:3] == (pair.c.unit, RING, PAGE)
    assert (registration.code, registration.partition, registration.unit_address) == (2, 1, pair.c.unit)
    assert trace[-1].opcode == Hypercall.H_SEND_CRQ
    assert trace[-1].inputs[1] == int.from_bytes(entry(7)[:8], "big")
    assert pair.machine.read_trace(after=trace[-2].sequence) == [trace[-1]]


def test_a_slow_reader_of_the_trace_loses_the_oldest(pair: TwoPartitions) -> None:
    pair.machine.trace_on()
    for _ in range(5000):
        pair.c.port.signal(0)
    trace = pair.machine.read_trace()
    assert len(trace) == 4096
    assert trace[-1].sequence == 5000


def test_prices_are_time(pair: TwoPartitions) -> None:
    pair.machine.prices(200_000, 0)
    start = time.monotonic_ns()
    for _ in range(10):
        pair.c.port.signal(0)
    assert time.monotonic_ns() - start >= 2_000_000
    pair.machine.prices(0, 0)


def test_a_partition_is_made_from_descriptors_and_json(pair: TwoPartitions) -> None:
    handover = pair.machine.descriptors_for("c")
    description = json.loads(json.dumps(handover.description))
    descriptors = [os.dup(descriptor) for descriptor in handover.descriptors]
    again = EmulatedPartition.from_descriptors(description, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    assert [node.properties for node in again.adapters()] == [node.properties for node in pair.client.adapters()]
    port = again.open(pair.c.unit)
    pair.c.port.write(0, b"seen by both")
    assert port.read(0, 12) == b"seen by both"
    again.close()
    with pytest.raises(OutOfBounds):  # its ports went with it
        port.read(0, 12)
    with pytest.raises(PlatformError, match="closed"):
        again.open(pair.c.unit)
    with pytest.raises(PlatformError, match="announced"):
        EmulatedPartition.from_descriptors(description, [])


def test_a_state_of_another_layout_is_refused(pair: TwoPartitions) -> None:
    handover = pair.machine.descriptors_for("c")
    os.pwrite(handover.descriptors[0], struct.pack("<I", 99), 8)
    with pytest.raises(PlatformError, match="layouts differ"):
        pair.machine.attach("c")
    os.pwrite(handover.descriptors[0], b"\0" * 8, 0)
    with pytest.raises(PlatformError, match="not the state of a machine"):
        pair.machine.attach("c")


def test_an_adapter_has_sixteen_ports_and_they_come_back(pair: TwoPartitions) -> None:
    ports = [pair.client.open(pair.c.unit) for _ in range(15)]
    with pytest.raises(PlatformError, match="taken"):
        pair.client.open(pair.c.unit)
    ports.pop()
    ports.append(pair.client.open(pair.c.unit))
    with pytest.raises(PlatformError, match="no such adapter"):
        pair.client.open(UnitAddress(1))


def test_reaping_tells_the_partner_and_leaves_zeroes(pair: TwoPartitions) -> None:
    pair.connect()
    pair.c.port.write(DATA, b"secret")
    assert pair.c.send(1) == 0
    assert pair.machine.reap("c")
    assert pair.s.take() == entry(1)
    told = pair.s.take()
    assert told is not None
    assert told[:2] == event(0x01)
    assert pair.s.send(2) == 2
    pair.s.port.stage(DATA, DATA, 16, 0)
    assert pair.s.port.flush() == -11
    assert pair.c.send(3) == -1  # left over from before the death
    again = pair.machine.attach("c")
    port = again.open(pair.c.unit)
    assert port.read(DATA, 6) == bytes(6)
    code, registers = port.call(Hypercall.H_GET_TCE, pair.c.liobns[0], DATA)
    assert (code, registers[0]) == (0, 0)
    again.close()


def test_a_suspended_partner_is_closed_until_enabled(pair: TwoPartitions) -> None:
    pair.connect()
    assert pair.machine.post_event("s", pair.s.unit, 0x06) == 0
    told = pair.s.take()
    assert told is not None
    assert told[:2] == event(0x06)
    assert pair.s.send(1) == 2
    assert pair.c.send(1) == 2
    assert pair.s.call(Hypercall.H_ENABLE_CRQ, pair.s.unit) == 0
    assert pair.s.send(1) == 0
    assert pair.c.take() == entry(1)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_a_machine(profile: str) -> None:
    pair = TwoPartitions(profile)
    pair.connect()
    assert pair.c.send(1) == 0
    assert pair.s.take() == entry(1)
    assert pair.c.free() == 0
    pair.close()


def test_definitions_that_cannot_be_are_refused() -> None:
    one = PartitionDefinition("one", 1)
    for wrong, complaint in (
        (MachineDefinition("m", "power9", [one, one]), "twice"),
        (MachineDefinition("m", "power9", [one], [AdapterDefinition("one", "two", 2, 3)]), "not defined"),
        (MachineDefinition("m", "power9", [one], [AdapterDefinition("one", "one", 2, 2)]), "slot 2 is used twice"),
        (MachineDefinition("m", "power9", [PartitionDefinition("one", 0)]), "number 0"),
        (MachineDefinition("m", "power9", [PartitionDefinition("one", 1, 5000)]), "multiple"),
        (MachineDefinition("m", "power7", [one]), "power7"),
        (MachineDefinition("m", "power9"), "no partitions"),
    ):
        with pytest.raises(UsageError, match=complaint):
            Machine(wrong)


def test_both_ends_may_be_one_partition() -> None:
    """LoPAR R1-18."""
    machine = Machine(
        MachineDefinition("m", "power9", [PartitionDefinition("one", 1)], [AdapterDefinition("one", "one", 2, 3)])
    )
    partition = machine.attach("one")
    client, server = partition.open(UnitAddress(0x3000_0002)), partition.open(UnitAddress(0x3000_0003))
    assert client.map(0, 0, PAGE, BOTH) == 0
    assert server.map(0, PAGE, PAGE, BOTH) == 0
    assert client.call(Hypercall.H_REG_CRQ, 0x3000_0002, 0, PAGE)[0] == 2
    assert server.call(Hypercall.H_REG_CRQ, 0x3000_0003, 0, PAGE)[0] == 0
    assert client.send(0x80 << 56, 0) == 0
    assert server.read(PAGE, 1) == b"\x80"
    assert machine.reap("one")
    partition.close()
    machine.close()
