# SPDX-License-Identifier: Apache-2.0
"""A console of the client: bytes both ways on each port, its size, and what the server says of the ports."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from virtio_crq.client.device import Device, Site
from virtio_crq.client.lane import Lane
from virtio_crq.client.memory import PAGE
from virtio_crq.client.transfer import Transfer
from virtio_crq.errors import DeviceFault, UsageError, VirtioCrqError
from virtio_crq.message import conversations
from virtio_crq.message.conversations import DeviceDescription
from virtio_crq.message.frontend import Conversation
from virtio_crq.virtio import console
from virtio_crq.virtio import features as bits
from virtio_crq.virtio.console import ConsoleConfig, Control, Event

MOST_PORTS = 32
INBOX = 1 << 16  # bytes that nobody took yet; beyond that the server is given no buffers, and its terminal waits


@dataclass
class Port:
    """One port as the driver sees it. `name` and the rest are what the server said, in whatever order."""

    number: int
    receive: Lane
    transmit: Lane
    name: str = ""
    added: bool = False
    console: bool = False
    host_open: bool = False
    inbox: bytearray = field(default_factory=bytearray)
    outbox: deque[tuple[bytes, Transfer[bytes] | None]] = field(default_factory=deque)
    sent: deque[Transfer[bytes] | None] = field(default_factory=deque)
    readers: deque[Transfer[bytes]] = field(default_factory=deque)


class Console(Device):
    """Port 0 is the console itself; the others have names, and nothing comes to them before they were opened."""

    wanted = bits.feature_set(console.SIZE, console.MULTIPORT, console.EMERG_WRITE)

    def __init__(
        self,
        site: Site,
        description: DeviceDescription,
        submitted: Callable[[Device], None],
        wait: Callable[[Transfer[bytes]], None],
    ) -> None:
        super().__init__(site, description)
        self.config = ConsoleConfig()
        self.size = (0, 0)  # columns and rows
        self.on_size: Callable[[int, int], None] = lambda columns, rows: None
        self.ports: list[Port] = []
        self._submitted = submitted
        self._wait = wait
        self._mail: tuple[Lane, Lane] | None = None
        self._orders: deque[bytes] = deque()

    @property
    def multiport(self) -> bool:
        return bits.has(self.features, console.MULTIPORT)

    def port(self, name: str) -> Port:
        """The port that the server calls `name`."""
        for port in self.ports:
            if port.added and port.name == name:
                return port
        names = ", ".join(port.name for port in self.ports if port.name) or "none"
        raise UsageError(f"no port {name!r}; this console has: {names}")

    # --- bytes ---

    def write(self, data: bytes, port: int = 0) -> None:
        """Returns once the server has taken all of it."""
        self._wait(transfer := self.start_write(data, port))
        transfer.result()

    def start_write(self, data: bytes, port: int = 0) -> Transfer[bytes]:
        transfer: Transfer[bytes] = Transfer()
        if self.broken is not None:
            transfer.fail(self.broken)
        elif not data:
            transfer.finish(b"")
        else:
            pieces = [data[at : at + PAGE] for at in range(0, len(data), PAGE)]
            last = len(pieces) - 1
            self.ports[port].outbox.extend((piece, transfer if at == last else None) for at, piece in enumerate(pieces))
            self._submitted(self)
        return transfer

    def read(self, port: int = 0) -> bytes:
        """What came, at least one byte; waits for it."""
        self._wait(transfer := self.start_read(port))
        return transfer.result()

    def start_read(self, port: int = 0) -> Transfer[bytes]:
        transfer: Transfer[bytes] = Transfer()
        if self.broken is not None:
            transfer.fail(self.broken)
        else:
            self.ports[port].readers.append(transfer)
            self._submitted(self)
        return transfer

    def open_port(self, port: int, opened: bool = True) -> None:
        """Say whether this end of a port is open: only then does anything come."""
        self._order(Control(port, Event.PORT_OPEN, int(opened)))

    def emergency_write(self, byte: int) -> Conversation[None]:
        """One byte through the configuration space, in any state (§5.3.4); for `Connection.run`."""
        data = byte.to_bytes(console.CONFIG_EMERGENCY_SIZE, "little")
        yield from conversations.write_config(self.number, console.CONFIG_EMERGENCY_OFFSET, data)

    # --- life ---

    def configure(self) -> Conversation[None]:
        data = yield from conversations.read_config(
            self.number, 0, min(self.description.config_size, console.CONFIG_SIZE)
        )
        self.config = ConsoleConfig.decode(data)
        if self.multiport and not 1 <= self.config.max_nr_ports <= MOST_PORTS:
            raise DeviceFault("config-answer", f"console {self.number} claims {self.config.max_nr_ports} ports")
        if bits.has(self.features, console.SIZE):
            self._sized(self.config.columns, self.config.rows)

    def bring_up(self) -> Conversation[None]:
        yield from self.negotiate()
        count = self.config.max_nr_ports if self.multiport else 1
        for number in range(count):
            receive = self._lane(console.receive_queue(number), inward=True)
            transmit = self._lane(console.transmit_queue(number), inward=False)
            self.ports.append(Port(number, receive, transmit))
        if self.multiport:
            mail = self._lane(console.CONTROL_RECEIVE, inward=True), self._lane(console.CONTROL_TRANSMIT, inward=False)
            self._mail = mail
            self._order(Control(0, Event.DEVICE_READY, 1))
        else:
            self.ports[0].added = self.ports[0].console = self.ports[0].host_open = True
        self.front = self.queues[console.receive_queue(0)][0]
        self.site.devices -= 1
        yield from self.start()
        self._submitted(self)

    def _lane(self, queue: int, *, inward: bool) -> Lane:
        front, setup = self.build_queue(queue)
        self.queues[queue] = front, setup
        area = self.mapped(Lane.footprint(), f"console {self.number}")
        return Lane(self.site.port, front.ring, area, inward)

    def config_changed(self) -> Conversation[None]:
        yield from self.configure()

    def reap(self) -> None:
        for port in self.ports:
            while (data := port.receive.collect()) is not None:
                port.inbox += data
            while port.transmit.collect() is not None:
                transfer = port.sent.popleft()
                if transfer is not None:
                    transfer.finish(b"")
            if port.inbox and port.readers:
                came, port.inbox = bytes(port.inbox), bytearray()
                port.readers.popleft().finish(came)
        if self._mail is not None:
            while (data := self._mail[0].collect()) is not None:
                self._heard(data)
            while self._mail[1].collect() is not None:
                pass

    def fill(self) -> None:
        for port in self.ports:
            while len(port.inbox) < INBOX and port.receive.offer():
                pass
            while port.outbox and port.transmit.put(port.outbox[0][0]):
                port.sent.append(port.outbox.popleft()[1])
        if self._mail is not None:
            while self._mail[0].offer():
                pass
            while self._orders and self._mail[1].put(self._orders[0]):
                self._orders.popleft()

    def abandon(self, error: VirtioCrqError) -> None:
        for port in self.ports:
            transfers = [*port.sent, *(transfer for _, transfer in port.outbox), *port.readers]
            port.sent.clear()
            port.outbox.clear()
            port.readers.clear()
            for transfer in transfers:
                if transfer is not None:
                    transfer.fail(error)

    def forget(self) -> None:
        lanes = [lane for port in self.ports for lane in (port.receive, port.transmit)]
        for lane in [*lanes, *(self._mail or ())]:
            lane.forget()

    # --- control ---

    def _order(self, control: Control) -> None:
        self._orders.append(control.encode())
        self._submitted(self)

    def _heard(self, data: bytes) -> None:
        """A control message. What a server may not say stops this console."""
        try:
            control = Control.decode(data)
        except ValueError as error:
            raise DeviceFault("console-control", f"console {self.number}: {error}") from error
        if control.port >= len(self.ports):
            raise DeviceFault("console-control", f"console {self.number} speaks of port {control.port}")
        port = self.ports[control.port]
        if control.event == Event.PORT_ADD:
            port.added = True
            self._order(Control(port.number, Event.PORT_READY, 1))
        elif control.event == Event.CONSOLE_PORT:
            if not port.console:
                port.console = True
                self.open_port(port.number)
        elif control.event == Event.PORT_NAME:
            port.name = control.rest.rstrip(b"\0").decode("utf-8", "replace")
        elif control.event == Event.PORT_OPEN:
            port.host_open = bool(control.value)
        elif control.event == Event.RESIZE and len(control.rest) >= console.RESIZE_SIZE.size:
            self._sized(*console.RESIZE_SIZE.unpack_from(control.rest))
        elif control.event == Event.PORT_REMOVE:
            port.added = port.host_open = False
        else:
            raise DeviceFault("console-control", f"console {self.number} sends event {control.event}")

    def _sized(self, columns: int, rows: int) -> None:
        if (columns, rows) != self.size:
            self.size = (columns, rows)
            self.on_size(columns, rows)
