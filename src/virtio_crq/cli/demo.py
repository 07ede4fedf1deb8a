# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq demo`, run by ./demo: the whole idea in a minute, each claim shown by a tool that could refute it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Timer
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID

from virtio_crq.cli.demotree import (
    IMAGE_BYTES,
    DemoFailed,
    check_image,
    differences,
    extract,
    grow_tree,
    make_image,
    sha256,
)
from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import HYPERVISOR, command, roles
from virtio_crq.cli.trace import render
from virtio_crq.errors import VirtioCrqError
from virtio_crq.hypervisor.conversation import Conversation
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.hypervisor.statedirectory import make_state_directory

SERVER, CLIENT = "vios1", "web1"
VSCSI_CALLS = 13  # hypercalls of one unbatched vSCSI request, both sides, by paper
KILLS = 3
WRITES_BETWEEN = 4000  # at least so many writes are acknowledged before each kill, and after the last
PATIENCE = 60.0

MACHINE = """
[machine]
name = "{name}"

[partition.vios1]
memory = "64M"

[partition.web1]
memory = "64M"

[[adapter]]
client = "web1"
slot = 2
server = "vios1"

[[map]]
client = "web1"
target = "root"
backing = "file:root.img"

[[map]]
client = "web1"
target = "scratch"
backing = "file:scratch.img"
"""

NEXT = (
    ("virtio-crq up examples/two-clients.toml --detach", "a machine of two clients, yours to look at"),
    ("virtio-crq vios lsmap", "who is served what"),
    ("virtio-crq bench --case randread-4k-qd32", "what one I/O costs, and what it would on hardware"),
)


class Demo:
    """The steps in their order; each needs what those before it made."""

    def __init__(self, work: Path, console: Console) -> None:
        self.console = console
        self.work = work
        self.name = f"demo-{os.getpid()}"
        self.directory = make_state_directory(self.name)
        self.processes = ProcessTable(self.directory)
        self.machine = parse_machine_file(MACHINE.format(name=self.name), work / "demo.toml")
        self.roles = {role.name: role for role in roles(self.machine, self.directory)}
        self.children: list[subprocess.Popen[str]] = []
        self.number = 0

    def run(self) -> None:
        steps = (self.set_up, self.copy_in, self.copy_back, self.one_read, self.kill, self.check_backing, self.view)
        for step in steps:
            step()

    def title(self, text: str) -> None:
        self.number += 1
        self.console.print(f"\n[bold]{self.number}. {text}[/bold]")

    def say(self, text: str) -> None:
        self.console.print(f"   {text}", markup=False, highlight=False, soft_wrap=True)

    # -- the steps

    def set_up(self) -> None:
        self.title("A hypervisor, an I/O server, and a file system to carry")
        with self.console.status("growing a tree of files"):
            count = grow_tree(self.work / "tree")
            make_image(self.work / "tree", self.work / "source.img")
        self.say(f"an ext4 image of {IMAGE_BYTES >> 20} MiB with {count} files, made by mke2fs -d")
        for name, size in (("root.img", IMAGE_BYTES), ("scratch.img", 64 << 20)):
            with (self.work / name).open("wb") as file:
                file.truncate(size)
        self.machine.path.write_text(MACHINE.format(name=self.name))
        for role in self.roles.values():
            running = self.processes.start(role)
            self.say(f"{running.name:<12} process {running.pid}")
        self.say("the backing of web1's disk `root` is empty")

    def copy_in(self) -> None:
        self.title("Copy the image in: through web1's virtqueue, over CRQ, by hypervisor copies")
        self._disk_copy(str(self.work / "source.img"), f"{CLIENT}/root")

    def copy_back(self) -> None:
        self.title("Read it back the same way, and compare")
        self._disk_copy(f"{CLIENT}/root", str(self.work / "back.img"))
        hashes = []
        with self._bar() as progress:
            for name in ("source.img", "back.img"):
                task = progress.add_task(f"sha256 {name}", total=IMAGE_BYTES)
                hashes.append(sha256(self.work / name, partial(_completed, progress, task)))
        self.say(f"written    {hashes[0]}")
        self.say(f"read back  {hashes[1]}")
        if hashes[0] != hashes[1]:
            raise DemoFailed("the image that was read back is another one")
        self.say("identical")

    def one_read(self) -> None:
        self.title("One read of 4 KiB, hypercall by hypercall, as the engine saw it")
        client = self._client()
        with Conversation(self.directory) as hypervisor:
            hypervisor.ask("trace", on=True)
            try:
                _order(client, do="read", disk="root", offset=0)
                self._answer(client)
                time.sleep(0.2)  # what is said after the answer (signals on, credits) belongs to the request too
                entries = hypervisor.ask("read_trace", after=0)
            finally:
                hypervisor.ask("trace", on=False)
        self._end(client)
        for number, entry in enumerate(entries, 1):
            self.say(f"{number:>3} {render(entry).lstrip().partition('  ')[2]}")
        if not entries:
            raise DemoFailed("the engine saw no hypercall")
        calls = Counter(entry["call"] for entry in entries)
        mapping = sum(count for name, count in calls.items() if name.endswith("_TCE"))
        self.say(", ".join(f"{count} {name}" for name, count in calls.most_common()))
        self.say(
            f"{len(entries)} hypercalls by both partitions, {mapping} of them to map and unmap; "
            f"vSCSI needs about {VSCSI_CALLS}"
        )
        self.say("under load a batch shares its calls: virtio-crq bench counts them")

    def kill(self) -> None:
        self.title(f"Kill the I/O server with -9, {KILLS} times, under writes that check themselves")
        client = self._client()
        _order(client, do="write", disk="scratch")
        kills = 0
        with self._bar() as progress:
            task = progress.add_task("writing", total=WRITES_BETWEEN * (KILLS + 1))
            deadline = time.monotonic() + PATIENCE
            while True:
                words = self._answer(client)
                progress.update(task, completed=words["writes"])
                if words["writes"] >= WRITES_BETWEEN * (kills + 1):
                    if kills == KILLS:
                        break
                    progress.update(task, description=f"writing, server killed {kills + 1} ×")
                    self._kill_server()
                    kills += 1
                if time.monotonic() > deadline:
                    raise DemoFailed(f"the writes stand still at {words['writes']} after kill {kills}")
            longest = words["pause"]
            progress.update(task, description="reading all blocks back")
            _order(client, do="stop")
            while "done" not in words:
                words = self._answer(client)
        self._end(client)
        self.say(f"{words['writes']} writes acknowledged in {words['blocks']} blocks")
        self.say(f"the client lost its server {words['losses']} times")
        self.say(f"longest pause {longest:.2f} s; failed requests 0; blocks lost or torn: {words['lost']}")
        if words["lost"]:
            raise DemoFailed(f"{words['lost']} blocks do not hold what was acknowledged")

    def check_backing(self) -> None:
        self.title("The server's backing file, by tools that know nothing of this")
        backing = self.work / "root.img"
        self.say(f"e2fsck -fn: {check_image(backing)}")
        with self.console.status("comparing file by file"):
            extract(backing, self.work / "out")
            wrong = differences(self.work / "tree", self.work / "out")
        if wrong:
            raise DemoFailed(f"{len(wrong)} files differ, the first: {wrong[0]}")
        self.say("every file is the one that was put in")

    def view(self) -> None:
        self.title("The mapping view")
        shown = self._quietly("vios", "lsmap", "--machine", self.name)
        for line in shown.splitlines():
            self.say(line)

    # -- processes

    def _disk_copy(self, source: str, target: str) -> None:
        """The very command that a user types, with its own progress bar in this terminal."""
        begun = time.monotonic()
        process = subprocess.Popen(command("disk", "copy", source, target, "--machine", self.name), text=True)
        self.children.append(process)
        if process.wait():
            raise DemoFailed(f"disk copy ended with status {process.returncode}")
        seconds = time.monotonic() - begun
        self.say(f"{IMAGE_BYTES >> 20} MiB in {seconds:.1f} s, {(IMAGE_BYTES >> 20) / seconds:.0f} MiB/s")

    def _quietly(self, *arguments: str) -> str:
        done = subprocess.run(command(*arguments), capture_output=True, text=True)
        if done.returncode:
            raise DemoFailed(f"virtio-crq {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def _kill_server(self) -> None:
        os.kill(self.processes.running()[SERVER].pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while SERVER in self.processes.running() and time.monotonic() < deadline:
            time.sleep(0.01)  # its death takes a moment, as the kernel ends its I/O
        self.processes.start(self.roles[SERVER])

    def _client(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "virtio_crq.cli.democlient", str(self.directory), CLIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.children.append(process)
        # A client that hangs ends here; whoever waits for its answer is then told.
        watch = Timer(2 * PATIENCE, process.kill)
        watch.daemon = True
        watch.start()
        self._answer(process)
        self.say(f"{CLIENT:<12} process {process.pid}")
        return process

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        words: dict[str, Any] = json.loads(line) if line else {"error": "it ended without a word"}
        if "error" in words:
            raise DemoFailed(f"the client: {words['error']}")
        return words

    def _end(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)

    def _bar(self) -> Progress:
        return Progress(console=self.console, transient=True)

    def close(self) -> None:
        for process in self.children:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.processes.stop_all(HYPERVISOR)
        shutil.rmtree(self.directory, ignore_errors=True)


def demo() -> None:
    """Carry a file system over CRQ, look at one read, kill the server, and check everything."""
    console = Console(highlight=False)
    begun = time.monotonic()
    with _terminated_as_interrupted(), ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="virtio-crq-demo-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        show = Demo(work, console)
        stack.callback(show.close)
        try:
            show.run()
        except KeyboardInterrupt:
            console.print("\nstopped; nothing is left behind")
            raise SystemExit(130) from None
        except (VirtioCrqError, OSError) as error:
            console.print(f"\n[bold red]The demo failed in step {show.number}:[/bold red]", end=" ")
            console.print(" ".join(str(error).split()), markup=False, soft_wrap=True)
            log = _kept_logs(show)
            console.print(f"What the processes said is in {log}", soft_wrap=True)
            console.print("Try again with ./demo; ./check tells whether this machine can run the tests.")
            raise SystemExit(1) from None
    console.print(
        f"\n[bold]Done in {time.monotonic() - begun:.0f} s.[/bold] Try next, after [bold]. .venv/bin/activate[/bold]:"
    )
    for line, what in NEXT:
        console.print(f"   {line:<52} {what}", markup=False, soft_wrap=True)


def _completed(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)


def _order(process: subprocess.Popen[str], **order: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()


def _kept_logs(show: Demo) -> Path:
    kept = Path(tempfile.mkdtemp(prefix="virtio-crq-demo-logs-"))
    for path in show.directory.glob("*.log"):
        shutil.copy(path, kept)
    return kept


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
