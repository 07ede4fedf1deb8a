# SPDX-License-Identifier: Apache-2.0
"""Both halves of a loopback connection. No area and no initialization: a packet holds any message, UP starts it all."""

import struct
from collections import Counter
from collections.abc import Callable

from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.loopback.cable import ANNOUNCEMENT, CLIENT, CLOSED, DOWN, DROPPED, MESSAGE, SERVER, UP, Cable
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.bus import Bus, BusLimits, Terms
from virtio_crq.message.codec import HELLO
from virtio_crq.message.frontend import FrontEnd
from virtio_crq.message.message import Message
from virtio_crq.platform.channel import AVAIL, CONTROL, CREDIT, LOST, NOTHING, USED, Channel
from virtio_crq.platform.endpoint import drain
from virtio_crq.platform.partition import Arena

_HEADER = struct.Struct("<c??BHH")  # kind, response, bus message, identifier, device, token
_ANNOUNCED = struct.Struct("<cBBHIIB")  # kind, session's low byte, what, device, queue, position, credit


class LoopbackChannel(Channel):
    def __init__(self, cable: Cable, side: int) -> None:
        super().__init__()
        self.session = self.meeting = 0
        self._cable = cable
        self._side = side
        self._expected = (CREDIT, USED if side == CLIENT else AVAIL)
        self._last = b""

    def poll(self) -> int:
        self._last = self._cable.take(self._side)
        if not self._last:
            return NOTHING
        if self._last[:1] == DOWN:
            return LOST
        if len(self._last) != _ANNOUNCED.size or self._last[:1] != ANNOUNCEMENT:
            return CONTROL
        _, session, kind, device, queue, position, credit = _ANNOUNCED.unpack(self._last)
        good = session == self.session & 0xFF and position <= 0xFFFF and credit <= 1 and kind in self._expected
        if not good or not self.session:
            return CONTROL
        self.device, self.queue, self.position, self.credit = device, queue, position, credit
        return int(kind)

    def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        what = (self.session & 0xFF, kind, device, queue, position, credit or kind == CREDIT)
        packet = _ANNOUNCED.pack(ANNOUNCEMENT, *what)
        return self._cable.send(self._side, packet, self.meeting) if self.session else CLOSED

    def entry(self) -> bytes:
        return self._last


class LoopbackEndpoint:
    """An `Endpoint` (platform.endpoint) and a `message.bus.Bus`; its `half` is the back end or the front end."""

    def __init__(
        self, cable: Cable, side: int, arena: Arena, window: int, half: Callable[[Bus], BackEnd | FrontEnd]
    ) -> None:
        self.on_opened: Callable[[], None] = lambda: None
        self.on_lost: Callable[[str], None] = lambda reason: None
        self.on_announced: Callable[[int, int, int, int, int], None] = lambda *announcement: None
        self.refusals: Counter[str] = Counter()
        self.port = cable.open(side)
        self.channel = LoopbackChannel(cable, side)
        self.arena = arena
        self.window = window
        self.session = 0
        self.limits = BusLimits(max_message=4104, ring_entries=4096)  # a socket has no entries; as many as any may need
        self._cable = cable
        self._side = side
        self._guilty: type[DriverFault] | type[DeviceFault] = DriverFault if side == SERVER else DeviceFault
        self._up = False
        self._reset_reason = ""
        self.half = half(self)

    def fileno(self) -> int:
        return self.port.fileno()

    def due(self) -> float | None:
        return None

    def start(self) -> None:
        if self._side == SERVER:
            self.port.map(self.arena.bus, self.arena.offset, self.arena.size, 3)
        self._cable.join(self._side)

    def pump(self) -> int:
        taken = drain(self)
        self._reset_if_asked()
        return taken

    def control(self, kind: int, entry: bytes) -> None:
        if kind == LOST:
            self._gone("partner left")
        elif entry[:1] == UP:
            self._gone("partner came again")
            self._up, self.channel.meeting = True, int.from_bytes(entry[1:])
            self.half.opened()
        else:
            try:
                self._receive(entry)
            except (DriverFault, DeviceFault) as fault:
                self.refusals[fault.rule] += 1
        self._reset_if_asked()

    def arm(self) -> bool:
        return True  # the socket stays readable as long as something waits

    def disarm(self, wholly: bool = False) -> None:
        pass

    def close(self) -> None:
        self._cable.leave(self._side)
        self._gone("closed here")

    # -- message.bus.Bus

    def send(self, message: Message) -> None:
        head = (MESSAGE, message.response, message.bus, message.msg_id, message.device, message.token)
        packet = _HEADER.pack(*head) + message.payload
        if self._up and self._cable.send(self._side, packet, self.channel.meeting) == DROPPED:
            self.reset("the partner does not take packets")

    def agreed(self, terms: Terms) -> None:
        self.session = self.channel.session = int(terms.session)
        self.on_opened()

    def reset(self, reason: str) -> None:
        self._reset_reason = self._reset_reason or reason

    def _receive(self, packet: bytes) -> None:
        if packet[:1] == ANNOUNCEMENT:
            raise self._guilty("session-stale" if self.session else "session-none", f"packet {packet.hex()}")
        if len(packet) < _HEADER.size or packet[:1] != MESSAGE:
            raise self._guilty("frame", f"packet {packet[:16].hex()}")
        _, response, bus, msg_id, device, token = _HEADER.unpack_from(packet)
        message = Message(msg_id, device, packet[_HEADER.size :], response, bus, token)
        if self.session and not (bus and msg_id == HELLO) and message.session_byte != self.session & 0xFF:
            raise self._guilty("session-stale", f"{message.session_byte} in session {self.session}")
        self.half.receive(message)

    def _gone(self, reason: str) -> None:
        was_up, self._up = self._up, False
        self.session = self.channel.session = 0
        if was_up:
            self.half.lost(reason)
            self.on_lost(reason)

    def _reset_if_asked(self) -> None:
        if self._reset_reason:
            reason, self._reset_reason = self._reset_reason, ""
            self._cable.leave(self._side)
            self._gone(reason)
            self._cable.join(self._side)
