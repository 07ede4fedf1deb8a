# SPDX-License-Identifier: Apache-2.0
"""Copies that are taken back, copies in weak order, and what no copy reaches."""

import mmap
import os
import random
import time
from collections.abc import Iterator

import pytest
from twopartitions import BOTH, DATA, MEBIBYTE, PAGE, READ, WRITE, End, TwoPartitions

from virtio_crq.errors import OutOfBounds
from virtio_crq.papr.hypercalls import Hypercall

H_PERMISSION, H_S_PARM, H_D_PARM, H_PARAMETER, H_FUNCTION = -11, -13, -14, -4, -2


@pytest.fixture
def pair() -> Iterator[TwoPartitions]:
    pair = TwoPartitions()
    pair.connect()
    yield pair
    pair.close()


class Copier:
    """A process that copies in a loop while the block runs: a thread's copies would hold the interpreter's lock."""

    def __init__(self, pair: TwoPartitions, remote: int, length: int, outward: int) -> None:
        self._over = mmap.mmap(-1, PAGE)
        self._codes = mmap.mmap(-1, PAGE)  # by the negated code
        self._flushes = memoryview(mmap.mmap(-1, PAGE)).cast("Q")  # how many vectors were flushed
        self._child = os.fork()
        if self._child:
            return
        try:
            port = pair.server.open(pair.s.unit)
            value = 0
            while not self._over[0]:
                value = value % 255 + 1
                if outward:
                    port.write(DATA, bytes([value]) * length)
                for _ in range(20):
                    port.stage(remote, DATA, length, outward)
                self._codes[-port.flush()] = 1
                self._flushes[0] += 1
        finally:
            os._exit(0)

    def wait_for_a_copy(self) -> None:
        while not self._codes[0]:
            os.sched_yield()

    def wait_for_a_whole_vector(self) -> None:
        """One that began after this call; on a busy machine the other process may not have run for long."""
        goal, deadline = self._flushes[0] + 2, time.monotonic() + 20
        while self._flushes[0] < goal:
            assert time.monotonic() < deadline, "nothing is tried"
            os.sched_yield()

    def __enter__(self) -> "Copier":
        self.wait_for_a_copy()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over[0] = 1
        _, status = os.waitpid(self._child, 0)
        assert os.WIFEXITED(status)

    @property
    def codes(self) -> set[int]:
        return {-index for index in range(100) if self._codes[index]}


@pytest.mark.clause("CRQ-H-10")
@pytest.mark.parametrize("weak", [None, 3])
def test_after_unmapping_no_byte_moves(pair: TwoPartitions, weak: int | None) -> None:
    """A server copies into the client's pages in a loop; whenever the client's unmap says 0, the pages are still."""
    pair.machine.weak_copies(weak)  # these take long enough that one is cut by most unmaps
    length = 16 * PAGE
    with Copier(pair, DATA, length, outward=1) as copier:
        for _ in range(30 if weak else 300):
            assert pair.c.port.map(DATA, DATA, length, BOTH) == 0
            before = pair.c.port.read(DATA, length)
            deadline = time.monotonic() + 10
            while pair.c.port.read(DATA, length) == before:
                assert time.monotonic() < deadline, "nothing is copied"
                os.sched_yield()
            assert pair.c.port.unmap(DATA, length) == 0
            still = pair.c.port.read(DATA, length)
            for _ in range(20):
                assert pair.c.port.read(DATA, length) == still
        copier.wait_for_a_whole_vector()
        assert pair.c.port.read(DATA, length) == still
    assert copier.codes == {0, H_PERMISSION}


@pytest.mark.clause("CRQ-H-7", "CRQ-H-10")
def test_after_freeing_no_byte_moves(pair: TwoPartitions) -> None:
    with Copier(pair, DATA, PAGE, outward=1) as copier:
        for number in range(200):
            assert pair.c.free() == 0
            still = pair.c.port.read(DATA, PAGE)
            if number % 20 == 0:
                copier.wait_for_a_whole_vector()
            for _ in range(20):
                assert pair.c.port.read(DATA, PAGE) == still
            assert pair.c.register() == 0
            os.sched_yield()
            pair.s.take_all()
    assert copier.codes == {0, H_PERMISSION}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("profile", ["lopar-minimum", "power9"])
def test_weak_copies_copy_everything(profile: str, seed: int) -> None:
    pair = TwoPartitions(profile)
    pair.connect()
    pair.machine.weak_copies(seed)
    dice = random.Random(seed)
    for _ in range(40):
        length = dice.choice([1, 2, 3, 15, 16, 17, dice.randrange(1, 9000), dice.randrange(100_000, 200_000)])
        remote, local, outward = DATA + dice.randrange(5000), DATA + dice.randrange(5000), dice.randrange(2)
        source, target = (pair.s, pair.c) if outward else (pair.c, pair.s)
        start, end = (local, remote) if outward else (remote, local)
        data = os.urandom(length)
        source.port.write(start, data)
        target.port.write(end - 1, bytes(length + 2))
        pair.s.port.stage(remote, local, length, outward)
        assert pair.s.port.flush() == 0
        assert target.port.read(end - 1, length + 2) == b"\0" + data + b"\0"
    pair.close()


@pytest.mark.clause("CRQ-H-12")
@pytest.mark.parametrize(("profile", "granularity"), [("lopar-minimum", 2), ("power9", 8)])
@pytest.mark.parametrize("outward", [0, 1])
def test_weak_copies_tear_all_but_short_aligned_fields(profile: str, granularity: int, outward: int) -> None:
    """The writer stores fields of equal bytes; a reader finds every aligned field of the granularity whole."""
    pair = TwoPartitions(profile)
    pair.connect()
    pair.machine.weak_copies(5)
    length = 256
    torn = 0
    reader = pair.c if outward else pair.s
    load = reader.port.load64 if granularity == 8 else reader.port.load16
    with Copier(pair, DATA, length, outward):
        deadline = time.monotonic() + 20
        number = 0
        while number < 2000 or not torn:  # a loaded machine may let long stretches pass between the two
            assert time.monotonic() < deadline, "weak copies were not weak"
            number += 1
            if not outward:  # the copier itself writes what it copies out
                value = int.from_bytes(bytes([number % 255 + 1]) * 8, "little")
                for field in range(0, length, 8):
                    pair.c.port.store64(DATA + field, value)
            for field in range(0, length, granularity):
                assert len(set(load(DATA + field).to_bytes(granularity, "little"))) == 1
            torn += len(set(reader.port.read(DATA, length))) > 1
    pair.close()


@pytest.mark.clause("CRQ-H-5", "CRQ-H-6")
def test_what_is_outside_the_windows_is_refused(pair: TwoPartitions) -> None:
    copy = pair.s.port.call
    own, partner = pair.s.liobns
    window = 16 * MEBIBYTE
    for remote, local, length, expected in (
        (window, DATA, 1, H_S_PARM),
        (window - 1, DATA, 2, H_S_PARM),
        ((1 << 64) - 1, DATA, 2, H_S_PARM),
        (DATA, window, 1, H_D_PARM),
        (DATA, (1 << 64) - PAGE, PAGE, H_D_PARM),
        (DATA + 2 * MEBIBYTE, DATA, 1, H_PERMISSION),  # inside, but not mapped
        (DATA + MEBIBYTE - 1, DATA, 2, H_PERMISSION),  # the second page is not
        (DATA, DATA + MEBIBYTE - 1, 2, H_PERMISSION),
    ):
        assert copy(Hypercall.H_COPY_RDMA, length, partner, remote, own, local)[0] == expected, hex(remote)


@pytest.mark.clause("CRQ-H-6")
def test_handles_of_others_are_refused(pair: TwoPartitions) -> None:
    pair_x = End(pair.other, 0x3000_0002)
    own, partner = pair.s.liobns
    foreign = [pair.c.liobns[0], pair_x.liobns[0], own + 2, own + 3, 0, 1 << 32 | own, (1 << 64) - 1]
    for liobn in foreign:
        assert pair.s.call(Hypercall.H_COPY_RDMA, 8, liobn, DATA, own, DATA) == H_S_PARM
        assert pair.s.call(Hypercall.H_COPY_RDMA, 8, own, DATA, liobn, DATA) == H_D_PARM
        assert pair.s.call(Hypercall.H_READ_RDMA, 8, liobn, DATA) == H_S_PARM
        assert pair.s.call(Hypercall.H_WRITE_RDMA, 8, liobn, DATA, 1) == H_D_PARM
    for liobn in [*foreign, partner]:
        assert pair.s.call(Hypercall.H_PUT_TCE, liobn, DATA, DATA | BOTH) == H_PARAMETER
        assert pair.s.call(Hypercall.H_GET_TCE, liobn, DATA) == H_PARAMETER
        assert pair.s.call(Hypercall.H_STUFF_TCE, liobn, DATA, 0, 1) == H_PARAMETER
        assert pair.s.call(Hypercall.H_PUT_TCE_INDIRECT, liobn, DATA, 0, 1) == H_PARAMETER


@pytest.mark.clause("CRQ-H-5")
def test_access_bits_are_the_owners_choice(pair: TwoPartitions) -> None:
    for access, inward, outward in ((READ, 0, H_PERMISSION), (WRITE, H_PERMISSION, 0), (BOTH, 0, 0)):
        assert pair.c.port.map(DATA, DATA, PAGE, access) == 0
        for direction, expected in ((0, inward), (1, outward)):
            pair.s.port.stage(DATA, DATA, 16, direction)
            assert pair.s.port.flush() == expected


def test_a_client_cannot_copy(pair: TwoPartitions) -> None:
    pair.c.port.stage(DATA, DATA, 8, 0)
    assert pair.c.port.flush() == H_FUNCTION
    assert pair.c.call(Hypercall.H_COPY_RDMA, 8, pair.c.liobns[0] + 1, DATA, pair.c.liobns[0], DATA) == H_S_PARM


def test_a_port_holds_its_own_memory_and_nothing_behind_it(pair: TwoPartitions) -> None:
    """The RAM descriptor is longer than the memory (pages for TCE lists); neither a port nor a TCE reaches them."""
    size = pair.s.port.size
    assert size == 8 * MEBIBYTE == pair.server.memory_size
    for access in (pair.s.port.load8, pair.s.port.acquire8):
        with pytest.raises(OutOfBounds):
            access(size)
    with pytest.raises(OutOfBounds):
        pair.s.port.read(size - 1, 2)
    assert pair.s.call(Hypercall.H_PUT_TCE, pair.s.liobns[0], 0, size | BOTH) == H_PARAMETER
    assert pair.s.port.map(0, size, PAGE, BOTH) == H_PARAMETER
    assert pair.s.port.map(0, size - PAGE, 2 * PAGE, BOTH) == H_PARAMETER


def test_a_partition_is_handed_nothing_of_those_it_has_no_connection_to(pair: TwoPartitions) -> None:
    handover = pair.machine.descriptors_for("c")
    rows = handover.description["descriptors"]
    assert [row["partition"] for row in rows if row["what"] == "ram"] == [0, 1]
    assert len([row for row in rows if row["what"] == "doorbell"]) == 2


def test_a_vector_stops_at_the_first_refusal_and_says_how_far_it_came(pair: TwoPartitions) -> None:
    for remote in (DATA, DATA + PAGE, 0x40_0000, DATA):
        pair.s.port.stage(remote, DATA, 8, 0)
    assert pair.s.port.flush() == H_PERMISSION
    assert pair.s.port.done == 2
