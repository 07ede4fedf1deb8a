# SPDX-License-Identifier: Apache-2.0
"""What a person gets wrong: one clear line, status 2, nothing lost and nothing left running."""

import errno
import fcntl
import os
import resource
import subprocess
from functools import partial
from pathlib import Path

import pytest
from runningmachine import COMMAND, RunningMachine

from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.errors import DeviceFault
from virtio_crq.message.frontend import FrontEnd

MACHINE = """
[machine]
name = "system"
[partition.vios1]
memory = "{memory}"
[partition.web1]
memory = "32M"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
{more}
[[map]]
client = "web1"
target = "root"
backing = "{backing}"
readonly = {readonly}
"""
IMAGE = 1 << 20


def machine(
    directory: Path, backing: str = "ram:1M", more: str = "", readonly: str = "false", memory: str = "32M"
) -> RunningMachine:
    return RunningMachine(directory, MACHINE.format(backing=backing, more=more, readonly=readonly, memory=memory))


def refuses(machine: RunningMachine, *says: str) -> None:
    """`up` ends with status 2 and one line that holds each of `says`; nothing of the machine remains."""
    done = machine.run("up", str(machine.file), "--detach")
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(lines) == 1, lines
    for part in says:
        assert part in lines[0]
    assert machine.run("show").returncode == 2
    assert not list(machine.state.glob("*.pid"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[machine", "machine.toml:1"),
        ('[machine]\nname = "system"\ncolour = "red"\n', "machine.toml:3"),
        ('[machine]\nname = "system"\n[partition.a]\nmemory = "lots"\n', "machine.toml:4"),
    ],
)
def test_a_malformed_machine_file_is_named_by_line(tmp_path: Path, text: str, says: str) -> None:
    refuses(RunningMachine(tmp_path, text), says)


def test_a_missing_machine_file(tmp_path: Path) -> None:
    done = machine(tmp_path).run("up", "nowhere.toml", "--detach")
    assert done.returncode == 2
    assert "nowhere.toml" in done.stderr


def test_a_duplicate_unit_address(tmp_path: Path) -> None:
    again = '[[adapter]]\nclient = "web1"\nslot = 2\nserver = "vios1"\n'
    refuses(machine(tmp_path, more=again), "machine.toml:", "slot 2")


def test_a_window_too_small_for_a_ring(tmp_path: Path) -> None:
    refuses(machine(tmp_path, more='window = "4K"\n'), "machine.toml:", "window")


def test_a_processor_that_is_not_there(tmp_path: Path) -> None:
    count = len(os.sched_getaffinity(0))
    text = machine(tmp_path).file.read_text().replace("[partition.web1]", f"pin = {count}\n[partition.web1]")
    refuses(RunningMachine(tmp_path, text), f"vios1: pin {count} is not in 0 to {count - 1}, the processors", "-1: any")


@pytest.mark.parametrize(
    ("more", "says"), [("queues = 0", "machine.toml:18: map web1/root: queues"), ('device = "net"', "machine.toml:18:")]
)
def test_what_a_mapping_says_wrong_is_told_with_its_own_line(tmp_path: Path, more: str, says: str) -> None:
    text = machine(tmp_path).file.read_text()
    refuses(RunningMachine(tmp_path, f"{text}{more}\n"), says)


def disks(count: int) -> str:
    return "".join(f'[[map]]\nclient = "web1"\ntarget = "d{n}"\nbacking = "null:1M"\n' for n in range(count))


def test_a_window_too_small_for_the_disks(tmp_path: Path) -> None:
    more = 'window = "1M"\n' + disks(24)
    refuses(machine(tmp_path, more=more), "machine.toml:8: window too small", "25 devices of web1", 'window = "3M"')


@pytest.mark.timeout(60)
def test_the_window_that_the_refusal_names_is_enough(tmp_path: Path) -> None:
    with machine(tmp_path, more='window = "3M"\n' + disks(24)) as running:
        with client_partition(running.state, "web1") as client:
            assert len(client.disks()) == 25
            for disk in client.disks():
                disk.write(0, bytes(65536))


def test_a_memory_too_small_for_the_disks(tmp_path: Path) -> None:
    small = machine(tmp_path, more=disks(59), memory="4M")
    refuses(small, "memory of vios1 too small", "60 devices of web1", 'write memory = "')


@pytest.mark.parametrize(
    ("size", "says"), [(None, "no such image"), (0, "less than one sector"), (700, "not a multiple of 512")]
)
def test_a_missing_or_short_image(tmp_path: Path, size: int | None, says: str) -> None:
    if size is not None:
        (tmp_path / "root.img").write_bytes(bytes(size))
    refuses(machine(tmp_path, "file:root.img"), "web1/root", "root.img", says)


def test_an_image_mapped_twice(tmp_path: Path) -> None:
    (tmp_path / "root.img").write_bytes(bytes(IMAGE))
    again = '[[map]]\nclient = "web1"\ntarget = "other"\nbacking = "file:./root.img"\n'
    refuses(machine(tmp_path, "file:root.img", more=again), "mapped twice")


@pytest.mark.timeout(60)
@pytest.mark.clause("CRQ-D-89")
def test_an_image_that_another_server_holds(tmp_path: Path) -> None:
    image = tmp_path / "root.img"
    image.write_bytes(b"x" * IMAGE)
    with image.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        refuses(machine(tmp_path, "file:root.img"), "in use by another VIOS")
    assert image.read_bytes() == b"x" * IMAGE


@pytest.mark.timeout(60)
@pytest.mark.clause("CRQ-D-77")
def test_a_write_to_a_read_only_disk_is_an_error_to_the_client(tmp_path: Path) -> None:
    image = tmp_path / "root.img"
    image.write_bytes(b"x" * IMAGE)
    with machine(tmp_path, "file:root.img", readonly="true") as running:
        with client_partition(running.state, "web1") as client:
            disk = client.disk("root")
            with pytest.raises(OSError, match="read-only") as refused:
                disk.write(0, bytes(4096))
            assert refused.value.errno == errno.EROFS
            disk.features &= ~(1 << 5)  # a driver that does not look at the feature
            with pytest.raises(OSError, match="failed") as failed:
                disk.write(0, bytes(4096))
            assert failed.value.errno == errno.EIO
            assert disk.read(0, 4096) == b"x" * 4096
    assert image.read_bytes() == b"x" * IMAGE


@pytest.mark.timeout(60)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_file_system_is_an_error_to_the_client(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=1M tmpfs {small} 2>/dev/null"):
        pytest.skip("no file system can be mounted here")
    try:
        with (small / "root.img").open("wb") as image:
            image.truncate(4 << 20)
        with machine(tmp_path, "file:small/root.img") as running:
            with client_partition(running.state, "web1") as client:
                disk = client.disk("root")
                disk.write(0, b"y" * 4096)
                with pytest.raises(OSError, match="failed") as full:
                    disk.write(0, b"z" * (4 << 20))
                assert full.value.errno == errno.EIO
                assert disk.read(4 << 20 >> 1, 4096) in (bytes(4096), b"z" * 4096)
                assert running.adapter("web1")["targets"][0]["counters"]["errors"] > 0
                disk.write(0, b"Y" * 4096)  # the server goes on: what has its place is written still
                assert disk.read(0, 4096) == b"Y" * 4096
            assert (small / "root.img").read_bytes()[:4096] == b"Y" * 4096
    finally:
        os.system(f"umount {small}")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("limit", [12, 14])
def test_a_server_that_may_open_too_little_refuses_in_one_line(tmp_path: Path, limit: int) -> None:
    with machine(tmp_path) as running:
        running.kill("vios1")
        done = subprocess.run(
            [*COMMAND, "vios", "run", "vios1", "--file", str(running.file)],
            env=running.environment,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert f"no file descriptor is left, of {limit}" in line
        running.start("vios1")


def test_an_unknown_engine(tmp_path: Path) -> None:
    (tmp_path / "root.img").write_bytes(bytes(IMAGE))
    refuses(machine(tmp_path, "file:root.img,engine=aio"), "machine.toml:", "engine 'aio'", "io_uring")


def test_a_path_that_no_file_can_have(tmp_path: Path) -> None:
    refuses(machine(tmp_path, "file:ro\\u0000ot.img"), "machine.toml:", "names no file")


def test_a_copy_to_a_directory(tmp_path: Path) -> None:
    with machine(tmp_path) as running:
        for place in ("/", "."):
            done = running.run("disk", "copy", "web1/root", place)
            assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr


@pytest.mark.timeout(60)
def test_a_client_of_another_revision_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_another_age = partial(FrontEnd, revision=0)
    monkeypatch.setattr("virtio_crq.client.connection.FrontEnd", of_another_age)
    with machine(tmp_path) as running:
        with pytest.raises(DeviceFault, match="revision"):
            with client_partition(running.state, "web1"):
                pass
        assert running.refused("web1").get("hello-revision")


@pytest.mark.parametrize(
    "command",
    [
        ("show",),
        ("down",),
        ("vios", "lsmap"),
        ("vios", "stat"),
        ("disk", "copy", "web1/root", "x.img"),
        ("trace",),
        ("start", "vios1"),
    ],
)
def test_commands_without_a_machine(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = machine(tmp_path).run(*command)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == ["virtio-crq: no machine is up; start one with: virtio-crq up FILE"]
