# SPDX-License-Identifier: Apache-2.0
"""Redirected transfers: what moves, what does not, and that a page that was taken back is touched no more."""

import contextlib
import errno
import os
import re
import signal
import struct
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from twopartitions import BOTH, DATA, MEBIBYTE, PAGE, READ, RING, WRITE, End, TwoPartitions

from virtio_crq.errors import UsageError
from virtio_crq.hypervisor import binding, binding_stops
from virtio_crq.hypervisor.definition import StorageDefinition
from virtio_crq.hypervisor.view import trace_view
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import EXTREMES, profile_named
from virtio_crq.platform import partition as seam
from virtio_crq.platform.partition import UnitAddress
from virtio_crq.platform.port import give_way

STORAGE = UnitAddress(0x3000_0010)
FILE = b"".join(bytes([index + 1]) * PAGE for index in range(64))
POINTS = [point for point in binding_stops.stop_points() if point.startswith(("clone_", "transfer_"))]
SERVERS = [point for point in POINTS if point != "clone_bucketed"]
BUSY, RESOURCE = 1, -16


class Redirecting:
    """A client, its server, the server's storage adapter, and a file that it may transfer."""

    def __init__(self, profile: str = "power9", engine: ModuleType = binding, clients: int = 1) -> None:
        self.pair = TwoPartitions(profile, engine, storage=[StorageDefinition("s", 0x10, 4 * MEBIBYTE)])
        self.pair.connect()
        self.c, self.s = self.pair.c, self.pair.s
        self.table = 0x1000_0000 + 4 * next(
            index for index, end in enumerate(self.pair.machine._adapters) if end.unit_address == STORAGE
        )
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 — closed below
        self.file.write(FILE)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.number = -1
        self.children: list[int] = []

    def lend(self, size: int = 2 * MEBIBYTE) -> None:
        assert self.s.port.storage(STORAGE, 0, size) == 0
        self.number = self.s.port.lend(self.file.fileno())
        assert self.number >= 0

    def clone(self, first: int, place: int, count: int = 1) -> int:
        return self.s.call(Hypercall.H_PUT_RTCE, self.s.liobns[1], first, self.table, place, count)

    def remove(self, first: int, place: int, count: int = 1) -> int:
        return self.s.call(Hypercall.H_REMOVE_RTCE, self.s.liobns[1], first, self.table, place, count, 0)

    def transfer(self, place: int, length: int, writes: bool = False) -> int:
        return self.pair.server.transfer(self.s.unit, STORAGE, place, length, self.file.fileno(), writes)

    def close(self) -> None:
        for pid in self.children:  # a test that failed may have left one stopped
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
        self.file.close()
        self.pair.close()


@pytest.fixture(params=EXTREMES, ids=lambda profile: profile.name)
def scene(request: pytest.FixtureRequest) -> Iterator[Redirecting]:
    made = Redirecting(request.param.name)
    yield made
    made.close()


@pytest.fixture
def stoppable() -> Iterator[Redirecting]:
    made = Redirecting("power9", binding_stops)
    yield made
    made.close()


def counts(scene: Redirecting) -> dict[str, int]:
    return dict(scene.pair.machine.counters("s", scene.s.unit))


def test_a_vector_of_transfers_fills_the_clients_pages_without_a_copy(scene: Redirecting) -> None:
    scene.lend()
    before = counts(scene)
    for place, length, position in ((8, 2, 0), (2, 1, 5), (20, 3, 30)):
        index = scene.s.port.stage_transfer(scene.number, DATA + place * PAGE, length * PAGE, position * PAGE, 0)
        assert index >= 0
    assert scene.s.port.transfer() == 0
    assert [scene.s.port.moved(index) for index in range(3)] == [2 * PAGE, PAGE, 3 * PAGE]
    for place, length, position in ((8, 2, 0), (2, 1, 5), (20, 3, 30)):
        assert scene.c.port.read(DATA + place * PAGE, length * PAGE) == FILE[position * PAGE :][: length * PAGE]
    grown = {name: value - before[name] for name, value in counts(scene).items() if value != before[name]}
    listed = "H_PUT_RTCE_INDIRECT" not in {
        call.name for call in profile_named(scene.pair.machine.definition.profile).absent_calls
    }
    calls = {"H_PUT_RTCE_INDIRECT": 1} if listed else {"H_PUT_RTCE": 3}
    assert grown == {**calls, "H_REMOVE_RTCE": 3, "transfers": 3, "transferred": 6 * PAGE}


def test_transfers_that_follow_each_other_are_one_and_so_is_what_removes_them(scene: Redirecting) -> None:
    if profile_named(scene.pair.machine.definition.profile).name == "lopar-minimum":
        pytest.skip("without H_PUT_RTCE_INDIRECT each run is by itself")
    scene.lend()
    before = counts(scene)
    for index in range(8):
        scene.s.port.stage_transfer(scene.number, DATA + index * PAGE, PAGE, index * PAGE, 0)
    assert scene.s.port.transfer() == 0
    grown = {name: value - before[name] for name, value in counts(scene).items() if value != before[name]}
    assert grown == {"H_PUT_RTCE_INDIRECT": 1, "H_REMOVE_RTCE": 1, "transfers": 1, "transferred": 8 * PAGE}
    assert scene.c.port.read(DATA, 8 * PAGE) == FILE[: 8 * PAGE]


def test_what_cannot_be_redirected_is_told_by_transfer_and_hinders_no_other(scene: Redirecting) -> None:
    scene.lend()
    port = scene.s.port
    assert scene.c.port.unmap(DATA + 3 * PAGE, PAGE) == 0
    assert scene.c.port.map(DATA + 5 * PAGE, DATA + 5 * PAGE, PAGE, READ) == 0
    places = (1, 3, 4, 5, 6)  # the second is not mapped, the fourth may not be written
    for index, place in enumerate(places):
        port.stage_transfer(scene.number, DATA + place * PAGE, PAGE, 2 * index * PAGE, 0)
    port.stage_transfer(scene.number, DATA + 7 * PAGE, 2 * PAGE, 63 * PAGE, 0)  # beyond the end of the file
    port.stage_transfer(scene.number + 1, DATA + 10 * PAGE, PAGE, 0, 0)  # a file that nobody lent
    assert port.transfer() == 0
    moved = [port.moved(index) for index in range(7)]
    assert moved[0] == moved[2] == moved[4] == PAGE
    assert moved[1] < 0
    assert moved[3] == -errno.EFAULT
    assert moved[5] == PAGE
    assert moved[6] == -errno.EBADF
    assert scene.c.port.read(DATA + 3 * PAGE, PAGE) == scene.c.port.read(DATA + 5 * PAGE, PAGE) == bytes(PAGE)
    assert scene.clone(DATA + PAGE, 0) == 0  # nothing was left cloned: neither entry nor place is taken


def test_only_whole_pages_are_redirected_and_nothing_of_a_vector_with_others_moves(scene: Redirecting) -> None:
    scene.lend()
    for remote, length in ((DATA + 512, PAGE), (DATA, 512), (DATA, 0)):
        scene.s.port.stage_transfer(scene.number, DATA, PAGE, 0, 0)
        scene.s.port.stage_transfer(scene.number, remote, length, 0, 0)
        assert scene.s.port.transfer() == -4
        assert scene.s.port.moved(0) < 0
    assert scene.c.port.read(DATA, PAGE) == bytes(PAGE)


def test_a_transfer_longer_than_one_pass_is_left_to_copies(scene: Redirecting) -> None:
    scene.lend(4 * PAGE)
    scene.s.port.stage_transfer(scene.number, DATA, 5 * PAGE, 0, 0)
    scene.s.port.stage_transfer(scene.number, DATA, 4 * PAGE, 0, 0)
    assert scene.s.port.transfer() == 0
    assert scene.s.port.moved(0) < 0
    assert scene.s.port.moved(1) == 4 * PAGE


def test_a_port_without_storage_and_a_client_have_no_transfers(scene: Redirecting) -> None:
    for port in (scene.s.port, scene.c.port):
        assert port.lend(scene.file.fileno()) < 0
        port.stage_transfer(0, DATA, PAGE, 0, 0)
        assert port.transfer() < 0
        assert port.moved(0) < 0
    assert scene.c.port.storage(STORAGE, 0, PAGE) < 0
    assert scene.s.port.storage(scene.s.unit, 0, PAGE) < 0
    assert scene.s.port.storage(STORAGE, 4 * MEBIBYTE, PAGE) < 0


def test_a_reclaimed_file_is_transferred_no_more_and_its_lock_goes_with_it(scene: Redirecting) -> None:
    scene.lend()
    name = f"/proc/self/fd/{scene.file.fileno()}"
    held = [entry for entry in os.listdir("/proc/self/fd") if _same(entry, name)]
    scene.s.port.reclaim(scene.number)
    assert len([entry for entry in os.listdir("/proc/self/fd") if _same(entry, name)]) == len(held) - 1
    scene.s.port.stage_transfer(scene.number, DATA, PAGE, 0, 0)
    scene.s.port.transfer()
    assert scene.s.port.moved(0) == -errno.EBADF
    scene.s.port.reclaim(scene.number)  # again, and one that never was: nothing happens
    scene.s.port.reclaim(1 << 40)


def _same(entry: str, name: str) -> bool:
    try:
        return os.path.samefile(f"/proc/self/fd/{entry}", name)
    except OSError:
        return False


def test_what_the_client_wrote_goes_to_the_file(scene: Redirecting) -> None:
    scene.c.port.write(DATA, b"q" * 2 * PAGE)
    assert scene.clone(DATA, PAGE, 2) == 0
    assert scene.transfer(PAGE, 2 * PAGE, writes=True) == 2 * PAGE
    assert os.pread(scene.file.fileno(), 3 * PAGE, 0) == b"q" * 2 * PAGE + FILE[2 * PAGE : 3 * PAGE]


def test_access_is_that_of_the_clients_entry(scene: Redirecting) -> None:
    assert scene.c.port.map(DATA, DATA, PAGE, READ) == 0
    assert scene.c.port.map(DATA + PAGE, DATA + PAGE, PAGE, WRITE) == 0
    assert scene.clone(DATA, 0, 2) == 0
    assert scene.transfer(0, PAGE) == -errno.EFAULT
    assert scene.transfer(0, PAGE, writes=True) == PAGE
    assert scene.transfer(PAGE, PAGE) == PAGE
    assert scene.transfer(PAGE, PAGE, writes=True) == -errno.EFAULT


def test_a_bit_bucket_takes_what_is_written_and_faults_on_reads() -> None:
    scene = Redirecting()
    try:
        assert scene.clone(DATA, 0, 2) == 0
        assert scene.c.call(Hypercall.H_PUT_TCE, scene.c.liobns[0], DATA, 0) == 0
        assert scene.transfer(0, 2 * PAGE) == 2 * PAGE
        assert scene.c.port.read(DATA, PAGE) == bytes(PAGE)
        assert scene.c.port.read(DATA + PAGE, PAGE) == FILE[PAGE : 2 * PAGE]
        assert scene.transfer(0, 2 * PAGE, writes=True) == -errno.EFAULT
        assert scene.remove(DATA, 0, 2) == 0
    finally:
        scene.close()


@pytest.mark.parametrize("bucket", [True, False])
def test_an_entry_that_is_stored_once_more_as_it_is_keeps_its_clone(bucket: bool) -> None:
    """A list may go over pages that are in use, to reach those behind them."""
    scene = Redirecting()
    try:
        if not bucket:
            assert scene.s.call(Hypercall.H_LIOBN_ATTRIBUTES, scene.table, 1, 0) == 0
        assert scene.c.call(Hypercall.H_PUT_TCE, scene.c.liobns[0], DATA, DATA | READ) == 0
        assert scene.clone(DATA + PAGE, 0) == 0
        same = [page | BOTH for page in range(DATA, DATA + 3 * PAGE, PAGE)]
        scene.c.port.write(DATA + 8 * PAGE, struct.pack(">3Q", *same))
        assert scene.c.call(Hypercall.H_PUT_TCE_INDIRECT, scene.c.liobns[0], DATA, DATA + 8 * PAGE, 3) == 0
        assert scene.c.call(Hypercall.H_PUT_TCE, scene.c.liobns[0], DATA + PAGE, same[1]) == 0
        assert scene.transfer(0, PAGE) == PAGE
        assert scene.c.port.read(DATA + PAGE, PAGE) == FILE[:PAGE]
    finally:
        scene.close()


@pytest.mark.clause("CRQ-F-95")
def test_without_the_attribute_the_client_is_held_off_until_the_clone_is_removed() -> None:
    scene = Redirecting()
    try:
        assert scene.s.call(Hypercall.H_LIOBN_ATTRIBUTES, scene.table, 1, 0) == 0
        assert scene.clone(DATA, 0) == 0
        unmap = (scene.c.liobns[0], DATA, 0)
        assert scene.c.call(Hypercall.H_PUT_TCE, *unmap) == RESOURCE
        assert scene.transfer(0, PAGE) == PAGE
        assert scene.c.port.read(DATA, PAGE) == FILE[:PAGE]
        assert scene.c.port.unmap(DATA, PAGE) == BUSY  # the seam's word for "call again"
        assert scene.remove(DATA, 0) == 0
        assert scene.c.call(Hypercall.H_PUT_TCE, *unmap) == 0
    finally:
        scene.close()


def test_a_clone_is_of_one_connection_and_no_other_port_transfers_by_it(scene: Redirecting) -> None:
    """Whoever takes a page back looks only at the calls of its own partner's adapter."""
    assert scene.clone(DATA, 0) == 0
    x, s2 = End(scene.pair.other, 0x3000_0002), End(scene.pair.server, 0x3000_0004)
    ring = RING + 0x8000
    s2.port.write(ring, bytes(PAGE))
    assert s2.port.map(ring, ring, PAGE, BOTH) == 0
    assert x.register() == 2
    assert s2.call(Hypercall.H_REG_CRQ, s2.unit, ring, PAGE) == 0
    moved = scene.pair.server.transfer(s2.unit, STORAGE, 0, PAGE, scene.file.fileno(), False)
    assert moved == -errno.EFAULT
    # Nor does it remove it, or take its place.
    assert s2.call(Hypercall.H_REMOVE_RTCE, s2.liobns[1], DATA, scene.table, 0, 1, 0) == -4
    assert x.port.map(DATA, DATA, PAGE, BOTH) == 0
    assert s2.call(Hypercall.H_PUT_RTCE, s2.liobns[1], DATA, scene.table, 0, 1) == -77


@pytest.mark.parametrize("end", ["c", "s"])
def test_the_end_of_a_connection_ends_its_clones(end: str) -> None:
    scene = Redirecting()
    try:
        assert scene.clone(DATA, 0, 4) == 0
        assert getattr(scene, end).free() == 0
        assert scene.transfer(0, PAGE) == -errno.ENOTCONN
        assert getattr(scene, end).register() == 0
        expected = PAGE if end == "c" else -errno.EFAULT  # swallowed; the server's own end leaves nothing
        assert scene.transfer(0, PAGE) == expected
        assert scene.c.port.read(DATA, PAGE) == bytes(PAGE)
        assert scene.remove(DATA, 0, 4) == (0 if end == "c" else -4)
        assert scene.clone(DATA, 0, 4) == 0
        assert scene.transfer(0, PAGE) == PAGE
    finally:
        scene.close()


@pytest.mark.parametrize("profile", ["lopar-minimum", "power9"])
def test_a_client_that_died_is_out_of_its_servers_reach(profile: str) -> None:
    scene = Redirecting(profile)
    try:
        assert scene.clone(DATA, 0) == 0
        assert scene.pair.machine.reap("c")
        successor = End(scene.pair.machine.attach("c"), scene.c.unit)
        assert successor.register() == 0
        assert successor.port.map(DATA, DATA, PAGE, BOTH) == 0
        assert scene.transfer(0, PAGE) == PAGE  # swallowed
        assert successor.port.read(DATA, PAGE) == bytes(PAGE)
        assert scene.remove(DATA, 0) == 0
        assert scene.clone(DATA, 0) == 0
        assert scene.transfer(0, PAGE) == PAGE
        assert successor.port.read(DATA, PAGE) == FILE[:PAGE]
    finally:
        scene.close()


def child(
    scene: Redirecting, name: str, point: str, number: int, life: Callable[[Redirecting], object]
) -> tuple[int, int]:
    """Runs `life` in a forked partition `name` that gets a signal at `point`: its pid, and how it ended or stopped."""
    pid = os.fork()
    if not pid:
        try:
            partition = scene.pair.machine.attach(name)
            if name == "c":
                scene.c = End(partition, scene.c.unit)
            else:
                scene.s, scene.pair.server = End(partition, scene.s.unit), partition
            binding_stops.arm(point, number, 0)
            life(scene)
        finally:
            os._exit(0)
    scene.children.append(pid)
    _, status = os.waitpid(pid, os.WUNTRACED)
    return pid, os.WSTOPSIG(status) if os.WIFSTOPPED(status) else os.WTERMSIG(status)


def redirect_once(scene: Redirecting) -> None:
    scene.clone(DATA, 0, 4)
    scene.transfer(0, 4 * PAGE)
    scene.remove(DATA, 0, 4)


@pytest.mark.parametrize("point", SERVERS)
def test_a_server_killed_anywhere_leaves_no_clone_and_holds_nothing_for_ever(
    stoppable: Redirecting, point: str
) -> None:
    assert child(stoppable, "s", point, signal.SIGKILL, redirect_once)[1] == signal.SIGKILL
    assert stoppable.pair.machine.reap("s")
    assert stoppable.c.call(Hypercall.H_PUT_TCE, stoppable.c.liobns[0], DATA, 0) == 0
    assert stoppable.c.port.map(DATA, DATA, 4 * PAGE, BOTH) == 0
    stoppable.pair.server = stoppable.pair.machine.attach("s")
    stoppable.s = End(stoppable.pair.server, stoppable.s.unit)
    assert stoppable.s.register() == 0
    stoppable.c.port.write(DATA, bytes(4 * PAGE))
    assert stoppable.transfer(0, PAGE) == -errno.EFAULT
    assert stoppable.clone(DATA, 0, 4) == 0
    assert stoppable.transfer(0, 4 * PAGE) == 4 * PAGE
    assert stoppable.c.port.read(DATA, 4 * PAGE) == FILE[: 4 * PAGE]
    assert stoppable.remove(DATA, 0, 4) == 0


def test_while_a_transfer_is_stopped_nobody_gets_its_pages_back_and_nobody_waits_for_ever(
    stoppable: Redirecting,
) -> None:
    c, machine = stoppable.c, stoppable.pair.machine
    pid, how = child(stoppable, "s", "transfer_published", signal.SIGSTOP, redirect_once)
    assert how == signal.SIGSTOP
    assert c.call(Hypercall.H_PUT_TCE, c.liobns[0], DATA + PAGE, 0) == BUSY
    assert c.call(Hypercall.H_PUT_TCE, c.liobns[0], DATA + PAGE, 0) == BUSY
    assert c.call(Hypercall.H_PUT_TCE, c.liobns[0], DATA + 5 * PAGE, 0) == 0  # not among them
    assert c.call(Hypercall.H_FREE_CRQ, c.unit) == BUSY
    assert stoppable.remove(DATA, 0, 4) == BUSY
    assert not machine.reap("c")
    os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)
    assert machine.reap("c")
    # The page was a bit bucket when the transfer went on, and the client was closing: nothing was written at all.
    assert machine.attach("c").open(c.unit).read(DATA, 4 * PAGE) == bytes(4 * PAGE)


def test_a_transfer_that_began_before_a_page_was_taken_back_ends_before_it_is_given(stoppable: Redirecting) -> None:
    c = stoppable.c
    pid, how = child(stoppable, "s", "transfer_made", signal.SIGSTOP, redirect_once)
    assert how == signal.SIGSTOP
    unmap = (c.liobns[0], DATA, 0)
    assert c.call(Hypercall.H_PUT_TCE, *unmap) == BUSY
    os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)
    assert c.call(Hypercall.H_PUT_TCE, *unmap) == 0
    c.port.write(DATA, bytes(PAGE))
    assert stoppable.transfer(0, PAGE) == -errno.EFAULT
    assert c.port.read(DATA, PAGE) == bytes(PAGE)


@pytest.mark.parametrize("point", ["tce_stored", "clone_bucketed", "tce_settled"])
def test_a_client_killed_while_it_takes_a_cloned_page_back(stoppable: Redirecting, point: str) -> None:
    assert stoppable.clone(DATA, 0, 2) == 0

    def life(scene: Redirecting) -> None:
        scene.c.call(Hypercall.H_PUT_TCE, scene.c.liobns[0], DATA, 0)

    assert child(stoppable, "c", point, signal.SIGKILL, life)[1] == signal.SIGKILL
    assert stoppable.pair.machine.reap("c")
    fresh = End(stoppable.pair.machine.attach("c"), stoppable.c.unit)
    assert fresh.register() == 0
    assert fresh.port.map(DATA, DATA, 2 * PAGE, BOTH) == 0
    assert stoppable.transfer(0, 2 * PAGE) == 2 * PAGE
    assert fresh.port.read(DATA, 2 * PAGE) == bytes(2 * PAGE)
    assert stoppable.remove(DATA, 0, 2) == 0


def test_no_byte_comes_after_a_page_was_taken_back_under_full_load() -> None:
    """A server in another process transfers without end while the client takes its page back and shows it again."""
    scene = Redirecting()
    try:
        pid = os.fork()
        if not pid:
            server = scene.pair.machine.attach("s")
            scene.s, scene.pair.server = End(server, scene.s.unit), server
            scene.lend()
            while True:
                scene.s.port.stage_transfer(scene.number, DATA, PAGE, 0, 0)
                scene.s.port.transfer()
        try:
            _take_back_and_look(scene, rounds=100)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert scene.pair.machine.reap("s")
    finally:
        scene.close()


def _take_back_and_look(scene: Redirecting, rounds: int) -> None:
    for _ in range(rounds):
        assert scene.c.port.map(DATA, DATA, PAGE, BOTH) == 0
        while not scene.c.port.load8(DATA):
            give_way()
        while scene.c.port.unmap(DATA, PAGE):
            pass
        scene.c.port.write(DATA, bytes(PAGE))
        for _ in range(50):
            assert scene.c.port.read(DATA, PAGE) == bytes(PAGE)


def test_transfers_stand_in_the_trace_beside_the_calls(scene: Redirecting) -> None:
    scene.lend()
    scene.pair.machine.trace_on()
    scene.s.port.stage_transfer(scene.number, DATA, PAGE, 3 * PAGE, 0)
    scene.s.port.transfer()
    rows = [(row.opcode, row.code) for row in scene.pair.machine.read_trace()]
    assert rows == [(Hypercall.H_PUT_RTCE, 0), (1, PAGE), (Hypercall.H_REMOVE_RTCE, 0)]
    shown = trace_view(scene.pair.machine, 0)[1]
    assert (shown["call"], shown["code"]) == ("transfer from file to memory", "4096 bytes")
    assert shown["inputs"] == {"ioba": 0, "length": PAGE, "position": 3 * PAGE}


def take_back_as_guest(scene: Redirecting, alarm: float, limit: float) -> int:
    call, liobn = Hypercall.H_PUT_TCE, scene.c.liobns[0]
    return scene.pair.client.call_as_guest(call, liobn, DATA, 0, alarm=alarm, limit=limit)


def test_a_guest_waits_for_a_transfer_and_its_server_is_named_when_it_stays_stopped(stoppable: Redirecting) -> None:
    pid, how = child(stoppable, "s", "transfer_published", signal.SIGSTOP, redirect_once)
    assert how == signal.SIGSTOP
    machine = stoppable.pair.machine
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(take_back_as_guest, stoppable, 0, 60)
        while machine.obstructors() != ["s"]:
            give_way()
        assert not waiting.done()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert machine.reap("s")
        assert waiting.result(60) == 0
    assert machine.obstructors() == []


def test_a_guest_that_is_held_off_waits_for_the_clone_to_be_removed() -> None:
    scene = Redirecting("lopar-minimum")
    try:
        assert scene.clone(DATA, 0) == 0
        assert take_back_as_guest(scene, 0, 0.01) == RESOURCE
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(take_back_as_guest, scene, 0, 60)
            while scene.pair.machine.obstructors() != ["s"]:
                give_way()
            assert scene.remove(DATA, 0) == 0
            assert waiting.result(60) == 0
    finally:
        scene.close()


def test_no_pointer_crosses_the_seam() -> None:
    """What a caller says of a transfer, and what it is told, are numbers; the one memory of a port is its own."""
    header = re.sub(r"/\*.*?\*/", "", (Path(seam.__file__).parent / "seam.h").read_text(), flags=re.DOTALL)
    transfer = re.search(r"struct seam_transfer \{(.*?)\n\};", header, re.DOTALL)
    port = re.search(r"struct seam_port \{(.*?)\n\};", header, re.DOTALL)
    assert transfer is not None
    assert port is not None
    assert {field.split()[0] for field in transfer[1].split(";")[:-1]} == {"uint64_t", "uint32_t", "int64_t"}
    data = [field.strip() for field in port[1].split(";") if "*" in field and "(*" not in field]
    assert data == ["void *context", "uint8_t *memory"]


def test_a_machine_refuses_what_cannot_be_a_storage_adapter() -> None:
    for wrong in (StorageDefinition("nobody", 16), StorageDefinition("s", 3), StorageDefinition("s", 16, 5000)):
        with pytest.raises(UsageError):
            TwoPartitions(storage=[wrong])
