# SPDX-License-Identifier: Apache-2.0
"""What a check meets: a guest that runs, its agent, and the house around it. A guest that is gone is booted again."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.agent import Agent
from virtio_crq.guests.cache import KernelParts
from virtio_crq.guests.complaints import TROUBLE
from virtio_crq.guests.guest import CONSOLE, Guest, GuestPlan
from virtio_crq.guests.initramfs import Initramfs

GUEST = "guest"
SERVER, SPARE, THIRD = "vios1", "vios2", "vios3"  # root, data, consoles; the adapter that is added; the narrow one
BOOT_SECONDS = 60.0
LISTEN_SECONDS = 5.0


class Neighbour(Protocol):
    """A user-space client with verified I/O under way."""

    def progress(self) -> int:
        """How many requests were verified so far; an error when one was not."""
        ...


class Wire(Protocol):
    """Somebody at a console, from outside."""

    def send(self, data: bytes) -> None: ...
    def heard(self) -> bytes:
        """All that came so far."""
        ...

    def resize(self, columns: int, rows: int) -> None: ...


class House(Protocol):
    """The machine around the guest. Servers by name."""

    def boot(self, plan: GuestPlan) -> Guest: ...
    def kill(self, server: str) -> None:
        """kill -9, and wait until it is gone."""
        ...

    def start(self, server: str) -> None: ...
    def running(self, server: str) -> bool: ...
    def suspend(self, server: str) -> None:
        """The platform tells the guest's adapter that this partner of its was suspended."""
        ...

    def calls(self, server: str) -> Mapping[str, int]:
        """How often the guest made which hypercall on its adapter to this server, by name."""
        ...

    def command(self, *arguments: str) -> str:
        """What a command of ours prints, for this machine."""
        ...

    def attached(self, target: str, port: str = "") -> AbstractContextManager[Wire]:
        """Somebody attached to a console, or to a port of one."""
        ...

    def neighbour(self) -> AbstractContextManager[Neighbour]: ...
    def hostile(self, scene: "Scene") -> str:
        """The table of hostile acts against the guest."""
        ...


@dataclass
class Scene:
    """`facts` go into the report as they are."""

    house: House
    kernel: KernelParts
    initramfs: Initramfs
    initrd: Path
    vcpus: int = 2
    firmware: str = "vof"
    parameters: str = ""  # of our module
    facts: dict[str, Any] = field(default_factory=dict)
    patience: float = 30.0
    guest: Guest | None = None
    boot_seconds: float = 0.0
    _agent: Agent | None = None
    _root: bool = True

    def need(self, root: bool) -> None:
        """A guest with, or without, its root on a disk."""
        if self.guest is not None and (not self.guest.running or self._root is not root):
            self.leave()
        if self.guest is None:
            self._boot(root)

    def _boot(self, root: bool) -> None:
        words = f"{CONSOLE} panic=-1" + (" root=LABEL=guest-root" if root else "")
        words += "".join(f" virtio_crq.{word}" for word in self.parameters.split())
        plan = GuestPlan(self.kernel.vmlinux, self.initrd, words, self.vcpus, self.firmware)
        begun = time.monotonic()
        self.guest = self.house.boot(plan)
        self._root = root
        self._agent = Agent(self.guest.agent, self.guest.console)
        self._agent.wait(BOOT_SECONDS)
        self.boot_seconds = time.monotonic() - begun
        # From now on the console has only what the kernel has to say of itself.
        self._agent.check("echo 1 > /proc/sys/kernel/printk && dmesg -n 7")

    def leave(self) -> None:
        """No guest any more."""
        guest, self.guest, self._agent = self.guest, None, None
        if guest is not None:
            guest.close()

    @property
    def agent(self) -> Agent:
        if self._agent is None:
            raise VirtioCrqError("there is no guest")
        return self._agent

    def run(self, command: str, seconds: float = 30.0) -> str:
        """What a command in the guest writes; one that fails is an error."""
        return self.agent.check(command, seconds)

    def lines(self, command: str, seconds: float = 30.0) -> list[str]:
        return self.run(command, seconds).split("\n")[:-1]

    def until(self, holds: Callable[[], bool], what: str, seconds: float | None = None) -> float:
        """Seconds until something held; VirtioCrqError names it when it never does. Asks again and again."""
        begun = time.monotonic()
        limit = self.patience if seconds is None else seconds
        while not holds():
            if time.monotonic() - begun > limit:
                raise VirtioCrqError(f"no {what} within {limit:.0f} s")
            time.sleep(0.05)
        return time.monotonic() - begun

    def trouble(self) -> list[str]:
        """What the guest's kernel said that no kernel should have to say."""
        return self.said(TROUBLE)

    def said(self, pattern: str) -> list[str]:
        """The last lines of the guest's kernel that match an extended regular expression."""
        return self.lines(f"dmesg >/run/dmesg && {{ grep -E '{pattern}' /run/dmesg | tail -n 5; true; }}")

    def ask_who_waits(self) -> None:
        """Of a guest whose agent is silent: its kernel tells the console which tasks are blocked, and where."""
        if self.guest is not None and self.guest.running:
            self.guest.console.send(b"\necho 8 >/proc/sys/kernel/printk; echo w >/proc/sysrq-trigger\n")
            self.guest.console.wait_for(b"sysrq: Show Blocked State", LISTEN_SECONDS)
            time.sleep(1)

    def last_lines(self, count: int = 15) -> Sequence[str]:
        return [] if self.guest is None else self.guest.console.last_lines(count)

    def disk(self, name: str) -> str:
        """The guest's device of the disk that the server calls `name`, as /dev/vdX; waits for it."""
        found = ""

        def there() -> bool:
            nonlocal found
            found = self.find_disk(name)
            return bool(found)

        self.until(there, f"disk {name} in the guest")
        return found

    def find_disk(self, name: str) -> str:
        """As `disk`, empty without one."""
        return "".join(self.agent.run(f"{NAMES}\n{naming(name)}").text.split()[:1])


# What a disk is called is an I/O, which a server may leave unanswered: each is asked once, by a process of its own.
# The shell does all else by itself; a process costs an emulated processor 15 ms.
NAMES = """[ -d /run/names ] || mkdir -p /run/names; cd /run/names; new=
for d in /sys/block/vd*; do
    read -r s 2>/dev/null <$d/diskseq || continue
    f=${d##*/}-$s; [ -e $f.asked ] && continue
    : >$f.asked; new=1; (read -r n <$d/serial; [ "$n" ] && echo "$n" >$f) >/dev/null 2>&1 &
done; [ $new ] && usleep 10000
"""


def naming(name: str) -> str:
    """Shell text, after `NAMES`: the device of the disk `name`, if it is there. No two disks have one number."""
    return (
        "for f in vd*-*[0-9]; do n=; read -r n 2>/dev/null <$f; "
        f'[ "$n" = "{name}" ] && read -r s 2>/dev/null </sys/block/${{f%%-*}}/diskseq && '
        '[ "$s" = "${f#*-}" ] && echo /dev/${f%%-*} $s; done; cd /'
    )
