# SPDX-License-Identifier: Apache-2.0
"""The steps of the demo. Each claim is shown by something that could refute it."""

import time
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from virtio_crq.cli.anatomy import Rings, comparison, steps
from virtio_crq.cli.clientprocess import PATIENCE, ClientProcess
from virtio_crq.cli.demoguest import boot_guest, kernel_of_the_lab
from virtio_crq.cli.demomachine import CLIENT, DemoMachine
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
from virtio_crq.cli.tables import table
from virtio_crq.guests.cache import KernelParts
from virtio_crq.hypervisor.conversation import Conversation

SCRATCH_BYTES = 64 << 20
KILLS = 3
WRITES_BETWEEN = 4000  # at least so many writes are acknowledged before each kill, and after the last
SETTLE_SECONDS = 0.2  # after an answer: signals turned on and credits returned belong to the request, too


class Demo:
    """The steps in their order; each needs what those before it made."""

    def __init__(self, work: Path, machine: DemoMachine, console: Console) -> None:
        self.work = work
        self.machine = machine
        self.console = console
        self.number = 0

    def run(self) -> None:
        steps = (self.set_up, self.copy_in, self.copy_back, self.one_read, self.kill, self.check_backing, self.view)
        for step in steps:
            step()
        if kernel := kernel_of_the_lab():
            self.boot(kernel)

    def set_up(self) -> None:
        self._title("A hypervisor, an I/O server, and a file system to carry")
        with self.console.status("growing a tree of files"):
            count = grow_tree(self.work / "tree")
            make_image(self.work / "tree", self.work / "source.img")
        self._say(f"an ext4 image of {IMAGE_BYTES >> 20} MiB with {count} files, made by mke2fs -d")
        for name, size in (("root.img", IMAGE_BYTES), ("scratch.img", SCRATCH_BYTES)):
            with (self.work / name).open("wb") as file:
                file.truncate(size)
        for name, pid in self.machine.start().items():
            self._say(f"{name:<12} process {pid}")
        self._say(f"what backs {CLIENT}/root is empty")

    def copy_in(self) -> None:
        self._title(f"Copy the image in: through {CLIENT}'s virtqueue, over CRQ, by hypervisor copies")
        self._copy(str(self.work / "source.img"), f"{CLIENT}/root")

    def copy_back(self) -> None:
        self._title("Read it back the same way, and compare")
        self._copy(f"{CLIENT}/root", str(self.work / "back.img"))
        hashes = []
        with self._bar() as progress:
            for name in ("source.img", "back.img"):
                task = progress.add_task(f"sha256 of {name}", total=IMAGE_BYTES)
                hashes.append(sha256(self.work / name, partial(_completed, progress, task)))
        self._say(f"SHA-256 written    {hashes[0]}")
        self._say(f"SHA-256 read back  {hashes[1]}")
        if hashes[0] != hashes[1]:
            raise DemoFailed("what was read back is not what was written")
        self._say("identical")

    def one_read(self) -> None:
        self._title("One read of 4 KiB, hypercall by hypercall, as the engine saw it")
        with self.machine.client() as client, Conversation(self.machine.directory) as hypervisor:
            self._say(f"{CLIENT:<12} process {client.pid}")
            time.sleep(SETTLE_SECONDS)
            hypervisor.ask("trace", on=True)
            try:
                client.order(do="read", disk="root", offset=0)
                words = client.answer()
                time.sleep(SETTLE_SECONDS)
                entries = hypervisor.ask("read_trace", after=0)
            finally:
                hypervisor.ask("trace", on=False)
        if not entries:
            raise DemoFailed("the engine saw no hypercall")
        head = ("", "µs", "by", "hypercall", "with", "what for")
        self._lines(table(head, steps(entries, Rings(**words["rings"]))))
        self._say("")
        counts = comparison(entries)
        self._lines(table(("hypercalls of both partitions", "this read", "IBM's vSCSI"), counts))
        self._say("IBM's as counted on its own drivers: virtio-crq guests witness. A deep queue shares all but mapping")
        self._say("and data: virtio-crq bench --case randread-4k-qd32 counts that. For this read nothing was mapped")
        self._say(
            "and no ring fetched; the long way: virtio-crq trace web1/root --one --fetch batched --map per-request"
        )

    def kill(self) -> None:
        self._title(f"Kill the I/O server with -9, {KILLS} times, under writes that check themselves")
        with self.machine.client() as client, self._bar() as progress:
            client.order(do="write", disk="scratch")
            longest = self._kill_under_writes(client, progress)
            client.order(do="stop")
            words = client.answer()
            while "done" not in words:
                words = client.answer()
        self._say(f"{words['writes']} writes acknowledged, to {words['blocks']} blocks; 0 failed")
        self._say(f"the server was lost {words['losses']} times and came back; longest pause {longest:.2f} s")
        self._say(f"all blocks read back: {words['lost']} lost or torn")
        if words["lost"]:
            raise DemoFailed(f"{words['lost']} blocks do not hold what was acknowledged")

    def _kill_under_writes(self, client: ClientProcess, progress: Progress) -> float:
        """The longest time in which no write ended."""
        task = progress.add_task("writing", total=WRITES_BETWEEN * (KILLS + 1))
        deadline = time.monotonic() + PATIENCE
        for kills in range(KILLS + 1):
            begin = None  # how many writes had ended when the client had noticed so many deaths
            while True:
                words = client.answer()
                if begin is None and words["losses"] == kills:
                    begin = words["writes"]
                since = 0 if begin is None else words["writes"] - begin
                progress.update(task, completed=WRITES_BETWEEN * kills + min(since, WRITES_BETWEEN))
                if since >= WRITES_BETWEEN:
                    break
                if time.monotonic() > deadline:
                    raise DemoFailed(f"the writes stand still at {words['writes']} after kill {kills}")
            if kills < KILLS:
                progress.update(task, description=f"writing; server killed {kills + 1} ×")
                self.machine.kill_server()
        progress.update(task, description="reading all blocks back")
        return float(words["pause"])

    def check_backing(self) -> None:
        self._title("The server's backing file, by tools that know nothing of all this")
        backing = self.work / "root.img"
        verdict = check_image(backing)
        self._say(f"e2fsck -fn: {verdict.replace(str(backing), backing.name)}")
        with self.console.status("comparing file by file"):
            extract(backing, self.work / "out")
            wrong = differences(self.work / "tree", self.work / "out")
        if wrong:
            raise DemoFailed(f"{len(wrong)} files differ, the first: {wrong[0]}")
        self._say("every file, read out of it by debugfs, is the one that was put in")

    def view(self) -> None:
        self._title("The mapping view: virtio-crq vios lsmap")
        with self.machine.client():  # so that something is connected
            self._lines(self.machine.output("vios", "lsmap"))

    def boot(self, kernel: KernelParts) -> None:
        self._title(f"A real Linux guest, Debian's own kernel {kernel.release}, mounts that disk")
        self.machine.close()
        begun = time.monotonic()
        with self.console.status("booting it in QEMU; every processor instruction is emulated"):
            lines = boot_guest(self.work, f"{self.machine.name}-guest", kernel)
        self._lines("\n".join(lines))
        self._say(
            f"each of these hashes is that of the file that was put in; up and off in {time.monotonic() - begun:.0f} s"
        )

    def _copy(self, source: str, target: str) -> None:
        begun = time.monotonic()
        self.machine.show("disk", "copy", source, target)
        seconds = time.monotonic() - begun
        self._say(f"{IMAGE_BYTES >> 20} MiB in {seconds:.1f} s, {(IMAGE_BYTES >> 20) / seconds:.0f} MiB/s")

    def _bar(self) -> Progress:
        return Progress(console=self.console, transient=True, disable=not self.console.is_terminal)

    def _title(self, text: str) -> None:
        self.number += 1
        self.console.print(f"\n[bold]{self.number}. {text}[/bold]", soft_wrap=True)

    def _lines(self, text: str) -> None:
        for line in text.splitlines():
            self._say(line)

    def _say(self, text: str) -> None:
        self.console.print(f"   {text}".rstrip(), markup=False, highlight=False, soft_wrap=True)


def _completed(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)
