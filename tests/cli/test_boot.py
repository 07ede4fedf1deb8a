# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq boot` with real guests: from a terminal as a person has it, from a pipe, and what ends badly."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import virtio_crq
from virtio_crq.guests.cache import Lab, lab_directory
from virtio_crq.guests.ext4image import tool
from virtio_crq.guests.rootimage import make_root_image

pytestmark = pytest.mark.guest
EXAMPLE = Path(__file__).parents[2] / "examples/linux-guest.toml"
COMMAND = (sys.executable, "-m", "virtio_crq.cli")


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

    def left(self) -> list[Path]:
        """What machines left behind."""
        return list((self.runtime / "virtio-crq").glob("*"))

    def sound(self) -> bool:
        return subprocess.run([tool("e2fsck"), "-fn", str(self.root)], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="vc", dir="/var/tmp") as work, tempfile.TemporaryDirectory() as runtime:
        yield Place(Path(work), Path(runtime))


class Person:
    """Sits at a terminal in which the command runs."""

    def __init__(self, place: Place, *words: str) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(place.directory)
            os.execvpe(COMMAND[0], [*COMMAND, "boot", EXAMPLE.name, *words], place.environment)
        self.seen = b""

    def sees(self, pattern: bytes, seconds: float = 120) -> str:
        """All that came up to `pattern`, and it."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready = select.select([self.terminal], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"no {pattern!r} after {self.seen[-1000:]!r}"
            self.seen += os.read(self.terminal, 65536)
        told, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return told.decode(errors="replace")

    def types(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def status(self) -> int:
        """How the command ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return code

    def __enter__(self) -> "Person":
        return self

    def __exit__(self, *exception: object) -> None:
        """Goes, and takes the terminal with her."""
        os.close(self.terminal)
        if self.pid:
            self.status()


def test_a_person_gets_a_shell_whose_root_is_ours_and_leaves_it(place: Place) -> None:
    begun = time.monotonic()
    with Person(place) as person:
        person.sees(rb"Ctrl-\] leaves it")
        person.sees(rb"guest# ")
        assert time.monotonic() - begun < 40
        person.types(b"grep ' / ' /proc/mounts; cat /sys/class/misc/hw_random/rng_current\r")
        told = person.sees(rb"guest# ")
        assert "/dev/vda / ext4 rw" in told
        assert "virtio_rng.0" in told
        person.types(b"echo be''gun; sleep 1000\r")
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


def test_a_terminal_that_goes_away_takes_guest_and_machine_with_it(place: Place) -> None:
    with Person(place) as person:
        person.sees(rb"guest web1 runs as process")
    assert place.left() == []
