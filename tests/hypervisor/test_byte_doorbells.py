# SPDX-License-Identifier: Apache-2.0
"""Byte doorbells: what a guest partition's terminals get, and a user-space client in such a partition hears as well."""

import os
import select
from collections.abc import Iterator
from dataclasses import replace

import pytest
from twopartitions import End, definition

from virtio_crq.hypervisor.machine import BYTE, EVENTFD, Machine
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.platform.port import Port


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Both ends of the connection are guests."""
    plain = definition()
    partitions = [replace(row, guest=row.name in "cs") for row in plain.partitions]
    with Machine(replace(plain, partitions=partitions)) as machine:
        yield machine


def heard(port: Port) -> bytes:
    """All that came, nothing when nothing did."""
    return os.read(port.fileno(), 4096) if select.select([port], [], [], 0)[0] else b""


def test_each_entry_is_one_byte_and_a_masked_one_comes_with_the_unmasking(machine: Machine) -> None:
    with machine.attach("c") as client, machine.attach("s") as server:
        c, s = End(client, 0x3000_0002), End(server, 0x3000_0003)
        assert (c.register(), s.register()) == (2, 0)
        assert heard(c.port) == heard(s.port) == b""
        s.port.signal(1)
        assert [c.send(number) for number in range(3)] == [0, 0, 0]
        assert len(heard(s.port)) == 3
        s.port.signal(0)
        c.send(3)
        assert heard(s.port) == b""
        s.port.signal(1)
        assert len(heard(s.port)) == 1
        c.port.signal(1)
        s.send(4)
        assert len(heard(c.port)) == 1
        assert machine.counters("s", s.unit)["interrupts"] == 4


def test_a_doorbell_that_nobody_hears_stops_no_sender(machine: Machine) -> None:
    with machine.attach("c") as client, machine.attach("s") as server:
        c, s = End(client, 0x3000_0002, 0x10000), End(server, 0x3000_0003, 0x10000)
        assert (c.register(), s.register()) == (2, 0)
        s.port.signal(1)
        for number in range(20_000):
            assert c.send(number) == 0
            s.take()
        assert heard(s.port)


def test_nothing_rung_before_a_death_is_heard_by_the_next_life(machine: Machine) -> None:
    with machine.attach("c") as client:
        c = End(client, 0x3000_0002)
        with machine.attach("s") as server:
            s = End(server, 0x3000_0003)
            assert (c.register(), s.register()) == (2, 0)
            s.port.signal(1)
            c.send(1)
        assert machine.reap("s")
        with machine.attach("s") as server:
            again = End(server, 0x3000_0003)
            assert heard(again.port) == b""
            assert again.register() == 0
            again.port.signal(1)
            c.send(2)
            assert len(heard(again.port)) == 1


def test_partners_are_given_the_end_to_ring_and_only_a_guest_its_own_to_hear(machine: Machine) -> None:
    rows = machine.descriptors_for("c").description["descriptors"]
    assert [(row["adapter"], row["kind"]) for row in rows if row["what"] == "doorbell"] == [(0, BYTE), (1, BYTE)]
    assert [row["adapter"] for row in rows if row["what"] == "receiver"] == [0]
    rows = machine.descriptors_for("x").description["descriptors"]
    assert [row["kind"] for row in rows if row["what"] == "doorbell"] == [BYTE, EVENTFD]
    assert not [row for row in rows if row["what"] == "receiver"]


def test_a_client_in_a_guest_partition_wakes_from_a_poll(machine: Machine) -> None:
    with machine.attach("c") as client, machine.attach("s") as server:
        c, s = End(client, 0x3000_0002), End(server, 0x3000_0003)
        assert (c.register(), s.register()) == (2, 0)
        c.port.signal(1)
        assert s.call(Hypercall.H_SEND_CRQ, s.unit, 0x80 << 56, 1) == 0
        poll = select.poll()
        poll.register(c.port.fileno(), select.POLLIN)
        assert poll.poll(1000)
        assert c.take() is not None
