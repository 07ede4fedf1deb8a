# SPDX-License-Identifier: Apache-2.0
"""Sub-CRQs at work: long runs around the ring, interrupts by batch, weak stores, many senders, what the trace tells."""

import os
import select
import threading
from collections.abc import Iterator

import pytest
from subqueue import LAID, SLOTS, SubQueue, lay, record
from twopartitions import PAGE, TwoPartitions

from virtio_crq.papr.devicetree import parse
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import PROFILES, profile_named
from virtio_crq.platform.port import Port

H_DROPPED, H_PARAMETER, H_FUNCTION, H_RESOURCE = -12, -4, -2, -16


@pytest.fixture(params=["power8", "power9"])
def pair(request: pytest.FixtureRequest) -> Iterator[TwoPartitions]:
    pair = TwoPartitions(request.param)
    pair.connect()
    yield pair
    pair.close()


def fired(port: Port) -> bool:
    if not select.select([port], [], [], 0)[0]:
        return False
    os.eventfd_read(port.fileno())
    return True


@pytest.mark.clause("CRQ-H-22")
@pytest.mark.parametrize("weak", [None, 7])
def test_records_go_round_the_queue_for_long(pair: TwoPartitions, weak: int | None) -> None:
    pair.machine.weak_copies(weak)
    queue = SubQueue(pair.s)
    sent = 0
    for count in [1, 16, 3, 7, 16, 11] * 20:
        lay(pair.c, range(sent, sent + count))
        assert pair.c.port.queue_batch(queue.handle, LAID, count) == 0
        assert queue.take_all(clear_all=bool(count % 2)) == [record(n) for n in range(sent, sent + count)]
        sent += count
    lay(pair.c, [sent])
    assert pair.c.port.queue_send(queue.handle, LAID) == 0
    assert queue.take() == record(sent)


@pytest.mark.clause("CRQ-H-22")
@pytest.mark.parametrize("weak", [None, 3])
def test_a_half_visible_batch_is_read_record_after_record(pair: TwoPartitions, weak: int | None) -> None:
    """A receiver that runs meanwhile sees whole records in order, whatever part of a batch is there already."""
    pair.machine.weak_copies(weak)
    queue = SubQueue(pair.s)
    taken: list[bytes] = []
    batches = 150

    def receive() -> None:
        while len(taken) < 16 * batches:
            found = queue.take()
            if found is not None:
                taken.append(found)

    receiver = threading.Thread(target=receive)
    receiver.start()
    for number in range(batches):
        lay(pair.c, range(16 * number, 16 * number + 16))
        while (code := pair.c.port.queue_batch(queue.handle, LAID, 16)) == H_DROPPED:
            pass
        assert code == 0
    receiver.join(30)
    assert taken == [record(number) for number in range(16 * batches)]


def test_two_threads_of_a_sender_keep_their_batches_whole(pair: TwoPartitions) -> None:
    queue = SubQueue(pair.s)
    ports = [pair.client.open(pair.c.unit) for _ in range(2)]
    rounds = 100

    def send(which: int) -> None:
        at = LAID + PAGE * (which + 1)
        for number in range(rounds):
            for index in range(8):
                ports[which].write(at + 32 * index, record(which << 16 | number << 4 | index))
            while ports[which].queue_batch(queue.handle, at, 8) == H_DROPPED:
                pass

    senders = [threading.Thread(target=send, args=(which,)) for which in range(2)]
    for sender in senders:
        sender.start()
    taken: list[int] = []
    while len(taken) < 2 * rounds * 8:
        found = queue.take()
        if found is not None:
            taken.append(int.from_bytes(found[1:8], "big"))
    for sender in senders:
        sender.join(30)
    for start in range(0, len(taken), 8):
        assert taken[start : start + 8] == list(range(taken[start], taken[start] + 8))
    for which in range(2):
        own = [number for number in taken if number >> 16 == which]
        assert own == sorted(own)


@pytest.mark.clause("CRQ-H-23")
def test_a_batch_is_one_interrupt(pair: TwoPartitions) -> None:
    queue = SubQueue(pair.s)
    lay(pair.c, range(16))
    assert pair.c.port.queue_batch(queue.handle, LAID, 16) == 0
    assert not fired(pair.s.port)
    assert pair.s.port.queue_signal(queue.interrupt, 1) == 0
    assert fired(pair.s.port)
    before = pair.machine.counters("s", pair.s.unit)["interrupts"]
    assert pair.c.port.queue_batch(queue.handle, LAID, 16) == 0
    assert fired(pair.s.port)
    assert pair.machine.counters("s", pair.s.unit)["interrupts"] == before + 1
    queue.take_all()
    assert pair.s.port.queue_signal(queue.interrupt, 0) == 0
    assert pair.s.port.queue_signal(queue.interrupt, 1) == 0
    assert not fired(pair.s.port)


def test_each_queue_has_its_own_interrupt_switch(pair: TwoPartitions) -> None:
    first, second = SubQueue(pair.s), SubQueue(pair.s, place=1)
    assert first.interrupt != second.interrupt
    assert pair.s.port.queue_signal(second.interrupt, 1) == 0
    lay(pair.c, [1])
    assert pair.c.port.queue_send(first.handle, LAID) == 0
    assert not fired(pair.s.port)
    assert pair.c.port.queue_send(second.handle, LAID) == 0
    assert fired(pair.s.port)


@pytest.mark.clause("CRQ-H-20")
@pytest.mark.parametrize("profile", PROFILES)
def test_an_adapter_has_as_many_as_its_profile_says(profile: str) -> None:
    pair = TwoPartitions(profile)
    pair.connect()
    facts = profile_named(profile)
    queues = [SubQueue(pair.s, place=place) for place in range(facts.sub_crq_queues)]
    assert len({queue.handle for queue in queues}) == len({queue.interrupt for queue in queues}) == len(queues)
    refusal = H_RESOURCE if facts.sub_crq else H_FUNCTION
    assert pair.s.port.queue_open(LAID, PAGE)[0] == refusal
    ranges = pair.s.node.interrupt_ranges
    assert [number for first, count in ranges for number in range(first, first + count)] == [
        queue.interrupt for queue in queues
    ]
    pair.close()


def test_a_real_kernel_is_shown_no_interrupts_for_sub_crqs() -> None:
    """Its interrupts are borrowed one by one, and its calls for sub-CRQs are not ours."""
    from virtio_crq.hypervisor.definition import AdapterDefinition, MachineDefinition, PartitionDefinition
    from virtio_crq.hypervisor.machine import Machine

    partitions = [PartitionDefinition("g", 1, 1 << 20, guest=True), PartitionDefinition("s", 2, 1 << 20)]
    adapter = AdapterDefinition("g", "s", 2, 3, 1 << 20, 1 << 20)
    with Machine(MachineDefinition("test", "power9", partitions, [adapter])) as machine:
        shown = {name: machine.descriptors_for(name).description["adapters"][0]["properties"] for name in "gs"}
    assert "interrupt-ranges" not in shown["g"]
    server = parse({name: bytes.fromhex(value) for name, value in shown["s"].items()})
    assert server.interrupt_ranges == ((0x2000, 16),)


@pytest.mark.clause("CRQ-H-21")
def test_a_death_ends_both_sides_queues(pair: TwoPartitions) -> None:
    mine, its = SubQueue(pair.s), SubQueue(pair.c)
    lay(pair.s, [1])
    assert pair.s.port.queue_send(its.handle, LAID) == 0
    assert pair.machine.reap("c")
    assert pair.s.port.queue_send(its.handle, LAID) == H_PARAMETER
    assert pair.s.port.queue_close(mine.handle) == 0
    assert pair.s.port.queue_close(mine.handle) == H_PARAMETER


@pytest.mark.clause("CRQ-H-10", "CRQ-H-20")
def test_a_freed_queue_gets_nothing_more(pair: TwoPartitions) -> None:
    """Sends run all the time; what the owner sees at the end of the free is all there ever is."""
    stop = threading.Event()
    port = pair.client.open(pair.c.unit)
    queue = SubQueue(pair.s)
    handles = [queue.handle]
    for index in range(16):
        port.write(LAID + 32 * index, record(index))

    def send() -> None:
        while not stop.is_set():
            port.queue_batch(handles[0], LAID, 16)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(60):
            queue.take_all(clear_all=True)
            while pair.s.port.queue_close(queue.handle) == 1:
                pass
            seen = pair.s.port.read(queue.at, PAGE)
            assert pair.s.port.read(queue.at, PAGE) == seen
            pair.s.port.write(queue.at, bytes(PAGE))
            for _ in range(20):
                assert pair.s.port.read(queue.at, PAGE) == bytes(PAGE)
            queue = SubQueue(pair.s)
            handles[0] = queue.handle
    finally:
        stop.set()
        sender.join(30)


def test_calls_are_counted_and_traced_by_name(pair: TwoPartitions) -> None:
    pair.machine.trace_on()
    queue = SubQueue(pair.s)
    lay(pair.c, range(4))
    assert pair.c.port.queue_send(queue.handle, LAID) == 0
    assert pair.c.port.queue_batch(queue.handle, LAID, 4) == 0
    assert pair.s.port.queue_signal(queue.interrupt, 1) == 0
    assert pair.s.port.queue_close(queue.handle) == 0
    client, server = pair.machine.counters("c", pair.c.unit), pair.machine.counters("s", pair.s.unit)
    assert client["H_SEND_SUB_CRQ"] == client["H_SEND_SUB_CRQ_INDIRECT"] == 1
    assert server["H_REG_SUB_CRQ"] == server["H_FREE_SUB_CRQ"] == server["H_VIOCTL"] == 1
    assert client["copies"] == 0
    traced = {Hypercall(entry.opcode): entry for entry in pair.machine.read_trace()}
    assert traced[Hypercall.H_REG_SUB_CRQ].outputs == (queue.handle, queue.interrupt)
    assert traced[Hypercall.H_SEND_SUB_CRQ].inputs[:3] == (pair.c.unit, queue.handle, 0x80 << 56)
    assert traced[Hypercall.H_SEND_SUB_CRQ_INDIRECT].inputs[1:4] == (queue.handle, LAID, 4)


def test_a_record_outside_of_memory_is_no_call(pair: TwoPartitions) -> None:
    from virtio_crq.errors import OutOfBounds

    queue = SubQueue(pair.s)
    with pytest.raises(OutOfBounds):
        pair.c.port.queue_send(queue.handle, pair.c.port.size - 31)
    assert queue.take() is None
    assert queue.slots == SLOTS
