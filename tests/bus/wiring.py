# SPDX-License-Identifier: Apache-2.0
"""A client and a server on some bus, with real halves of `message/`; the tests see no difference between buses."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

from virtio_crq.crq.client import CrqClient
from virtio_crq.crq.server import CrqServer
from virtio_crq.hypervisor.definition import AdapterDefinition, MachineDefinition, PartitionDefinition
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.partition import EmulatedPartition
from virtio_crq.loopback.cable import CLIENT, SERVER, Cable
from virtio_crq.loopback.endpoint import LoopbackEndpoint
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.bus import Bus
from virtio_crq.message.frontend import Conversation, FrontEnd, Outcome
from virtio_crq.message.message import Message
from virtio_crq.platform.endpoint import Endpoint
from virtio_crq.platform.partition import Arena, BusAddress

from .models import NotingDevice

T = TypeVar("T")
QUEUES, DEVICES = 8, 4
ARENA = Arena(0x10000, 0x40000, BusAddress(0x20000))


class Wiring:
    """Both ends, driven by hand. A subclass makes them for its bus and says how a partition dies."""

    def __init__(self, *models: NotingDevice) -> None:
        self.models = dict(enumerate(models or (NotingDevice(),)))
        self.errors: list[Exception] = []
        self.config_changes: list[tuple[int, int]] = []
        self.device_changes: list[tuple[int, bool]] = []
        self.client_losses: list[str] = []
        self.server_losses: list[str] = []
        self.sessions: list[int] = []
        self.announced: list[tuple[str, int, int, int, int, int]] = []
        self.new_server()
        self.new_client()

    back: BackEnd
    front: FrontEnd
    server: Endpoint
    client: Endpoint

    def make_server(self) -> Endpoint:
        raise NotImplementedError

    def make_client(self) -> Endpoint:
        raise NotImplementedError

    def kill_server(self) -> None:
        """The server's partition dies; it makes no call any more."""
        raise NotImplementedError

    def kill_client(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass

    # -- what the tests use

    def new_server(self) -> None:
        self.server = self.make_server()
        self.server.on_lost = self.server_losses.append
        self.server.on_announced = lambda *what: self.announced.append(("server", *what))

    def new_client(self) -> None:
        self.client = self.make_client()
        self.client.on_opened = lambda: self.sessions.append(self.client.session)
        self.client.on_lost = self.client_losses.append
        self.client.on_announced = lambda *what: self.announced.append(("client", *what))

    def back_end(self, bus: Bus) -> BackEnd:
        self.back = BackEnd(bus, dict(self.models))
        return self.back

    def front_end(self, bus: Bus) -> FrontEnd:
        self.front = FrontEnd(
            bus,
            config_changed=lambda device, status: self.config_changes.append((device, status)),
            device_changed=lambda device, present: self.device_changes.append((device, present)),
            failed=self.errors.append,
        )
        return self.front

    def settle(self) -> None:
        """Until neither end finds anything to do."""
        for _ in range(10_000):
            timed = self.client.due() is not None
            if not self.server.pump() + self.client.pump() and not timed and self.client.due() is None:
                return
        raise AssertionError("the two never come to rest")

    def settle_server(self) -> None:
        """As `settle`, with a client that does nothing any more."""
        while self.server.pump():
            pass

    def open(self) -> "Wiring":
        self.server.start()
        self.client.start()
        self.settle()
        assert self.client.session == self.server.session != 0
        return self

    def restart_server(self) -> None:
        self.kill_server()
        self.client.pump()
        self.new_server()
        self.server.start()
        self.settle()

    def ask(self, conversation: Conversation[T]) -> T:
        outcome = self.begin(conversation)
        self.settle()
        return outcome.result()

    def begin(self, conversation: Conversation[T]) -> Outcome[T]:
        return self.front.start(conversation)

    def say(self, message: Message) -> None:
        """The client sends a message that its front end would not."""
        bus: Any = self.client
        bus.send(message)
        self.settle()

    def refused(self) -> Counter[str]:
        """All that the server counted: the bus, the connection, the devices."""
        total = self.server.refusals + self.back.refused
        for device in self.back.devices():
            total += self.back.refused_by(device)
        return total


class LoopbackWiring(Wiring):
    def __init__(self, *models: NotingDevice) -> None:
        self.cable = Cable(bytearray(1 << 20), bytearray(1 << 20))
        super().__init__(*models)

    def make_server(self) -> Endpoint:
        return LoopbackEndpoint(self.cable, SERVER, ARENA, 1 << 20, self.back_end)

    def make_client(self) -> Endpoint:
        return LoopbackEndpoint(self.cable, CLIENT, ARENA, 1 << 20, self.front_end)

    def kill_server(self) -> None:
        self.cable.leave(SERVER)

    def kill_client(self) -> None:
        self.cable.leave(CLIENT)

    def close(self) -> None:
        self.cable.close()


class ScriptedCrqWiring(Wiring):
    """CRQ on the slow platform of tests/crq."""

    def __init__(self, *models: NotingDevice) -> None:
        self.c, self.s = _pair()
        super().__init__(*models)

    def make_server(self) -> Endpoint:
        return CrqServer(self.s.port(), self.s.node, ARENA, self.back_end, queues=QUEUES, devices=DEVICES)

    def make_client(self) -> Endpoint:
        return CrqClient(self.c.port(), self.c.node, ARENA, self.front_end, queues=QUEUES, devices=DEVICES)

    def kill_server(self) -> None:
        self.s.leave(0x01)

    def kill_client(self) -> None:
        self.c.leave(0x01)

    def close(self) -> None:
        for side in (self.c, self.s):
            side.close()


def _pair() -> Any:
    tests = str(Path(__file__).parents[1])
    if tests not in sys.path:
        sys.path.insert(0, tests)
    from crq.pair import pair

    return pair()


class CrqWiring(Wiring):
    """CRQ on the emulator; `PROFILE` says on which platform."""

    PROFILE = "power9"
    WEAK: int | None = None

    def __init__(self, *models: NotingDevice) -> None:
        partitions = (PartitionDefinition("web1", 2, 1 << 20), PartitionDefinition("vios1", 1, 1 << 20))
        adapter = AdapterDefinition("web1", "vios1", 3, 2, client_window=1 << 20, server_window=1 << 20)
        self.machine = Machine(MachineDefinition("bus", self.PROFILE, partitions, (adapter,)))
        self.machine.weak_copies(self.WEAK)
        self.partitions: dict[str, EmulatedPartition] = {}
        super().__init__(*models)

    def attach(self, name: str) -> EmulatedPartition:
        if name in self.partitions:
            self.partitions[name].close()
        self.partitions[name] = self.machine.attach(name)
        return self.partitions[name]

    def make_server(self) -> Endpoint:
        partition = self.attach("vios1")
        node = partition.adapters()[0]
        port = partition.open(node.unit_address)
        return CrqServer(port, node, ARENA, self.back_end, queues=QUEUES, devices=DEVICES)

    def make_client(self) -> Endpoint:
        partition = self.attach("web1")
        node = partition.adapters()[0]
        port = partition.open(node.unit_address)
        return CrqClient(port, node, ARENA, self.front_end, queues=QUEUES, devices=DEVICES)

    def kill_server(self) -> None:
        assert self.machine.reap("vios1")

    def kill_client(self) -> None:
        assert self.machine.reap("web1")

    def close(self) -> None:
        for partition in self.partitions.values():
            partition.close()
        self.machine.close()


class MinimalCrqWiring(CrqWiring):
    """The least that LoPAR asks of a platform, and copies that are torn wherever they may be."""

    PROFILE = "lopar-minimum"
    WEAK = 11


WIRINGS: dict[str, type[Wiring]] = {
    "loopback": LoopbackWiring,
    "crq": CrqWiring,
    "crq-minimum": MinimalCrqWiring,
    "crq-scripted": ScriptedCrqWiring,
}
