# SPDX-License-Identifier: Apache-2.0
"""Two partitions under random calls and deaths do what a slow model does: codes, interrupts, and every byte of RAM."""

import os
import select

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from slowmodel import BOTH, PAGE, RAM_PAGES, SLOTS, Model

from virtio_crq.hypervisor.definition import AdapterDefinition, MachineDefinition, PartitionDefinition
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.papr.devicetree import parse
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import PROFILES
from virtio_crq.platform.port import Port

UNITS = {"c": 0x3000_0002, "s": 0x3000_0003}
WINDOW_PAGES = 12
names = st.sampled_from("cs")
pages = st.integers(0, 3)
counts = st.sampled_from([1, 1, 1, 5, SLOTS - 2, SLOTS + 3])
headers = st.sampled_from([0x80, 0xC0, 1, 0xFF])


class Interleavings(RuleBasedStateMachine):
    profile = "power9"
    weak: int | None = None

    def __init__(self) -> None:
        super().__init__()
        size, window = RAM_PAGES * PAGE, WINDOW_PAGES * PAGE
        self.machine = Machine(
            MachineDefinition(
                "random",
                self.profile,
                [PartitionDefinition("c", 1, size), PartitionDefinition("s", 2, size)],
                [AdapterDefinition("c", "s", 2, 3, window, window)],
            )
        )
        self.machine.weak_copies(self.weak)
        self.model = Model(PROFILES[self.profile])
        self.ports: dict[str, Port] = {}
        self.liobns: dict[str, int] = {}
        self.taken = {"c": 0, "s": 0}
        self.number = 0
        for name in "cs":
            self.attach(name)

    def attach(self, name: str) -> None:
        partition = self.machine.attach(name)
        self.ports[name] = partition.open(partition.adapters()[0].unit_address)
        self.liobns[name] = parse(partition.adapters()[0].properties).windows[0].liobn
        self.taken[name] = 0

    @rule(name=names)
    def register(self, name: str) -> None:
        if not self.model.ends[name].open:  # the partition zeroes its queue and starts over
            self.ports[name].write(0, bytes(PAGE))
            self.model.ends[name].ram[:PAGE] = bytes(PAGE)
            self.taken[name] = 0
        code = self.ports[name].call(Hypercall.H_REG_CRQ, UNITS[name], 0, PAGE)[0]
        assert code == self.model.register(name)

    @rule()
    def connect(self) -> None:
        for name in "cs":
            for page in range(4):
                self.put(name, page, page, BOTH)
            self.register(name)

    @rule(name=names)
    def free(self, name: str) -> None:
        code = 1
        while code == 1:
            code = self.ports[name].call(Hypercall.H_FREE_CRQ, UNITS[name])[0]
        assert code == self.model.free(name)

    @rule(
        name=names,
        count=st.sampled_from([1, 1, 1, 5, SLOTS - 2, SLOTS + 3]),
        header=st.sampled_from([0x80, 0xC0, 1, 0xFF]),
    )
    def send(self, name: str, count: int, header: int) -> None:
        for _ in range(count):
            self.number += 1
            content = bytes([header]) + self.number.to_bytes(15, "big")
            high, low = int.from_bytes(content[:8], "big"), int.from_bytes(content[8:], "big")
            assert self.ports[name].send(high, low) == self.model.send(name, content)

    @rule(name=names, dies=st.booleans())
    def end_with_a_full_ring(self, name: str, dies: bool) -> None:
        self.connect()
        self.send(name, SLOTS + 1, 0x80)
        if dies:
            self.die(name)
        else:
            self.free(name)

    @rule(name=names, count=st.sampled_from([1, 3, SLOTS]))
    def take(self, name: str, count: int) -> None:
        for _ in range(count):
            slot = self.taken[name] * 16
            if not self.ports[name].acquire8(slot):
                break
            self.ports[name].release8(slot, 0)
            self.model.ends[name].ram[slot] = 0
            self.taken[name] = (self.taken[name] + 1) % SLOTS

    @rule(name=names, page=pages, ram_page=st.integers(0, RAM_PAGES), access=st.sampled_from([0, 1, 2, 3, 3, 3]))
    def put(self, name: str, page: int, ram_page: int, access: int) -> None:
        code = self.ports[name].call(Hypercall.H_PUT_TCE, self.liobns[name], page * PAGE, ram_page * PAGE | access)[0]
        assert code == self.model.put(name, page, ram_page, access)

    @rule(
        remote=st.integers(0, 4 * PAGE - 1),
        local=st.integers(0, 4 * PAGE - 1),
        length=st.one_of(st.integers(1, 40), st.integers(1, 3 * PAGE)),
        outward=st.booleans(),
    )
    def copy(self, remote: int, local: int, length: int, outward: bool) -> None:
        self.ports["s"].stage(remote, local, length, outward)
        assert self.ports["s"].flush() == self.model.copy(remote, local, length, outward)

    @rule(name=names, page=st.integers(1, RAM_PAGES - 1))
    def write(self, name: str, page: int) -> None:
        self.number += 1
        data = self.number.to_bytes(4, "little") * (PAGE // 4)
        self.ports[name].write(page * PAGE, data)
        self.model.ends[name].ram[page * PAGE : page * PAGE + PAGE] = data

    @rule(name=names, on=st.booleans())
    def signal(self, name: str, on: bool) -> None:
        assert self.ports[name].signal(on) == 0
        self.model.set_signal(name, on)

    @rule(name=names)
    def die(self, name: str) -> None:
        left_over = self.ports[name]
        assert self.machine.reap(name)
        self.model.die(name)
        self.attach(name)
        assert left_over.send(0x80 << 56, 0) == -1

    @invariant()
    def same_interrupts(self) -> None:
        for name, port in self.ports.items():
            fired = bool(select.select([port], [], [], 0)[0])
            if fired:
                os.eventfd_read(port.fileno())
            assert fired == self.model.ends[name].fired, name
            self.model.ends[name].fired = False

    @invariant()
    def same_memory(self) -> None:
        for name, port in self.ports.items():
            assert port.read(0, RAM_PAGES * PAGE) == self.model.ends[name].ram, name

    def teardown(self) -> None:
        self.machine.close()


@pytest.mark.parametrize("weak", [None, 9])
@pytest.mark.parametrize("profile", PROFILES)
def test_two_partitions_do_what_the_model_does(profile: str, weak: int | None) -> None:
    case = type(f"Interleavings_{profile}", (Interleavings,), {"profile": profile, "weak": weak}).TestCase
    case.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
    case().runTest()
