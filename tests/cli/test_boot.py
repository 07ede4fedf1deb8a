# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq boot` with real guests: from a terminal as a person has it, from a pipe, and what ends badly."""

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from person import COMMAND, Person

import virtio_crq
from virtio_crq.cli.guestplan import lab_initramfs
from virtio_crq.guests.cache import Lab, lab_directory
from virtio_crq.guests.ext4image import tool
from virtio_crq.guests.rootimage import make_root_image

pytestmark = pytest.mark.guest
EXAMPLE = Path(__file__).parents[2] / "examples/linux-guest.toml"


class Place:
    """A directory with the example's machine file and its root disk."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        self.directory = directory
        self.runtime = runtime
        self.root = make_root_image(Lab.open().userland(), directory / "root.img")
        shutil.copy(EXAMPLE, directory)
        source = str(Path(virtio_crq.__file__).parents[1])
        lab = str(lab_directory())
        self.environment = os.environ | {
            "XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": source, "VIRTIO_CRQ_LAB": lab
        }  # fmt: skip

    def boot(self, *words: str, typed: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*COMMAND, "boot", EXAMPLE.name, *words],
            env=self.environment,
            cwd=self.directory,
            input=typed,
            stdin=subprocess.DEVNULL if typed is None else None,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=240,
        )

    def person(self, *words: str, size: tuple[int, int] = (24, 80)) -> Person:
        """At a terminal in which this command runs."""
        return Person(self.environment, self.directory, *words, size=size)

    def left(self) -> list[Path]:
        """What machines left behind."""
        return list((self.runtime / "virtio-crq").glob("*"))

    def sound(self) -> bool:
        return subprocess.run([tool("e2fsck"), "-fn", str(self.root)], capture_output=True).returncode == 0


# Speaks when ^C is to end it: a child that the shell has only just made may ignore ^C still, as its parent does.
SLEEPER = b"sh -c 'echo be\"\"gun; exec sleep 1000'\r"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="vc", dir="/var/tmp") as work, tempfile.TemporaryDirectory() as runtime:
        yield Place(Path(work), Path(runtime))


def test_a_person_gets_a_shell_whose_root_is_ours_and_leaves_it(place: Place) -> None:
    begun = time.monotonic()
    with place.person("boot", EXAMPLE.name) as person:
        person.sees(rb"Ctrl-\] leaves it")
        person.sees(rb"guest# ")
        assert time.monotonic() - begun < 40
        person.types(b"grep ' / ' /proc/mounts; cat /sys/class/misc/hw_random/rng_current\r")
        told = person.sees(rb"guest# ")
        assert "/dev/vda / ext4 rw" in told
        assert "virtio_rng.0" in told
        person.types(SLEEPER)
        person.sees(rb"begun\r\n")
        person.types(b"\x03")  # the guest's: it ends what runs there
        person.sees(rb"guest# ")
        person.types(b"\x1d")
        person.sees(rb"asked to shut down")
        person.sees(rb"Power down")
        person.sees(rb"guest web1 is off")
        assert person.status() == 0
    assert place.sound()
    assert place.left() == []


def test_a_pipes_commands_run_and_its_end_switches_the_guest_off(place: Place) -> None:
    log = place.directory / "console.log"
    done = place.boot(
        "--kernel", "6.12", "--vcpus", "2", "--log", str(log), typed="uname -r\nnproc\nreboot -f\nnproc\n"
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"uname -r\s+6\.12", done.stdout)
    assert len(re.findall(r"nproc\s+2\s", done.stdout)) == 2
    assert "guest web1 starts again" in done.stderr
    assert log.read_text(errors="replace").replace("\r", "") == done.stdout.replace("\r", "")
    assert place.left() == []


def test_a_guest_that_panics_is_an_error_with_its_last_lines(place: Place) -> None:
    done = place.boot("--append", "root= rdinit=/nothing init=/nothing")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("virtio-crq: guest web1 panicked: VFS: Unable to mount root fs")
    assert "the last lines of its console:" in lines
    assert place.left() == []


def test_a_guest_that_never_answers_is_given_up(place: Place) -> None:
    done = place.boot("--timeout", "5", "--append", "quiet root=/dev/vdz")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "virtio-crq: guest web1 never answered: its console was silent too long"
    assert place.left() == []


def test_a_kernel_and_an_initrd_of_ones_own_that_find_no_root_say_so_and_give_a_shell(place: Place) -> None:
    lab = Lab.open()
    shutil.copy(lab.kernel("6.1").vmlinux, place.directory / "vmlinux")
    lab_initramfs(lab, "6.1").write(place.directory / "own.img")
    words = ("--kernel", "./vmlinux", "--initrd", "./own.img", "--append", "root=/dev/vdq", "--vcpus", "1")
    done = place.boot(*words, typed="uname -r\nls /sys/block\n")
    assert done.returncode == 0, done.stderr
    assert "virtio-crq: no disk /dev/vdq after 30 s; there are: vda" in done.stdout
    assert re.search(r"uname -r\s+6\.1\.[\s\S]*ls /sys/block\s+vda", done.stdout)
    assert place.left() == []


def test_a_terminal_that_goes_away_takes_guest_and_machine_with_it(place: Place) -> None:
    with place.person("boot", EXAMPLE.name) as person:
        person.sees(rb"guest web1 runs as process")
    assert place.left() == []


def test_a_console_of_virtio_is_a_terminal_of_its_own_and_is_resized(place: Place) -> None:
    with place.person("boot", EXAMPLE.name, "--kernel", "6.1") as person:
        person.sees(rb"guest# ")
        with place.person("console", "attach", "web1/tty", size=(33, 111)) as other:
            other.sees(rb"attached to web1/tty")
            person.types(b"setsid -c sh -i <>/dev/hvc2 >&0 2>&1 &\r")
            other.sees(rb"guest# ")
            other.types(b"tty; cat /sys/class/virtio-ports/vport*/device/device; stty size; seq 2000 | md5sum\r")
            told = other.sees(rb" -\r\n")
            assert "/dev/hvc2\r\n0x0003\r\n33 111\r\n" in told
            assert "ea4d0a24dabcaa11f9aa979b872d162b" in told
            other.resizes(44, 132)
            other.types(b"until stty size | grep '44 132'; do usleep 50000; done\r")
            other.sees(rb"\n44 132\r\n", 30)
            other.types(b"seq 1 300\r")
            assert [int(line) for line in re.findall(r"\n(\d+)\r", other.sees(rb"\n300\r\n"))] == list(range(1, 301))
            other.types(SLEEPER)
            other.sees(rb"begun\r\n")
            other.types(b"\x03echo in''terrupted\r")
            other.sees(rb"interrupted\r\n", 30)
            other.types(b"\x1d")
            other.sees(rb"detached")
            assert other.status() == 0
        person.types(b"poweroff\r")
        person.sees(rb"guest web1 is off")
        assert person.status() == 0
    assert place.left() == []


def test_a_command_that_is_killed_leaves_neither_guest_nor_machine(place: Place) -> None:
    with place.person("boot", EXAMPLE.name, "--append", "root=/dev/vdz") as person:
        guest = os.pidfd_open(int(re.findall(r"process (\d+)", person.sees(rb"as process \d+ *;"))[0]))
        os.kill(person.pid, signal.SIGKILL)
        assert person.status() == -signal.SIGKILL
    assert select.select([guest], [], [], 30)[0]
    os.close(guest)
    deadline = time.monotonic() + 30
    while place.left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert place.left() == []
