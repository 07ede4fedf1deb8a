# SPDX-License-Identifier: Apache-2.0
"""What is agreed when nobody says anything, and when one side turns an axis down or cannot; what a read then costs."""

import json
from collections import Counter
from pathlib import Path

import pytest
from runningmachine import RunningMachine

from virtio_crq.bench.case import RUNGS
from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.cli.room import client_needs, pushes
from virtio_crq.client.device import PUSH_ROOM, Options
from virtio_crq.crq.ring import SPARE_ENTRIES
from virtio_crq.hypervisor.conversation import Conversation
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.papr.profiles import EXTREMES
from virtio_crq.vios.server import Settings

MACHINE = """
[machine]
name = "system"
profile = "{profile}"
[partition.vios1]
memory = "32M"
{server}
[partition.web1]
memory = "{memory}"
{client}
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
{storage}
[[map]]
client = "web1"
target = "root"
backing = "file:root.img"
[[map]]
client = "web1"
target = "rng"
device = "entropy"
backing = "random"
[[map]]
client = "web1"
target = "tty"
device = "console"
backing = "log:tty.log"
"""
SIZE = 1 << 20
STORAGE = '[[storage]]\nserver = "vios1"\nslot = 10\nwindow = "4M"'
PUSHED = {"fetch": "push"}
PACKED = {"ring": "packed", "fetch": "batched"}
SPLIT = {"ring": "split", "fetch": "batched"}
COPIED, REDIRECTED = {"data": "copy"}, {"data": "redirect"}


def text(server: str = "", client: str = "", storage: str = "", memory: str = "16M", profile: str = "power9") -> str:
    return MACHINE.format(server=server, client=client, storage=storage, memory=memory, profile=profile)


AGREED = {
    "nothing said": (text(), PUSHED | COPIED),
    "a storage adapter": (text(storage=STORAGE), PUSHED | REDIRECTED),
    "a storage adapter, not used": (text('data = "copy"', storage=STORAGE), PUSHED | COPIED),
    "the server reads rings": (text('fetch = "batched"'), PACKED | COPIED),
    "the client wants its rings read": (text(client='fetch = "batched"'), PACKED | COPIED),
    "the server offers no packed ring": (text('fetch = "batched"\nring = "split"'), SPLIT | COPIED),
    "the client takes none": (text('fetch = "batched"', 'ring = "split"'), SPLIT | COPIED),
    "field by field": (text('fetch = "naive"\nring = "split"'), SPLIT | {"fetch": "naive"} | COPIED),
    "a narrow client": (text(memory="4M").replace("slot = 2", 'slot = 2\nwindow = "2M"'), PACKED | COPIED),
}


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", AGREED)
def test_what_is_agreed_is_the_best_that_both_can_and_is_shown(tmp_path: Path, name: str) -> None:
    machine_file, agreed = AGREED[name]
    (tmp_path / "root.img").write_bytes(bytes(SIZE))
    with RunningMachine(tmp_path, machine_file) as machine, client_partition(machine.state, "web1") as client:
        client.disk("root").write(0, b"best" * 128)
        assert client.disk("root").read(0, 512) == b"best" * 128
        assert len(client.entropy().read(100)) == 100
        client.console().write(b"said")
        others = {axis: value for axis, value in agreed.items() if axis != "data"}
        shown = {target["target"]: target["carried"] for target in machine.adapter("web1")["targets"]}
        assert shown == {"root": agreed, "rng": others, "tty": others}
        words = ", ".join(f"{axis} {value}" for axis, value in agreed.items())
        for command in (("vios", "lsmap"), ("vios", "stat", "--interval", "0.1"), ("show",)):
            assert words in machine.must(*command)


# Of the calls of a read nothing maps, one copy brings the record, one carries the data, one the completion and status.
@pytest.mark.timeout(90)
@pytest.mark.parametrize("profile", [profile.name for profile in EXTREMES])
@pytest.mark.parametrize(
    ("length", "storage", "options", "calls"),
    [
        (4096, "", None, {"H_COPY_RDMA": 3}),
        (16384, "", None, {"H_COPY_RDMA": 3}),
        (4096, STORAGE, None, {"H_COPY_RDMA": 2, "H_REMOVE_RTCE": 1}),
        (32768, "", None, {"H_COPY_RDMA": 3, "H_PUT_TCE_INDIRECT": 1, "H_STUFF_TCE": 1}),
        (4096, "", Options(map="per-request"), {"H_COPY_RDMA": 6, "H_PUT_TCE": 3, "H_STUFF_TCE": 3}),
    ],
    ids=["4 KiB", "16 KiB", "redirected", "32 KiB", "no pool"],
)
def test_one_read_costs_what_it_says(
    tmp_path: Path, profile: str, length: int, storage: str, options: Options | None, calls: dict[str, int]
) -> None:
    (tmp_path / "root.img").write_bytes(bytes(SIZE))
    with (
        RunningMachine(tmp_path, text(storage=storage, profile=profile)) as machine,
        client_partition(machine.state, "web1", options) as client,
        Conversation(machine.state) as hypervisor,
    ):
        disk = client.disk("root")
        disk.read(0, length)  # the page cache has it from here on, and the queue its credits
        hypervisor.ask("trace", on=True)
        disk.read(0, length)
        entries = hypervisor.ask("read_trace", after=0)
        assert machine.lsmap()
    # Announcements and interrupts are as it happens.
    moving = ("COPY", "TCE")
    seen = Counter(entry["call"] for entry in entries if any(word in entry["call"] for word in moving))
    seen = Counter({name: count for name, count in seen.items() if not name.startswith("H_PUT_RTCE")})
    if profile == "lopar-minimum":  # which has no call for more than one page
        assert seen["H_COPY_RDMA"] == calls["H_COPY_RDMA"]
        assert (seen.total() == calls["H_COPY_RDMA"]) == (len(calls) == 1)
    else:
        assert seen == calls


@pytest.mark.parametrize("key", ["--fetch", "--map"])
def test_a_key_with_a_value_that_cannot_be_is_one_line_and_status_2(tmp_path: Path, key: str) -> None:
    (tmp_path / "root.img").write_bytes(bytes(SIZE))
    with RunningMachine(tmp_path, text()) as machine:
        done = machine.run("disk", "copy", "web1/root", "out.img", key, "teleport")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{key[2:]} 'teleport' of a client is not one of" in done.stderr


def test_a_command_says_more_than_the_machine_file_and_a_list_says_what_runs(tmp_path: Path) -> None:
    (tmp_path / "root.img").write_bytes(bytes(SIZE))
    with RunningMachine(tmp_path, text(client='fetch = "batched"\nmap = "per-request"')) as machine:
        row = json.loads(machine.must("disk", "list", "--json"))[0]
        assert (row["fetch"], row["map"]) == ("by the server, packed ring", "per-request")
        told = machine.must("trace", "web1/root", "--one", "--fetch", "push", "--map", "pool")
        assert "TCE" not in told
        assert "TCE" in machine.must("trace", "web1/root", "--one")


def test_the_most_queues_that_a_connection_can_have_find_room_where_they_are_pushed(tmp_path: Path) -> None:
    """A ring has 256 entries, two for each queue and one for each device (CRQ-F-18): whichever make the most of it."""
    entries = 256 - SPARE_ENTRIES
    crowds = [(disks, (entries - 3 * disks - 1) // 2) for disks in range(entries // 3)]
    most = max(client_needs(disks, 0, max(0, queues), push=True) for disks, queues in crowds)
    assert most <= PUSH_ROOM
    wide = parse_machine_file(text(memory="8M"), tmp_path / "wide.toml")
    assert pushes(wide, wide.adapters[0])
    narrow = parse_machine_file(AGREED["a narrow client"][0], tmp_path / "narrow.toml")
    assert not pushes(narrow, narrow.adapters[0])


def test_the_default_is_a_rung_that_is_measured() -> None:
    client, server = Options(), Settings()
    assert client.fetch == server.fetch
    agreed = (client.fetch, client.map, server.carrier)
    default = [rung.name for rung in RUNGS if (rung.fetch, rung.map, rung.carrier) == agreed]
    assert default == ["push-pool", "push-pool-redirect", "push-pool-planned"]
