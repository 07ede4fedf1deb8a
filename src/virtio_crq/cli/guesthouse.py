# SPDX-License-Identifier: Apache-2.0
"""The machine of the guest suite: three servers, a place for a hostile one, a user-space client, and the guest."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from virtio_crq.axes import REDIRECT
from virtio_crq.cli.clientprocess import ClientProcess
from virtio_crq.cli.guesthostile import play_hostile
from virtio_crq.cli.guestwire import AttachedTerminal
from virtio_crq.cli.machine import FILE_NOTE
from virtio_crq.cli.processes import ProcessTable
from virtio_crq.cli.roles import HYPERVISOR, command, roles
from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.guest import Guest, GuestPlan
from virtio_crq.guests.qemu import Qemu
from virtio_crq.guests.rungs import DEFAULT, Rung
from virtio_crq.guests.suite.consoles import CHANNELS, CONSOLE, PORT
from virtio_crq.guests.suite.disks import NARROW, NARROW_WINDOW
from virtio_crq.guests.suite.scene import GUEST, SERVER, SPARE, THIRD, Scene
from virtio_crq.hypervisor.conversation import ask
from virtio_crq.hypervisor.machinefile import read_machine_file
from virtio_crq.hypervisor.statedirectory import make_own_directory
from virtio_crq.papr.entry import TransportEvent

MALLORY, BESIDE = "mallory", "beside"
HOSTILE_SLOT = 3
LIFETIME = 600.0  # seconds of the user-space client, at most
DIE_SECONDS = 10.0
LATE_BYTES = 32 << 20

MACHINE = f"""
[machine]
name = "{{name}}"

[partition.{SERVER}]
memory = "128M"
fetch = "{{fetch}}"

[partition.{SPARE}]
memory = "64M"
fetch = "{{fetch}}"
data = "{REDIRECT}"

[[storage]]
server = "{SPARE}"
slot = 60

[partition.{THIRD}]
memory = "64M"
fetch = "{{fetch}}"

[partition.{MALLORY}]
memory = "64M"

[partition.{BESIDE}]
memory = "64M"

[partition.{GUEST}]
memory = "1G"
guest = true

[[adapter]]
client = "{GUEST}"
slot = 2
server = "{SERVER}"

[[adapter]]
client = "{GUEST}"
slot = {HOSTILE_SLOT}
server = "{MALLORY}"

[[adapter]]
client = "{GUEST}"
slot = 4
server = "{SPARE}"
boot = false

[[adapter]]
client = "{GUEST}"
slot = 5
server = "{THIRD}"
window = "{NARROW_WINDOW}"

[[adapter]]
client = "{BESIDE}"
slot = 2
server = "{SERVER}"

[[map]]
client = "{GUEST}"
server = "{SERVER}"
target = "root"
backing = "file:root.img"

[[map]]
client = "{GUEST}"
server = "{SERVER}"
target = "data"
backing = "file:data.img"

[[map]]
client = "{GUEST}"
server = "{SERVER}"
target = "rng"
backing = "entropy"
device = "entropy"

[[map]]
client = "{GUEST}"
server = "{SERVER}"
target = "{CONSOLE}"
backing = "pty:"
device = "console"

[[map]]
client = "{GUEST}"
server = "{SERVER}"
target = "{CHANNELS}"
backing = "pty:"
device = "console"
ports = ["{PORT}=pty:"]

[[map]]
client = "{GUEST}"
server = "{THIRD}"
target = "{NARROW}"
backing = "ram:32M"

[[map]]
client = "{GUEST}"
server = "{SPARE}"
target = "late"
backing = "file:late.img"

[[map]]
client = "{BESIDE}"
target = "scratch"
backing = "ram:32M"
"""


class Beside:
    """`guests.suite.scene.Neighbour`: the demo's client, which checks what it writes."""

    def __init__(self, process: ClientProcess) -> None:
        self._process = process

    def progress(self) -> int:
        self._process.answer()  # one may be old; the next says how it is now
        return int(self._process.answer()["writes"])


class GuestHouse:
    """`guests.suite.scene.House` in directory `work`, which has the images; `close` leaves nothing of it."""

    def __init__(self, work: Path, qemu: Qemu, rung: Rung = DEFAULT) -> None:
        self.name = f"guests-{os.getpid()}"
        self.work = work
        self._qemu = qemu
        self._rung = rung
        with (work / "late.img").open("wb") as image:
            image.truncate(LATE_BYTES)
        file = work / "machine.toml"
        file.write_text(MACHINE.format(name=self.name, fetch=rung.fetch))
        machine = read_machine_file(file)
        self.directory = make_own_directory(self.name)
        self._roles = {role.name: role for role in roles(machine, self.directory)}
        (self.directory / FILE_NOTE).write_text(str(file))
        self._processes = ProcessTable(self.directory)
        self.boots = 0

    def open(self) -> None:
        """Start all but the hostile server, whose place is kept free."""
        for name in (HYPERVISOR, SERVER, SPARE, THIRD):
            self._processes.start(self._roles[name])

    def boot(self, plan: GuestPlan) -> Guest:
        self.boots += 1
        return Guest.start(self.directory, GUEST, plan, self._qemu, self.work / f"console-{self.boots}.log")

    def kill(self, server: str) -> None:
        os.kill(self._processes.running()[server].pid, signal.SIGKILL)
        deadline = time.monotonic() + DIE_SECONDS
        while self.running(server):
            if time.monotonic() > deadline:
                raise VirtioCrqError(f"{server} does not die")
            time.sleep(0.005)

    def start(self, server: str) -> None:
        if not self.running(server):
            self._processes.start(self._roles[server])

    def running(self, server: str) -> bool:
        return server in self._processes.running()

    def suspend(self, server: str) -> None:
        unit = self._adapter(server)["unit_address"]
        ask(self.directory, "post_event", partition=GUEST, unit_address=unit, event=TransportEvent.PARTNER_SUSPENDED)

    def calls(self, server: str) -> Mapping[str, int]:
        counters: Mapping[str, int] = self._adapter(server)["client_counters"]
        return counters

    def _adapter(self, server: str) -> Mapping[str, Any]:
        """The guest's to this server, as the hypervisor shows it."""
        rows = ask(self.directory, "show")["adapters"]
        return next(row for row in rows if (row["client"], row["server"]) == (GUEST, server))

    def command(self, *arguments: str) -> str:
        done = subprocess.run(command(*arguments, "--machine", self.name), capture_output=True, text=True)
        if done.returncode:
            raise VirtioCrqError(f"virtio-crq {' '.join(arguments[:3])}: {done.stderr.strip()}")
        return done.stdout

    @contextmanager
    def attached(self, target: str, port: str = "") -> Iterator[AttachedTerminal]:
        words = ["console", "attach", target, *(["--port", port] if port else []), "--machine", self.name]
        wire = AttachedTerminal(command(*words))
        try:
            wire.wait()
            yield wire
        finally:
            wire.close()

    @contextmanager
    def neighbour(self) -> Iterator[Beside]:
        client = ClientProcess("democlient", str(self.directory), BESIDE, lifetime=LIFETIME)
        try:
            client.answer()  # that its devices are up
            client.order(do="write", disk="scratch")
            yield Beside(client)
            client.order(do="stop")
            words = client.answer()
            while "done" not in words:
                words = client.answer()
            if words["lost"]:
                raise VirtioCrqError(f"{words['lost']} blocks of the user-space client are not what they were")
            client.end()
        finally:
            client.close()

    def hostile(self, scene: Scene) -> str:
        return play_hostile(scene, self.directory, MALLORY, HOSTILE_SLOT, self._rung)

    def close(self) -> None:
        self._processes.stop_all(HYPERVISOR)
        shutil.rmtree(self.directory, ignore_errors=True)
