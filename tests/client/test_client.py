# SPDX-License-Identifier: Apache-2.0
"""The client partition over the loopback bus: I/O, loss and return of the server, servers that misbehave."""

import asyncio
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slowserver import BlockModel, EntropyModel, Model, SlowServer

from combinations import ways
from virtio_crq.client.client import Client
from virtio_crq.client.device import Options
from virtio_crq.client.disk import Disk
from virtio_crq.client.nbdserver import NbdServer
from virtio_crq.client.transfer import Transfer
from virtio_crq.errors import DeviceFault, PartnerLost, UsageError, VirtioCrqError
from virtio_crq.loopback.cable import CLIENT, Cable, CablePort
from virtio_crq.loopback.endpoint import LoopbackEndpoint
from virtio_crq.message.bus import Bus
from virtio_crq.message.frontend import FrontEnd
from virtio_crq.platform.endpoint import Endpoint
from virtio_crq.platform.partition import Arena, BusAddress
from virtio_crq.virtio import block
from virtio_crq.virtio import features as bits
from virtio_crq.virtio.block import BlockConfig
from virtio_crq.virtio.features import Features

MEMORY = 8 << 20
PATIENCE = 20.0


def named(way: tuple[str, str, bool]) -> str:
    """For `pytest.mark.parametrize(…, ids=named)`."""
    ring, mapping, push = way
    return "-".join([ring, mapping, *(["pushed"] if push else [])])


class Machine:
    """A cable, the client at one end, and whatever servers a test puts at the other."""

    def __init__(
        self, options: Options | None = None, memory: int = MEMORY, push: bool = False, packed: bool = False
    ) -> None:
        self.push, self.packed = push, packed
        self.cable = Cable(bytearray(memory), bytearray(1 << 16))
        self.memory = memory
        self.client = Client([self._connect], options or Options(depth=8, transfer=16384))

    @classmethod
    def of(cls, way: tuple[str, str, bool], **options: Any) -> "Machine":
        """One of `ways()`."""
        ring, mapping, push = way
        chosen = {"depth": 8, "transfer": 16384, "ring": ring, "map": mapping}
        return cls(Options(**(chosen | options)), push=push, packed=ring == "packed")

    def _connect(self, front_end: Callable[[Bus], FrontEnd]) -> Endpoint:
        return LoopbackEndpoint(self.cable, CLIENT, Arena(0, self.memory, BusAddress(0)), self.memory, front_end)

    def block(self, number: int = 0, **more: Any) -> BlockModel:
        return BlockModel(self.cable, number, **more)

    def server(self, *models: Model) -> SlowServer:
        return SlowServer(self.cable, *models, push=self.push, packed=self.packed)

    def shown(self) -> dict[int, tuple[int, int]]:
        """The pages of its memory that the client lets the server reach."""
        return {bus: page for bus, page in self.cable.ends[CLIENT].pages.items() if page[1]}

    def shown_beside(self, disk: Disk) -> dict[int, tuple[int, int]]:
        """The same without what the requests of this disk lie in."""
        slots = disk.driver.mapping
        _ram, window = slots.footprint(slots.slots, slots.head, slots.room, slots.kept)
        own = range(slots.bus // 4096, (slots.bus + window) // 4096)
        return {bus: page for bus, page in self.shown().items() if bus not in own}

    def until(self, true: Callable[[], bool]) -> None:
        for _turn in range(int(PATIENCE / 0.01)):
            if true():
                return
            self.client.turn(0.01)
        raise AssertionError("it did not come about")


@pytest.fixture(params=ways(), ids=named)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    made = Machine.of(request.param)
    yield made
    made.client.close()
    made.cable.close()


def ended(machine: Machine, transfer: Transfer[bytes]) -> bytes:
    machine.client.wait([transfer])
    return transfer.result()


@pytest.mark.parametrize("way", ways(), ids=named)
@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("event_idx", [False, True])
def test_what_was_written_is_read_back_in_any_size(way: tuple[str, str, bool], indirect: bool, event_idx: bool) -> None:
    machine = Machine.of(way, depth=4, transfer=8192, indirect=indirect, event_idx=event_idx)
    model = machine.block()
    with machine.server(model), machine.client as client:
        disk = client.disk("root")
        assert (disk.capacity, disk.block_size, disk.readonly) == (1 << 20, 512, False)
        data = os.urandom(300 * 512)
        disk.write(512, data)
        assert disk.read(512, len(data)) == data
        assert bytes(model.content[512 : 512 + len(data)]) == data
        assert (disk.ring_layout, disk.driver.mapping.name, disk.pushed) == way
    machine.cable.close()


def test_flush_is_a_request_where_offered_and_nothing_where_not(machine: Machine) -> None:
    offered = machine.block(1, name=b"safe", features=Features(model_features() | bits.feature_set(block.FLUSH)))
    without = machine.block(2, name=b"plain")
    with machine.server(offered, without):
        machine.client.open()
        machine.client.disk("safe").flush()
        machine.client.disk("plain").flush()
        assert (offered.flushes, without.flushes) == (1, 0)


def model_features() -> int:
    return int(BlockModel.features)


def test_every_mapping_lasts_as_long_as_its_request(machine: Machine) -> None:
    with machine.server(machine.block()):
        machine.client.open()
        standing = machine.shown()
        machine.client.disk("root").read(0, 65536)
        assert machine.shown() == standing


def test_many_requests_are_awaited_in_an_event_loop(machine: Machine) -> None:
    model = machine.block()
    model.content[:] = os.urandom(len(model.content))

    async def run() -> None:
        async with asyncio.timeout(PATIENCE), machine.client.attached():
            disk = machine.client.disk("root")
            got = await asyncio.gather(*(_read(disk, offset) for offset in range(0, 1 << 20, 4096)))
            assert b"".join(got) == bytes(model.content)

    async def _read(disk: Disk, offset: int) -> bytes:
        return await disk.start_read(offset, 4096)

    with machine.server(model):
        machine.client.open()
        asyncio.run(run())


def test_entropy_gives_as_many_bytes_as_asked_though_the_device_gives_few(machine: Machine) -> None:
    with machine.server(EntropyModel(machine.cable, 3)):
        machine.client.open()
        assert machine.client.entropy().read(50) == bytes(range(50))


@pytest.mark.parametrize(
    ("offset", "length", "code"),
    [(1, 512, errno.EINVAL), (0, 100, errno.EINVAL), (1 << 20, 512, errno.EINVAL), (-512, 512, errno.EINVAL)],
)
def test_reads_outside_or_across_blocks_are_refused_here(machine: Machine, offset: int, length: int, code: int) -> None:
    model = machine.block()
    with machine.server(model):
        machine.client.open()
        before = model.served
        with pytest.raises(OSError, match=r"root|blocks") as caught:
            machine.client.disk("root").read(offset, length)
        assert caught.value.errno == code
        assert model.served == before


def test_a_read_only_disk_takes_no_write(machine: Machine) -> None:
    model = machine.block(features=Features(model_features() | bits.feature_set(block.RO)))
    with machine.server(model):
        machine.client.open()
        disk = machine.client.disk("root")
        assert disk.readonly
        with pytest.raises(OSError, match="read-only") as caught:
            disk.write(0, bytes(512))
        assert caught.value.errno == errno.EROFS


def test_the_device_s_error_is_an_i_o_error(machine: Machine) -> None:
    model = machine.block()
    with machine.server(model):
        machine.client.open()
        disk = machine.client.disk("root")
        model.status = block.S_IOERR
        with pytest.raises(OSError, match="failed a read") as caught:
            disk.read(0, 512)
        assert caught.value.errno == errno.EIO
        model.status = block.S_OK
        assert disk.read(0, 512) == bytes(512)


def test_another_capacity_is_told(machine: Machine) -> None:
    model = machine.block()
    with machine.server(model) as server:
        machine.client.open()
        disk = machine.client.disk("root")
        told: list[int] = []
        disk.on_capacity = told.append
        with server.lock:
            model.config = BlockConfig(4096, size_max=1 << 20, seg_max=16).encode()
            server.back_end.config_changed(0)
        machine.until(lambda: bool(told))
        assert told == [4096 * 512]
        assert disk.capacity == 4096 * 512


@pytest.mark.clause("CRQ-F-31", "CRQ-F-32", "CRQ-F-33")
def test_requests_in_flight_survive_the_server_s_death(machine: Machine) -> None:
    model = machine.block(hold=True)
    with machine.server(machine.block()):
        machine.client.open()
    with machine.server(model):
        disk = machine.client.disk("root")
        writes = [disk.start_write(4096 * index, bytes([index + 1]) * 4096) for index in range(6)]
        machine.until(lambda: len(model.todo) == 6)
    away = disk.start_write(4096 * 6, b"\7" * 4096)
    machine.until(lambda: machine.client.connections[0].losses == 2)
    assert not any(write.done for write in [*writes, away])
    again = machine.block(content=model.content)
    with machine.server(again):
        machine.client.wait([*writes, away])
        assert [write.result() for write in [*writes, away]] == [b""] * 7
        assert [again.content[4096 * index] for index in range(7)] == [1, 2, 3, 4, 5, 6, 7]
        assert again.log[:6] == [(block.T_OUT, 8 * index) for index in range(6)]
        assert disk.read(0, 512) == b"\1" * 512


@pytest.mark.clause("CRQ-F-34")
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"identity": b"another disk...."}, "resume-identity"),
        ({"features": Features(bits.MANDATORY)}, "resume-"),
        ({"queue_sizes": (8,)}, "resume-queue"),
    ],
)
def test_another_disk_in_its_place_gets_no_request(machine: Machine, change: dict[str, Any], rule: str) -> None:
    model = machine.block(1, hold=False)
    with machine.server(model):
        machine.client.open()
        disk = machine.client.disk("root")
        with_held = machine.block(1)
        model.hold = True
        write = disk.start_write(0, b"x" * 512)
        machine.until(lambda: len(model.todo) == 1)
    other = machine.block(1, **change)
    with machine.server(other, machine.block(2, name=b"sound")):
        with pytest.raises(VirtioCrqError):
            ended(machine, write)
        assert isinstance(disk.broken, VirtioCrqError)
        machine.until(lambda: len(machine.client.disks()) == 2)
        with pytest.raises(VirtioCrqError):
            disk.read(0, 512)
        machine.until(lambda: any(disk.name == "sound" for disk in machine.client.disks()))
        assert machine.client.disk("sound").read(0, 512) == bytes(512)
    assert other.served == 0
    assert bytes(other.content) == bytes(with_held.content)


@pytest.mark.clause("CRQ-F-41")
def test_a_disk_that_did_not_come_back_is_broken(machine: Machine) -> None:
    with machine.server(machine.block(1)):
        machine.client.open()
        disk = machine.client.disk("root")
    with machine.server(machine.block(2, name=b"other")):
        machine.until(lambda: disk.broken is not None)
        with pytest.raises(DeviceFault, match="did not come back"):
            disk.read(0, 512)


def _twist_unknown(head: int, length: int) -> tuple[int, int]:
    return (head + 30) % 32, length


def _twist_long(head: int, length: int) -> tuple[int, int]:
    return head, length + 1


def _twist_short(head: int, length: int) -> tuple[int, int]:
    return head, length - 1


@pytest.mark.clause("CRQ-F-28")
@pytest.mark.parametrize(
    ("twist", "rule"),
    [(_twist_unknown, "used-unknown"), (_twist_long, "used-length"), (_twist_short, "used-length-short")],
)
def test_a_lying_used_ring_breaks_its_device_and_no_other(machine: Machine, twist: Any, rule: str) -> None:
    liar, honest = machine.block(1, name=b"liar"), machine.block(2, name=b"honest")
    with machine.server(liar, honest):
        machine.client.open()
        disk = machine.client.disk("liar")
        rings = machine.shown_beside(disk)
        liar.twist = twist
        with pytest.raises(DeviceFault) as caught:
            disk.read(0, 512)
        assert caught.value.rule == rule
        assert machine.client.connections[0].refusals == {rule: 1}
        assert machine.client.disk("honest").read(0, 512) == bytes(512)
        # The device was reset, and what its requests lay in is shown no more; rings are, and the other disk's.
        machine.until(lambda: liar.setup is None and machine.shown() == rings)


@pytest.mark.clause("CRQ-F-42")
def test_a_status_that_does_not_exist_is_refused(machine: Machine) -> None:
    model = machine.block()
    with machine.server(model):
        machine.client.open()
        model.status = 9
        with pytest.raises(DeviceFault, match="status-unknown"):
            machine.client.disk("root").read(0, 512)


@pytest.mark.clause("CRQ-F-19")
def test_an_announced_position_that_jumps_resets_the_connection_and_loses_nothing(machine: Machine) -> None:
    model = machine.block()
    with machine.server(model) as server:
        machine.client.open()
        disk = machine.client.disk("root")
        disk.write(0, b"kept" * 128)
        with server.lock:
            server.endpoint.channel.announce(2, 0, 0, 999, 0)
        machine.until(lambda: machine.client.connections[0].refusals["used-ahead"] == 1)
        assert disk.read(0, 512) == b"kept" * 128
        assert machine.client.connections[0].losses == 1


@pytest.mark.clause("CRQ-F-41")
def test_a_device_that_needs_a_reset_is_broken_and_its_neighbour_goes_on(machine: Machine) -> None:
    sick, sound = machine.block(1, name=b"sick"), machine.block(2, name=b"sound")
    with machine.server(sick, sound) as server:
        machine.client.open()
        sick.hold = True
        pending = machine.client.disk("sick").start_read(0, 512)
        machine.until(lambda: len(sick.todo) == 1)
        with server.lock:
            server.back_end.needs_reset(1, "scripted")
        with pytest.raises(DeviceFault, match="device-needs-reset"):
            ended(machine, pending)
        assert machine.client.disk("sound").read(0, 512) == bytes(512)


def test_a_busy_platform_is_waited_for_and_is_no_error(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = {"map": 0, "unmap": 0}
    real = {"map": CablePort.map, "unmap": CablePort.unmap}

    def busy(name: str) -> Any:
        def call(self: CablePort, *arguments: int) -> int:
            turns[name] += 1
            return 1 if turns[name] % 3 else real[name](self, *arguments)

        return call

    with machine.server(machine.block()):
        machine.client.open()
        for name in turns:
            monkeypatch.setattr(CablePort, name, busy(name))
        disk = machine.client.disk("root")
        data = os.urandom(64 * 512)
        disk.write(0, data)
        assert disk.read(0, len(data)) == data


@pytest.mark.clause("CRQ-F-93")
def test_a_pool_stands_as_long_as_its_device_and_is_gone_after_it(machine: Machine) -> None:
    with machine.server(machine.block(1, name=b"first"), machine.block(2, name=b"second")) as server:
        machine.client.open()
        before = machine.shown()
        disk = machine.client.disk("first")
        disk.read(0, 65536)
        assert machine.shown() == before
        rest = machine.shown_beside(disk)
        assert (rest == before) is (disk.driver.mapping.name == "per-request")
        with server.lock:
            server.back_end.needs_reset(1, "scripted")
        machine.until(lambda: disk.broken is not None and machine.shown() == rest)
        machine.client.disk("second").write(0, bytes(4096))


def test_a_map_that_does_not_exist_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match="map 'forever' of a client is not one of pool, per-request"):
        Options(map="forever")


def test_a_fetch_that_only_a_server_can_choose_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match="fetch 'naive' of a client is not one of push, batched"):
        Options(fetch="naive")


def test_no_server_is_said_so(machine: Machine) -> None:
    with pytest.raises(PartnerLost, match=r"no server answered within 0\.05 seconds"):
        machine.client.open(0.05)


def test_an_unknown_disk_is_named_with_those_there_are(machine: Machine) -> None:
    with machine.server(machine.block(name=b"data")):
        machine.client.open()
        with pytest.raises(UsageError, match="no disk 'root'; this client has: data"):
            machine.client.disk("root")


def test_a_small_window_makes_requests_smaller_and_one_too_small_is_said_so() -> None:
    small = Machine(Options(depth=8, transfer=131072), memory=128 << 10)
    with small.server(small.block()):
        small.client.open()
        assert small.client.disk("root").read(0, 1 << 19) == bytes(1 << 19)
        small.client.close()
    small.cable.close()
    none = Machine(memory=8 << 10)
    with none.server(none.block()):
        none.client.open()
        with pytest.raises(UsageError, match="window too small"):
            none.client.disks()[0].read(0, 512)
        none.client.close()
    none.cable.close()


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_qemu_img_reaches_the_disk_through_nbd(machine: Machine, tmp_path: Path) -> None:
    image, path, model = tmp_path / "image", tmp_path / "nbd", machine.block()
    image.write_bytes(os.urandom(1 << 20))

    async def run() -> None:
        url = f"nbd+unix:///root?socket={path}"
        async with asyncio.timeout(PATIENCE), machine.client.attached():
            async with NbdServer({"root": machine.client.disk("root")}, path):
                for words in (
                    ("convert", "-n", "-f", "raw", "-O", "raw", str(image), url),
                    ("compare", "-f", "raw", "-F", "raw", str(image), url),
                ):
                    process = await asyncio.create_subprocess_exec("qemu-img", *words)
                    assert await process.wait() == 0

    with machine.server(model):
        machine.client.open()
        asyncio.run(run())
    assert bytes(model.content) == image.read_bytes()


OFFERING = Features(model_features() | bits.feature_set(block.SIZE_MAX, block.SEG_MAX, block.BLK_SIZE))


@pytest.mark.clause("CRQ-F-40")
@pytest.mark.parametrize(
    "lie",
    [
        {"capacity": (1 << 64) - 1},
        {"capacity": 1 << 55},
        {"size_max": 1},
        {"blk_size": 511},
        {"blk_size": 1536},
        {"blk_size": 1 << 20},
        {"blk_size": (1 << 32) - 1},
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_breaks_its_disk_and_no_other(machine: Machine, lie: dict[str, int]) -> None:
    config = BlockConfig(**{"capacity": 2048, "size_max": 1 << 16, "seg_max": 16, **lie}).encode()
    bad = machine.block(0, name=b"bad", features=OFFERING, config=config)
    with machine.server(bad, machine.block(1, name=b"good")), machine.client as client:
        broken = client.disks()[0].broken
        assert isinstance(broken, DeviceFault)
        assert broken.rule == "config-answer"
        assert len(client.disk("good").read(0, 4096)) == 4096


@pytest.mark.parametrize("queues", [0, 2, 0xFFFF])
def test_a_number_of_queues_that_cannot_be_breaks_its_disk_and_no_other(machine: Machine, queues: int) -> None:
    """§5.2.4: a device with MQ says how many; it has one here, by what the transport tells."""
    features = Features(OFFERING | bits.feature_set(block.MQ))
    config = BlockConfig(capacity=2048, size_max=1 << 16, seg_max=16, num_queues=queues).encode()
    bad = machine.block(0, name=b"bad", features=features, config=config)
    with machine.server(bad, machine.block(1, name=b"good")), machine.client as client:
        broken = client.disks()[0].broken
        assert isinstance(broken, DeviceFault)
        assert broken.rule == "config-answer"
        assert f"claims {queues} queues and has 1" in str(broken)
        assert len(client.disk("good").read(0, 4096)) == 4096


def test_without_mq_the_number_of_queues_means_nothing(machine: Machine) -> None:
    config = BlockConfig(capacity=2048, size_max=1 << 16, seg_max=16, num_queues=9).encode()
    with machine.server(machine.block(features=OFFERING, config=config)), machine.client as client:
        assert len(client.disks()[0].lanes) == 1
        assert len(client.disks()[0].read(0, 4096)) == 4096


def test_a_configuration_that_changes_all_the_time_is_read_one_time_after_the_other(machine: Machine) -> None:
    with machine.server(machine.block()) as server:
        machine.client.open()
        asked = 0
        for _ in range(5):
            with server.lock:
                for _ in range(20):
                    server.back_end.config_changed(0)
                machine.client.turn(0.01)
                asked = max(asked, sum(map(len, machine.client.connections[0]._front_end._queued.values())))
        assert asked <= 1
        machine.client.disk("root").read(0, 4096)
