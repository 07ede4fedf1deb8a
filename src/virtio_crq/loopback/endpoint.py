# SPDX-License-Identifier: Apache-2.0
"""Both halves of a loopback connection. No area and no initialization: a packet holds any message, UP starts it all."""

import struct
from collections import Counter
from collections.abc import Callable

from virtio_crq.errors import DeviceFault, DriverFault
from virtio_crq.loopback.cable import ANNOUNCEMENT, CLIENT, DOWN, DROPPED, MESSAGE, SERVER, UP, Cable
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.bus import Bus, BusLimits, Terms
from virtio_crq.message.codec import HELLO
from virtio_crq.message.frontend import FrontEnd
from virtio_crq.message.message import Message
from virtio_crq.platform.channel import AVAIL, CONTROL, CREDIT, LOST, NOTHING, USED, Channel
from virtio_crq.platform.endpoint import drain
from virtio_crq.platform.partition import Arena

RING_ENTRIES = 4096  # a socket has no entries; as many as any partner may ask for
_HEADER = struct.Struct("<cBBHHH")  # kind, response, bus message, identifier, device, token
_ANNOUNCED = struct.Struct("<cBBHIIB")  # kind, session's low byte, what, device, queue, position, credit


class LoopbackChannel(Channel):
    """Announcements as packets."""

    def __init__(self, cable: Cable, side: int) -> None:
        super().__init__()
        self.session = 0
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
        good = position <= 0xFFFF and credit <= 1 and kind in self._expected
        if not self.session or session != self.session & 0xFF or not good:
            return CONTROL
        self.device, self.queue, self.position, self.credit = device, queue, position, credit
        return int(kind)

    def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
        packet = _ANNOUNCED.pack(ANNOUNCEMENT, self.session & 0xFF, kind, device, queue, position, credit)
        return self._cable.send(self._side, packet)

    def entry(self) -> bytes:
        return self._last


class LoopbackEndpoint:
    """An `Endpoint` (platform.endpoint) and a `message.bus.Bus`; a subclass says which half."""

    def __init__(self, cable: Cable, side: int, arena: Arena, window: int) -> None:
        self.on_opened: Callable[[], None] = lambda: None
        self.on_lost: Callable[[str], None] = lambda reason: None
        self.on_announced: Callable[[int, int, int, int, int], None] = lambda *announcement: None
        self.refusals: Counter[str] = Counter()
        self.port = cable.open(side)
        self.channel = LoopbackChannel(cable, side)
        self.arena = arena
        self.window = window
        self.session = 0
        self.limits = BusLimits(max_message=4104, ring_entries=RING_ENTRIES)
        self.half: BackEnd | FrontEnd
        self._cable = cable
        self._side = side
        self._guilty: type[DriverFault] | type[DeviceFault] = DriverFault if side == SERVER else DeviceFault
        self._up = False
        self._reset_reason = ""

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
        elif entry == UP:
            self._gone("partner came again")
            self._up = True
            self.half.opened()
        else:
            try:
                self._receive(entry)
            except (DriverFault, DeviceFault) as fault:
                self.refusals[fault.rule] += 1
        self._reset_if_asked()

    def arm(self) -> bool:
        return True  # the socket stays readable as long as something waits

    def disarm(self) -> None:
        pass

    def close(self) -> None:
        self._cable.leave(self._side)
        self._gone("closed here")

    # -- message.bus.Bus

    def send(self, message: Message) -> None:
        head = (MESSAGE, message.response, message.bus, message.msg_id, message.device, message.token)
        if self._up and self._cable.send(self._side, _HEADER.pack(*head) + message.payload) == DROPPED:
            self.reset("the partner does not take packets")

    def agreed(self, terms: Terms) -> None:
        self.session = self.channel.session = int(terms.session)
        self.on_opened()

    def reset(self, reason: str) -> None:
        self._reset_reason = self._reset_reason or reason

    def _receive(self, packet: bytes) -> None:
        if packet[:1] == ANNOUNCEMENT or len(packet) < _HEADER.size or packet[:1] != MESSAGE:
            rule = "frame" if packet[:1] != ANNOUNCEMENT else "session-stale" if self.session else "session-none"
            raise self._guilty(rule, f"packet {packet[:16].hex()}")
        _, response, bus, msg_id, device, token = _HEADER.unpack_from(packet)
        if response > 1 or bus > 1 or msg_id > 0xFF:
            raise self._guilty("frame", f"packet {packet[:16].hex()}")
        message = Message(msg_id, device, packet[_HEADER.size :], bool(response), bool(bus), token)
        if not (bus and msg_id == HELLO):
            if not self.session:
                raise self._guilty("session-none", f"message {msg_id:#04x}")
            if message.session_byte != self.session & 0xFF:
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


class LoopbackServer(LoopbackEndpoint):
    def __init__(self, cable: Cable, arena: Arena, window: int, back_end: Callable[[Bus], BackEnd]) -> None:
        super().__init__(cable, SERVER, arena, window)
        self.half = self.back_end = back_end(self)


class LoopbackClient(LoopbackEndpoint):
    def __init__(self, cable: Cable, arena: Arena, window: int, front_end: Callable[[Bus], FrontEnd]) -> None:
        super().__init__(cable, CLIENT, arena, window)
        self.half = self.front_end = front_end(self)
