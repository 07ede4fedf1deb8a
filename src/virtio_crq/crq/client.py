# SPDX-License-Identifier: Apache-2.0
"""The client's half: lays out its ring and message area, asks, and finds its way back when the server went away."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from virtio_crq.crq import framing
from virtio_crq.crq.connection import Connection, Phase, part
from virtio_crq.crq.framing import AreaSlot, Framed, HelloPlace
from virtio_crq.crq.ring import ring_size
from virtio_crq.errors import DeviceFault
from virtio_crq.message.bus import Bus, BusLimits
from virtio_crq.message.codec import HELLO, LAYOUTS, REFUSED, Refused
from virtio_crq.message.frontend import FrontEnd
from virtio_crq.message.layout import Tail
from virtio_crq.message.message import HEADER_SIZE, Message
from virtio_crq.papr.entry import ENTRY_SIZE
from virtio_crq.platform.partition import AdapterNode, Arena
from virtio_crq.platform.port import Port

Asked = tuple[bool, int]  # bus message?, device: there is at most one request outstanding for each

# Requests (bus message?, identifier) whose answer may not fit an entry.
LONG_ANSWERS = {
    (bus, msg_id)
    for (bus, msg_id, response), layout in LAYOUTS.items()
    if response
    and (layout.fixed_size() > framing.INLINE_LIMIT or any(isinstance(kind, Tail) for _, kind in layout.wire()))
}


class CrqClient(Connection):
    """An `Endpoint` (platform.endpoint) and a `message.bus.Bus`.

    Takes its ring and message area from the front of `arena` and maps only those; the rest is `arena`, for the drivers
    to map as they need. Never waits: a call that the platform is busy with is repeated by `pump` when it is `due`.
    """

    guilty = DeviceFault

    def __init__(
        self,
        port: Port,
        node: AdapterNode,
        arena: Arena,
        front_end: Callable[[Bus], FrontEnd],
        *,
        queues: int,
        devices: int,
        copy_granularity: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        ring_bytes = ring_size(queues, devices)
        super().__init__(port, node, arena, ring_bytes, False, clock, None)
        slots = devices + 1  # one request a device, and one bus message
        self._area = part(arena, ring_bytes, slots * framing.SLOT_SIZE)
        taken = ring_bytes + self._area.size
        self.arena = part(arena, taken, arena.size - taken)
        self.window = self.properties.windows[0].size
        self._limits = BusLimits(
            max_message=HEADER_SIZE + framing.SLOT_SIZE,
            ring_entries=ring_bytes // ENTRY_SIZE,
            copy_granularity=copy_granularity,
            area_address=int(self._area.bus),
            area_slots=slots,
            area_slot_size=framing.SLOT_SIZE,
        )
        self._free_slots = deque(range(slots))
        self._waiting: deque[Message] = deque()  # more devices asked at once than the area has slots
        self._slots: dict[Asked, tuple[int, int]] = {}  # slot and token of the request
        self.front_end = front_end(self)

    @staticmethod
    def room(queues: int, devices: int) -> int:
        """Bytes of the arena that the ring and the message area take."""
        return ring_size(queues, devices) + (devices + 1) * framing.SLOT_SIZE

    @property
    def limits(self) -> BusLimits:
        return self._limits

    def mapped_arena(self) -> Arena:
        return part(self._whole, 0, self._ring_bytes + self._area.size)

    def send(self, message: Message) -> None:
        """A request that fits an entry, and whose answer does, goes inline; any other takes a slot of the area."""
        if self.phase is not Phase.INITIALIZED:
            return
        if not self._needs_slot(message):
            self.transmit(framing.build(framing.trimmed(message) if message.event else message))
        elif self._free_slots:
            self._send_in_slot(message, self._free_slots.popleft())
        else:
            self._waiting.append(message)

    def _needs_slot(self, message: Message) -> bool:
        if message.event or message.response:
            return False
        return len(message.payload) > framing.INLINE_LIMIT or (message.bus, message.msg_id) in LONG_ANSWERS

    def _send_in_slot(self, message: Message, slot: int) -> None:
        at = slot * framing.SLOT_SIZE
        self._port.write(self._area.offset + at, message.payload)
        self._slots[message.bus, message.device] = slot, message.token
        hello = message.bus and message.msg_id == HELLO
        length = len(message.payload)
        place = HelloPlace(self._area.bus + at, length) if hello else AreaSlot(slot, length)
        # The hypervisor call orders the stores above before whatever the server copies.
        self.transmit(framing.build(message, place))

    # -- what Connection asks

    def opened(self) -> None:
        self.front_end.opened()

    def gone(self, reason: str) -> None:
        self._free_slots = deque(range(self._limits.area_slots))
        self._slots.clear()
        self._waiting.clear()
        self.front_end.lost(reason)

    def deliver(self, framed: Framed) -> None:
        message = framed.message
        if framed.place is not None:
            message = self._fetch(framed)
        key = _answered(message)
        asked = self._slots.get(key) if key is not None else None
        if key is not None and asked is not None and asked[1] == message.token:
            del self._slots[key]
            if self.front_end.receive(framing.untrimmed(message)):
                self._free_slots.append(asked[0])
            elif self.phase is Phase.INITIALIZED:
                self._slots[key] = asked  # dropped: the request still waits for its answer
        else:
            self.front_end.receive(framing.untrimmed(message))
        while self._waiting and self._free_slots:
            self._send_in_slot(self._waiting.popleft(), self._free_slots.popleft())

    def _fetch(self, framed: Framed) -> Message:
        """The answer, copied out of the slot once (CRQ-F-13); only the slot that asked may answer."""
        slot, token = self._slots.get((framed.message.bus, framed.message.device), (None, 0))
        place = framed.place
        named = None
        if isinstance(place, AreaSlot):
            named = place.slot
        elif place is not None:
            named = (place.ioba - self._area.bus) // framing.SLOT_SIZE
        if place is None or slot is None or slot != named or token != framed.message.token:
            raise DeviceFault("response-stale", f"an answer in slot {named}, asked was in {slot}")
        payload = self._port.read(self._area.offset + slot * framing.SLOT_SIZE, place.length)
        return replace(framed.message, payload=payload)


def _answered(message: Message) -> Asked | None:
    """Whose request this message ends: a response says so itself, REFUSED says what it refused."""
    if message.response:
        return message.bus, message.device
    if not message.bus and message.msg_id == REFUSED and len(message.payload) == Refused.fixed_size():
        refused = Refused.decode(message.payload)
        return bool(refused.flags & 1), message.device
    return None
