# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq disk`: every byte arrives in every direction, and what a person gets wrong is one line and status 2."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from machinetext import machine_text, mapped
from runningmachine import COMMAND, PATIENCE, RunningMachine

MACHINE = machine_text(
    mapped("web1/root", "file:root.img"),
    mapped("web1/endless", "null:64G"),
    mapped("web2/data", "ram:2M"),
    mapped("web2/cd", "file:cd.img", "readonly = true"),
    mapped("web2/cut", "file:cut.img"),
    clients=("web1", "web2"),
)
SIZE = 1 << 20
CONTENT = random.Random(5).randbytes(SIZE)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMachine]:
    directory = tmp_path_factory.mktemp("disk")
    (directory / "root.img").write_bytes(bytes(SIZE))
    (directory / "cd.img").write_bytes(CONTENT)
    (directory / "source.img").write_bytes(CONTENT)
    (directory / "cut.img").write_bytes(CONTENT)
    (directory / "odd.img").write_bytes(CONTENT[:1001])
    os.mkfifo(directory / "fifo")
    with RunningMachine(directory, MACHINE) as running:
        yield running


def test_a_copy_goes_in_from_disk_to_disk_and_out(machine: RunningMachine) -> None:
    assert f"copied {SIZE} bytes" in machine.must("disk", "copy", "source.img", "web1/root")
    assert (machine.directory / "root.img").read_bytes() == CONTENT
    machine.must("disk", "copy", "web1/root", "web2/data")
    machine.must("disk", "copy", "web2/data", "out.img")
    assert (machine.directory / "out.img").read_bytes() == CONTENT + bytes(SIZE)
    machine.must("disk", "copy", "odd.img", "web2/data")
    machine.must("disk", "copy", "web2/data", "./out.img")
    assert (machine.directory / "out.img").read_bytes() == CONTENT + bytes(SIZE), "the rest of a block stays"


def test_the_list_names_all_disks_of_clients_that_nobody_is(machine: RunningMachine) -> None:
    rows = json.loads(machine.must("disk", "list", "--json"))
    assert {row["disk"]: (row["bytes"], row["state"]) for row in rows} == {
        "web1/root": (SIZE, "read-write"),
        "web1/endless": (64 << 30, "read-write"),
        "web2/data": (2 * SIZE, "read-write"),
        "web2/cd": (SIZE, "read-only"),
        "web2/cut": (SIZE, "read-write"),
    }
    assert "web2/cd" in machine.must("disk", "list", "web2")


def test_any_stretch_can_be_read(machine: RunningMachine) -> None:
    done = subprocess.run(
        [*COMMAND, "disk", "read", "web2/cd", "--offset", "700", "--length", "5000"],
        env=machine.environment,
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout == CONTENT[700:5700]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("copy", "source.img", "other.img"), "neither source.img nor other.img is a disk"),
        (("copy", "web1/root", "web1/root"), "are the same disk"),
        (("copy", "web1/none", "x.img"), "no disk 'none'; this client has: endless, root"),
        (("copy", "web9/root", "x.img"), "web9"),
        (("copy", "none.img", "web1/root"), "cannot read none.img"),
        (("copy", "fifo", "web1/root"), "fifo is neither a file nor a block device"),
        (("copy", "web1/root", "no/such/x.img"), "cannot write no/such/x.img"),
        (("copy", "web1/root", "./source.img/x"), "cannot write source.img/x: Not a directory"),
        (("copy", "web1/root", "n" * 300), "File name too long"),
        (("copy", "web1/root", "fifo"), "fifo is neither a file nor a block device"),
        (("copy", "web1/endless", "root.img"), "root.img is in use: a server has it as an image"),
        (("copy", "web1/root", "cd.img"), "cd.img is in use: a server has it as an image"),
        (("copy", "web2/data", "web1/root"), f"{2 * SIZE} bytes do not fit disk web1/root"),
        (("copy", "source.img", "web2/cd"), "disk web2/cd is read-only"),
        (("read", "web2/cd", "--offset", str(SIZE), "--length", "1"), f"ends at {SIZE}"),
        (("read", "root"), "'root' is not of the form CLIENT/NAME"),
        (("list", "web9"), "web9"),
        (("export", "web2/none", "--nbd", "e.sock"), "no disk 'none'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(machine: RunningMachine, arguments: tuple[str, ...], says: str) -> None:
    before = set(os.listdir(machine.directory))
    done = machine.run("disk", *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    assert says in line
    assert set(os.listdir(machine.directory)) == before, "nothing is left behind"


def test_a_file_that_is_replaced_keeps_its_mode_and_a_link_is_followed(machine: RunningMachine) -> None:
    kept = machine.directory / "kept.img"
    kept.write_bytes(b"before")
    kept.chmod(0o600)
    (machine.directory / "link.img").symlink_to("kept.img")
    machine.must("disk", "copy", "web2/cd", "link.img")
    assert (machine.directory / "link.img").is_symlink()
    assert kept.read_bytes() == CONTENT
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_read_that_the_device_fails_is_one_line_and_status_1(machine: RunningMachine) -> None:
    os.truncate(machine.directory / "cut.img", 0)
    for arguments in (("disk", "read", "web2/cut", "--length", "10"), ("trace", "web2/cut", "--one")):
        done = machine.run(*arguments)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "the device failed a read" in line


def started(machine: RunningMachine, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, "disk", *arguments],
        env=machine.environment,
        cwd=machine.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_interrupted_copy_leaves_no_file_and_the_client_free(machine: RunningMachine) -> None:
    with started(machine, "copy", "web1/endless", "endless.img") as copying:
        partial = machine.directory / f".virtio-crq-{copying.pid}.partial"
        deadline = time.monotonic() + PATIENCE
        while not partial.exists():
            assert copying.poll() is None
            assert time.monotonic() < deadline
            os.sched_yield()
        copying.send_signal(signal.SIGINT)
        _out, said = copying.communicate(timeout=PATIENCE)
    assert copying.returncode != 0
    assert "Traceback" not in said
    assert not partial.exists()
    assert not (machine.directory / "endless.img").exists()
    machine.must("disk", "list", "web1")


def test_an_export_serves_until_it_is_interrupted(machine: RunningMachine) -> None:
    path = machine.state / "export.sock"
    with started(machine, "export", "web2/cd", "--nbd", str(path)) as exporting:
        assert exporting.stdout is not None
        assert f"web2/cd: {SIZE} bytes, read-only at nbd+unix:///cd?socket={path}" in exporting.stdout.readline()
        assert "Ctrl-C ends" in exporting.stdout.readline()
        assert path.is_socket()
        busy = machine.run("disk", "read", "web2/cd", "--length", "1")
        assert busy.returncode == 2, "another process is this client"
        assert len(busy.stderr.splitlines()) == 1
        exporting.send_signal(signal.SIGINT)
        _out, said = exporting.communicate(timeout=PATIENCE)
    assert (exporting.returncode, said) == (0, "")
    assert not path.exists()
