# SPDX-License-Identifier: Apache-2.0
"""The serving half: pulls control messages out of the client's window, answers into it, and outlives its clients."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from virtio_crq.crq import framing
from virtio_crq.crq.connection import Connection, Phase, part
from virtio_crq.crq.framing import AreaSlot, Framed, HelloPlace
from virtio_crq.crq.remote import RemoteWindow
from virtio_crq.crq.ring import ring_size
from virtio_crq.errors import DriverFault, PlatformError
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.bus import Bus, BusLimits, Terms
from virtio_crq.message.codec import Refused, message_of
from virtio_crq.message.message import HEADER_SIZE, Message
from virtio_crq.message.refusal import code_of
from virtio_crq.papr.entry import ENTRY_SIZE
from virtio_crq.papr.tce import TCE_PAGE
from virtio_crq.platform.partition import AdapterNode, Arena
from virtio_crq.platform.port import Port

Request = tuple[bool, int, int, int]  # bus message?, device, identifier, token: what an answer has in common with it


class CrqServer(Connection):
    """An `Endpoint` (platform.endpoint) and a `message.bus.Bus`.

    Takes its ring and one page from the front of `arena`; all of it is mapped, the rest is `arena`. A call that the
    platform answers with a busy code is made again at once, after `wait`: nobody need call `pump` for that.
    """

    guilty = DriverFault

    def __init__(
        self,
        port: Port,
        node: AdapterNode,
        arena: Arena,
        back_end: Callable[[Bus], BackEnd],
        *,
        queues: int,  # of all devices together; with `devices` they size the ring
        devices: int,
        max_copy: int = 128 * 1024,
        copy_granularity: int = 2,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        ring_bytes = ring_size(queues, devices)
        super().__init__(port, node, arena, ring_bytes, True, clock, wait)
        panes = self.properties.windows
        if len(panes) < 2:
            raise PlatformError("open", 0, f"adapter {node.unit_address:#x} shows no window of a partner")
        taken = ring_bytes + TCE_PAGE
        self.arena = part(arena, taken, arena.size - taken)
        self.window = panes[1].size
        self._remote = RemoteWindow(port, panes[1].liobn, panes[1].size, part(arena, ring_bytes, TCE_PAGE))
        self._limits = BusLimits(
            max_message=HEADER_SIZE + framing.SLOT_SIZE,
            ring_entries=ring_bytes // ENTRY_SIZE,
            copy_granularity=copy_granularity,
            copy_max=max_copy,
        )
        self._terms: Terms | None = None
        # Where the answers to requests go that did not come inline; bounded, a request that was refused stays in it.
        self._places: OrderedDict[Request, AreaSlot | HelloPlace] = OrderedDict()
        self._places_limit = devices + 16
        self.back_end = back_end(self)

    @property
    def limits(self) -> BusLimits:
        return self._limits

    def agreed(self, terms: Terms) -> None:
        self._terms = terms
        super().agreed(terms)

    def send(self, message: Message) -> None:
        """An answer goes where its request came from: inline when it fits, else into the request's slot."""
        if self.phase is not Phase.INITIALIZED:
            return
        place = self._places.pop(_key(message), None) if message.response else None
        if isinstance(place, HelloPlace):
            self._answer(message, place.ioba, HelloPlace(place.ioba, len(message.payload)))
        elif len(message.payload) <= framing.INLINE_LIMIT:
            self.transmit(framing.build(message))
        elif place and self._terms and HEADER_SIZE + len(message.payload) <= self._terms.max_message:
            at = self._terms.area_address + place.slot * self._terms.area_slot_size
            self._answer(message, at, AreaSlot(place.slot, len(message.payload)))
        elif message.event:
            self.transmit(framing.build(framing.trimmed(message)))
        else:
            self._refuse_request(replace(message, response=False), "answer-room")

    def _answer(self, message: Message, ioba: int, place: AreaSlot | HelloPlace) -> None:
        """The body is complete in the client's memory before the entry that names it is sent (CRQ-D-23)."""
        try:
            self._remote.write(ioba, message.payload)
        except PlatformError as error:
            self._unreachable(message, error)
        else:
            self.transmit(framing.build(message, place))

    # -- what Connection asks

    def opened(self) -> None:
        self.back_end.opened()

    def gone(self, reason: str) -> None:
        self._terms = None
        self._places.clear()
        self.back_end.lost(reason)

    def deliver(self, framed: Framed) -> None:
        if framed.place is None:
            self.back_end.receive(framed.message)
            return
        if self._terms is None and isinstance(framed.place, AreaSlot):
            self.back_end.receive(framed.message)  # there is no area yet, and nothing but HELLO may come
            return
        if self._channel.loss_waits():
            # What stands at that address may by now belong to the client's next life; this one is told of its end.
            self.notices["superseded"] += 1
            return
        try:
            ioba = self._locate(framed.place)
        except DriverFault as fault:
            self._refuse_request(framed.message, fault.rule)
            return
        try:
            payload = self._remote.read(ioba, framed.place.length) if framed.place.length else b""
        except PlatformError as error:
            self._unreachable(framed.message, error)
            return
        if not framed.message.event:
            self._places[_key(framed.message)] = framed.place
            if len(self._places) > self._places_limit:
                self._places.popitem(last=False)
        self.back_end.receive(framing.filled(framed, payload))

    def _refuse_request(self, request: Message, rule: str) -> None:
        self.refuse(rule)
        if not request.event and not request.response:
            self._tell_refused(request, rule)

    def _tell_refused(self, request: Message, rule: str) -> None:
        body = Refused(request.msg_id, int(request.bus), code_of(rule))
        self.transmit(framing.build(message_of(body, request.device, request.token)))

    def _locate(self, place: AreaSlot | HelloPlace) -> int:
        if isinstance(place, HelloPlace):
            return place.ioba
        terms = self._terms
        assert terms is not None
        room = min(terms.area_slot_size, terms.max_message - HEADER_SIZE)
        if place.slot >= terms.area_slots or place.length > room:
            detail = f"{place.length} bytes in slot {place.slot}; {terms.area_slots} slots of {room} were agreed"
            raise DriverFault("area-slot", detail)
        return terms.area_address + place.slot * terms.area_slot_size

    def _unreachable(self, message: Message, error: PlatformError) -> None:
        """The client named memory that it did not map: its error, and none of its sessions survives it (CRQ-D-24).

        Unless it has just gone (CRQ-D-153). Its memory goes before the news of that, so it is spoken to: a client that
        is still there takes the refusal.
        """
        self._tell_refused(message, "area-copy")
        if self.partner_going():
            self.notices["superseded"] += 1
            return
        self.refuse("area-copy")
        self.reset(str(error))


def _key(message: Message) -> Request:
    return message.bus, message.device, message.msg_id, message.token
