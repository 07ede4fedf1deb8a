# SPDX-License-Identifier: Apache-2.0
"""The hostile server: a partition's server adapter, its devices, and the places where an act may interfere.

It runs in a thread of its own; whoever interferes holds `lock`, so that an act is one moment to the server.
"""

import select
import threading
from collections.abc import Callable, Iterable
from typing import Any

from virtio_crq.conformance.hostile.model import Model
from virtio_crq.crq import framing
from virtio_crq.crq.connection import part
from virtio_crq.crq.remote import RemoteWindow
from virtio_crq.crq.server import CrqServer
from virtio_crq.errors import PlatformError
from virtio_crq.message import codec
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.bus import Bus
from virtio_crq.message.layout import Body, Malformed
from virtio_crq.message.message import Message, token
from virtio_crq.papr.entry import to_registers
from virtio_crq.platform.channel import AVAIL, CREDIT
from virtio_crq.platform.partition import Arena, BusAddress, Partition

PAGE = 4096
SCRATCH = 16 * PAGE  # what one copy may bring
QUEUES = DEVICES = 64
TICK_MILLISECONDS = 5
Bodies = Callable[[Message, Body], Body | None]  # an answer as it should be said, and what is said: None for nothing
Entries = Callable[[bytes], Iterable[bytes]]


class Window(RemoteWindow):
    """The client's memory, as a device model reaches it."""

    step = SCRATCH


class _End(CrqServer):
    """The server's end of the connection, with everything that leaves it open to interference."""

    def __init__(self, owner: "HostileServer", *arguments: Any, **options: Any) -> None:
        self._owner = owner
        super().__init__(*arguments, **options)

    def send(self, message: Message) -> None:
        twisted = self._owner.twisted(message)
        if twisted is not None:
            super().send(twisted)

    def transmit(self, entry: bytes) -> bool:
        sent = True
        twist = self._owner.twist_entry
        for each in [entry] if twist is None else list(twist(entry)):
            sent = super().transmit(each)
        return sent

    def deliver(self, framed: framing.Framed) -> None:
        self._owner.heard.append(framed.message)
        super().deliver(framed)

    def _call_out(self) -> None:
        if self._owner.prelude is not None:
            self._owner.prelude()
        super()._call_out()


class HostileServer:
    """`with` runs it. It keeps every rule as long as `twist_body`, `twist_entry` and `prelude` are None."""

    def __init__(self, partition: Partition, unit_address: int | None = None, *, features: int = 0) -> None:
        self.features = features  # of the transport, that it agrees to
        node = next(each for each in partition.adapters() if unit_address in (None, each.unit_address))
        size = partition.memory_size // PAGE * PAGE
        self.lock = threading.RLock()
        self.twist_body: Bodies | None = None
        self.twist_entry: Entries | None = None
        self.prelude: Callable[[], None] | None = None  # between registering and calling out
        self.heard: list[Message] = []  # requests of the front-end, oldest first
        self.sessions = 0
        self.losses: list[str] = []
        self.error: BaseException | None = None
        self.models: dict[int, Model] = {}
        self.back_end: BackEnd
        self.end = _End(
            self,
            partition.open(node.unit_address),
            node,
            Arena(0, size, BusAddress(0)),
            self._make,
            queues=QUEUES,
            devices=DEVICES,
        )
        self.end.on_opened = self._opened
        self.end.on_lost = self.losses.append
        self.end.on_announced = self._announced
        pane = self.end.properties.windows[1]
        self._window = Window(self.end.port, pane.liobn, pane.size, part(self.end.arena, 0, SCRATCH))
        self._taken = SCRATCH
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _make(self, bus: Bus) -> BackEnd:
        self.back_end = BackEnd(bus, {}, features=self.features)
        return self.back_end

    def _opened(self) -> None:
        self.sessions += 1

    def _announced(self, kind: int, device: int, queue: int, position: int, credit: int) -> None:
        model = self.models.get(device)
        if model is not None and queue == 0 and kind in (AVAIL, CREDIT):
            model.announced(kind, position, credit)

    # -- running

    def _run(self) -> None:
        waiting = select.poll()
        waiting.register(self.end.fileno(), select.POLLIN)
        try:
            while not self._over.is_set():
                with self.lock:
                    self.turn()
                    ready = self.end.arm()
                waiting.poll(TICK_MILLISECONDS if ready else 0)
                with self.lock:
                    self.end.disarm()
        except BaseException as error:
            self.error = error

    def turn(self) -> None:
        self.end.pump()
        for model in list(self.models.values()):
            try:
                model.serve()
            except PlatformError:
                model.setup = None  # the client took its memory back, or is gone; its next life sets a queue up

    def __enter__(self) -> "HostileServer":
        with self.lock:
            self.end.start()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._thread.join()
        self.end.close()
        if self.error is not None:
            raise self.error

    # -- devices

    def plug(self, model: Model, *, quietly: bool = False) -> None:
        """A device appears; `quietly` without telling."""
        with self.lock:
            model.attach(self._window, self.end.channel)
            if model.pages:
                model.furnish(self.end.port, part(self.end.arena, self._taken, PAGE * model.pages))
                self._taken += PAGE * model.pages
            self.models[model.number] = model
            self._with_events(not quietly, lambda: self.back_end.add(model.number, model))

    def unplug(self, number: int, *, quietly: bool = False) -> None:
        with self.lock:
            del self.models[number]
            self._with_events(not quietly, lambda: self.back_end.remove(number))

    def _with_events(self, told: bool, change: Callable[[], None]) -> None:
        before = self.twist_entry
        if not told:
            self.twist_entry = lambda _entry: ()
        try:
            change()
        finally:
            self.twist_entry = before

    def behave(self) -> None:
        """Nothing is twisted or held from here on."""
        with self.lock:
            self.twist_body = self.twist_entry = self.prelude = None
            for model in self.models.values():
                model.hold = False

    def bounce(self) -> None:
        """Leave and come back: the front-end is told 0xFF02, then called by 0xC001."""
        with self.lock:
            self.end.reset("the act wants a new session")
            self.end.pump()

    # -- speaking out of turn

    def twisted(self, message: Message) -> Message | None:
        if self.twist_body is None:
            return message
        try:
            body = codec.body_of(message)
        except Malformed:
            return message
        said = self.twist_body(message, body)
        if said is None:
            return None
        return message if said is body else codec.message_of(said, message.device, message.token)

    def raw(self, entry: bytes) -> int:
        """An entry, whatever it is; the platform's code."""
        return int(self.end.port.send(*to_registers(entry.ljust(16, b"\0"))))

    def say(self, body: Body, device: int = 0, *, sequence: int = 0, session: int | None = None) -> int:
        """A message that nobody asked for."""
        mark = token(self.end.session if session is None else session, sequence)
        return self.raw(framing.build(framing.trimmed(codec.message_of(body, device, int(mark)))))

    def message(self, msg_id: int, payload: bytes = b"", device: int = 0, **fields: Any) -> int:
        """A message that need not exist."""
        mark = int(fields.pop("token", token(self.end.session, 0)))
        return self.raw(framing.build(Message(msg_id, device, payload, token=mark, **fields)))

    def say_credit(self, device: int, queue: int = 0) -> int:
        """Give the front-end its right to announce back."""
        mark = token(self.end.session, 1)
        return self.raw(framing.build(codec.message_of(codec.Credit(queue, codec.CREDIT_AVAIL), device, int(mark))))

    def config_changed(self, number: int) -> None:
        """What makes a front-end ask for the configuration."""
        self.back_end.config_changed(number)
