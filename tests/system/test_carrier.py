# SPDX-License-Identifier: Apache-2.0
"""Pushed requests by sub-CRQs: what they cost over a whole machine, and what each side sends."""

from dataclasses import replace
from pathlib import Path

import pytest
from test_kill import prepared

from combinations import Combination
from virtio_crq.bench.case import RUNGS, Case
from virtio_crq.bench.row import Counts
from virtio_crq.bench.run import Setting
from virtio_crq.bench.run import counted as measured
from virtio_crq.cli.benchmachine import Bench
from virtio_crq.cli.clientpartition import client_partition, connects
from virtio_crq.cli.serving import places
from virtio_crq.client import client
from virtio_crq.client.client import Client
from virtio_crq.client.device import Options
from virtio_crq.dataplane.sidequeue import SideQueue
from virtio_crq.hypervisor.definition import AdapterDefinition, MachineDefinition, PartitionDefinition
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import DEFAULT, PROFILES
from virtio_crq.platform.partition import Partition
from virtio_crq.vios.mapping import MapEntry
from virtio_crq.vios.server import Server, Settings

MEBIBYTE = 1 << 20
PAIRED = Combination("split", "push", "paired", "pool", "copy")
RING, SUBS, LAID, PAGE = 0, 0x10000, 0x20000, 4096
UNITS = {"c": 0x3000_0002, "s": 0x3000_0003}


def counted(
    tmp_path: Path, rung: str, depth: int, profile: str = DEFAULT.name, backing: str = "null"
) -> tuple[Counts, int]:
    setting = Setting(next(row for row in RUNGS if row.name == rung), backing, "polling")
    case = Case("reads", 4096, depth)
    with Bench(tmp_path / "image", 64 * MEBIBYTE, [case], profile=profile).stage(setting) as stage:
        stage.load(case, 0.1)
        before = stage.counts()
        load = stage.load(case, 0.2)
        return stage.counts().since(before), load.requests


@pytest.mark.timeout(60)
@pytest.mark.clause("CRQ-D-160", "CRQ-D-163")
def test_a_read_alone_is_a_record_a_copy_and_a_record(tmp_path: Path) -> None:
    counts, requests = counted(tmp_path, "push-sub-pool", 1)
    assert counts.hcalls["H_SEND_SUB_CRQ"] == 2 * requests
    assert counts.copies == requests
    assert sum(counts.hcalls.values()) <= 3 * requests + 8


@pytest.mark.timeout(60)
@pytest.mark.clause("CRQ-F-82", "CRQ-F-112")
@pytest.mark.parametrize("profile", ["power8", "power9"])
def test_many_reads_share_their_records_calls_and_their_copies(tmp_path: Path, profile: str) -> None:
    """Their data lie one behind the other in the pool: those that are served together move by one copy."""
    counts, requests = counted(tmp_path, "push-sub-pool", 32, profile)
    assert counts.hcalls["H_SEND_SUB_CRQ_INDIRECT"] < requests
    assert 4 * counts.copies < requests
    assert counts.bytes_copied == 4096 * requests


@pytest.mark.timeout(30)
@pytest.mark.clause("CRQ-F-83")
def test_a_completion_wakes_a_client_that_sleeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No announcement comes with it: were its interrupt off, each read would last until the client looks by itself."""
    monkeypatch.setattr(client, "TICK", 10.0)
    machine = prepared(tmp_path, PAIRED, "polling = 0")
    with machine, client_partition(machine.state, "web1", Options(polling=0)) as partition:
        disk = partition.disk("root")
        for block in range(50):
            assert disk.read(4096 * block, 4096) == bytes(4096)


@pytest.mark.timeout(60)
@pytest.mark.clause("CRQ-D-163", "CRQ-D-170")
@pytest.mark.parametrize("depth", [1, 32])
def test_a_redirected_read_by_records_that_travel_as_messages_takes_no_copy_at_all(tmp_path: Path, depth: int) -> None:
    (tmp_path / "image").write_bytes(bytes(64 * MEBIBYTE))
    counts, requests = counted(tmp_path, "push-sub-pool-redirect", depth, backing="file")
    assert (counts.copies, counts.bytes_copied) == (0, 0)
    assert "H_COPY_RDMA" not in counts.hcalls
    # Its pages were made reachable and unreachable again, neighbours together.
    removals = counts.hcalls["H_REMOVE_RTCE"]
    assert removals == requests if depth == 1 else 0 < 4 * removals < requests


@pytest.mark.timeout(60)
@pytest.mark.clause("CRQ-F-80")
def test_a_platform_without_sub_crqs_has_the_records_stand_in_the_window(tmp_path: Path) -> None:
    counts, requests = counted(tmp_path, "push-sub-pool", 1, "lopar-minimum")
    assert counts.hcalls.get("H_SEND_SUB_CRQ", 0) == 0
    assert counts.copies == 3 * requests  # records, data, completions


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("profile", "rung", "carrier", "asked"),
    [
        ("power9", "push-sub", "sub-crq", {}),
        ("lopar-minimum", "push-sub", "window", {"carrier": "sub-crq"}),
        ("power9", "push", "window", {}),
        ("power9", "batched", "", {}),
    ],
)
def test_a_measured_row_tells_which_carrier_ran(
    tmp_path: Path, profile: str, rung: str, carrier: str, asked: dict[str, str]
) -> None:
    setting = Setting(next(row for row in RUNGS if row.name == rung), "null", "polling")
    case = Case("reads", 4096, 4)
    with Bench(tmp_path / "image", 64 * MEBIBYTE, [case], profile=profile).stage(setting) as stage:
        row = measured(stage, setting, case, 0.1, "compiled")
    assert (row.fetch, row.carrier, row.asked) == (setting.rung.fetch, carrier, asked)


@pytest.mark.timeout(30)
@pytest.mark.clause("CRQ-D-160", "CRQ-F-80")
@pytest.mark.parametrize(
    ("profile", "carrier"), [("lopar-minimum", "window"), ("power8", "sub-crq"), ("power9", "sub-crq")]
)
def test_the_mapping_view_tells_which_carrier_a_queue_got(tmp_path: Path, profile: str, carrier: str) -> None:
    machine = prepared(tmp_path, replace(PAIRED, profile=profile))
    with machine, client_partition(machine.state, "web1") as partition:
        partition.disk("root").write(0, b"carried" * 1024)
        assert partition.disk("root").read(0, 7168) == b"carried" * 1024
        assert machine.adapter("web1")["targets"][0]["queues"][0]["carrier"] == carrier


TEXT = """
[machine]
name = "carrier"
[partition.s]
memory = "16M"
[partition.c]
memory = "16M"
[[adapter]]
client = "c"
slot = 2
server = "s"
[[map]]
client = "c"
target = "root"
backing = "ram:1M"
"""


@pytest.mark.clause("CRQ-F-85")
@pytest.mark.parametrize("after", ["window", "sub-crq"])
@pytest.mark.parametrize("mapping", ["per-request", "pool"])
def test_a_queue_that_cannot_be_paired_any_more_goes_on_by_the_window(tmp_path: Path, mapping: str, after: str) -> None:
    (tmp_path / "root.img").write_bytes(bytes(MEBIBYTE))
    content = parse_machine_file(TEXT.replace("ram:1M", "file:root.img"), tmp_path / "machine.toml")
    machine = Machine(content.definition())

    def server(carrier: str, home: Partition) -> Server:
        entries = [MapEntry(row.client, row.target, row.backing) for row in content.maps]
        settings = Settings(tmp_path, workers=1, polling=0, fetch="push", carrier=carrier)
        made = Server(places(content, "s", home), entries, settings)
        made.start()
        return made

    with machine.attach("s") as home, machine.attach("c") as partition:
        first = server("sub-crq", home)
        with Client(connects(partition), Options(map=mapping, depth=8)) as user:
            disk = user.disk("root")
            disk.write(0, b"\1" * 4096)
            writes = [disk.start_write(4096 * number, bytes([number]) * 4096) for number in range(1, 5)]
            user.turn(0)
            first.close()
            writes += [disk.start_write(4096 * number, bytes([number]) * 4096) for number in range(5, 9)]
            user.turn(0)
            second = server(after, home)
            user.wait(writes)
            for number in range(1, 9):
                assert disk.read(4096 * number, 4096) == bytes([number]) * 4096
            (queue,) = second.adapters[0].view().targets[0].queues
            assert queue.carrier == after
        second.close()
    machine.close()


class Ends:
    """Both ends of a connection, each with a side queue that the other sends to."""

    def __init__(self, profile: str, slots: int) -> None:
        partitions = [PartitionDefinition(name, number, 4 * MEBIBYTE) for number, name in enumerate("cs", 1)]
        adapters = [AdapterDefinition("c", "s", 2, 3, MEBIBYTE, MEBIBYTE)]
        self.machine = Machine(MachineDefinition("carrier", profile, partitions, adapters))
        self.partitions = [self.machine.attach(name) for name in "cs"]
        self.ports = [part.open(part.adapters()[0].unit_address) for part in self.partitions]
        for port, unit in zip(self.ports, UNITS.values(), strict=True):
            assert port.map(0, 0, MEBIBYTE, 3) == 0
            assert port.call(Hypercall.H_REG_CRQ, unit, RING, PAGE)[0] in (0, 2)
        self.queues = [SideQueue(port, SUBS, SUBS, slots) for port in self.ports]

    def lay(self, count: int) -> None:
        for number in range(count):
            self.ports[0].write(LAID + 32 * number, bytes([0x80, number & 0xFF, number >> 8, *bytes(29)]))

    def close(self) -> None:
        for partition in self.partitions:
            partition.close()
        self.machine.close()


@pytest.mark.clause("CRQ-F-81", "CRQ-F-82")
@pytest.mark.parametrize("profile", ["power8", "power9"])
def test_a_batch_is_repeated_by_what_every_platform_takes(profile: str) -> None:
    ends = Ends(profile, 256)
    sender, receiver = ends.queues
    assert receiver.open() == 0
    sender.partner = receiver.handle
    ends.lay(200)
    limit = PROFILES[profile].sub_crq_indirect_limit
    assert sender.send(LAID + 32, LAID + 32, 199) == 0
    assert (sender.sent, sender.limit) == (199, limit)
    calls = ends.machine.counters("c")["H_SEND_SUB_CRQ_INDIRECT"]
    pages = [127, 72]  # records behind the first, in the first page and in the second
    assert calls == sum(-(-records // limit) for records in pages) + sender.refused
    assert sender.send(LAID, LAID, 1) == 0
    taken = []
    while receiver.waits():
        taken.append(ends.ports[1].load16(receiver.slot() + 1))
        receiver.free()
    assert taken == [*range(1, 200), 0]
    assert sender.refused == (0 if limit == 128 else 1)
    assert receiver.close() == 0
    assert sender.send(LAID, LAID, 2) == -4
    ends.close()


@pytest.mark.clause("CRQ-F-80")
def test_a_platform_without_sub_crqs_says_so_at_once() -> None:
    ends = Ends("lopar-minimum", 128)
    assert ends.queues[0].open() == -2
    assert not ends.queues[0].waits()
    assert ends.queues[0].close() == 0
    ends.close()
