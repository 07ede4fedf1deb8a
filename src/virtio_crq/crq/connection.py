# SPDX-License-Identifier: Apache-2.0
"""What both halves of a CRQ connection do: register, initialize, take entries, notice the partner's going, come back.

CLOSED ──start──▶ REGISTERED ──0xC001 or 0xC002──▶ INITIALIZED ──HELLO agreed──▶ (session open)
                   ▲   ▲ ▲                            │  │
                   │   │ └── 0xFF01, 0xFF02, 0xFF04 ──┘  │ own entry lost, protocol error
                   │   └── registered again ── FREEING ◀─┘ (busy: the call is repeated)
                   └── never in answer to the partner's own going: two sides doing that never stop

What the platform refuses for good, or for too long, ends in CLOSED with a `failure`, until `retry` registers again.
"""

import os
import select
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum

from virtio_crq.crq import framing, ring
from virtio_crq.crq.channel import CrqChannel
from virtio_crq.errors import DeviceFault, DriverFault, PlatformError
from virtio_crq.message.bus import Terms
from virtio_crq.message.codec import HELLO
from virtio_crq.papr.devicetree import AdapterProperties, parse
from virtio_crq.papr.entry import (
    Header,
    InitializationCode,
    TransportEvent,
    describe_entry,
    initialization,
    to_registers,
)
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode, code_name
from virtio_crq.papr.tce import TCE_PAGE, TceAccess
from virtio_crq.platform.channel import LOST, STALLED
from virtio_crq.platform.endpoint import drain
from virtio_crq.platform.partition import AdapterNode, Arena, BusAddress
from virtio_crq.platform.port import Port

GONE: tuple[int, ...] = (
    TransportEvent.PARTNER_FAILED,
    TransportEvent.PARTNER_DEREGISTERED,
    TransportEvent.PARTNER_TERMINATED,
)
NOTICES: tuple[int, ...] = (
    TransportEvent.BACKING_FAILOVER,
    TransportEvent.PREPARE_FOR_SUSPEND,
    TransportEvent.CLIENT_RESUMED,
)
BUSY_ATTEMPTS = 200  # a call that stays busy longer than this is a platform that does not work


class Phase(Enum):
    CLOSED = "closed"
    REGISTERED = "registered"
    INITIALIZED = "initialized"
    ENABLING = "enabling"
    FREEING = "freeing"


class Connection:
    """One end. A subclass says who is guilty of what comes in, and what a message, opening and losing mean to it."""

    guilty: framing.Guilty = DriverFault

    def __init__(
        self,
        port: Port,
        node: AdapterNode,
        arena: Arena,
        ring_bytes: int,
        serving: bool,
        clock: Callable[[], float],
        wait: Callable[[float], None] | None,
    ) -> None:
        if arena.offset % TCE_PAGE or arena.bus % TCE_PAGE or arena.size % TCE_PAGE:
            raise ValueError(f"arena {arena} is not made of whole pages")
        self.on_opened: Callable[[], None] = lambda: None
        self.on_lost: Callable[[str], None] = lambda reason: None
        self.on_announced: Callable[[int, int, int, int, int], None] = lambda *announcement: None
        self.properties: AdapterProperties = parse(node.properties)
        self.phase = Phase.CLOSED
        self.failure: PlatformError | None = None  # why this end gave up; gone when it is registered again
        self.refusals: Counter[str] = Counter()
        self.notices: Counter[str] = Counter()  # what came and changed nothing: some transport events, late messages
        self._port = port
        self._whole = arena
        self._ring_bytes = ring_bytes
        self._channel = CrqChannel(port, arena.offset, ring_bytes, serving)
        self._session = 0
        self._called = bytes(8)  # the number in our 0xC001 that is not answered yet; zero: none is out
        self._unheard = False  # an entry was answered H_Closed: news of the partner's going is due
        self._reset_reason = ""
        self._clock = clock
        self._wait = wait
        self._busy = 0  # calls made for this recovery
        self._most_busy = BUSY_ATTEMPTS  # of them, answered busy
        self._due: float | None = None
        self._mapped: list[tuple[int, int]] = []
        self._armed = False
        self._heard = 0  # entries, when a sleep ended last
        self.arena = arena
        self.window = 0

    # -- what an endpoint offers

    @property
    def port(self) -> Port:
        return self._port

    @property
    def channel(self) -> CrqChannel:
        return self._channel

    @property
    def session(self) -> int:
        return self._session

    def fileno(self) -> int:
        return self._port.fileno()

    def due(self) -> float | None:
        """Seconds until `pump` is to be called although nothing came; None: not before something comes."""
        return None if self._due is None else max(0.0, self._due - self._clock())

    def start(self) -> None:
        """Map, register, and call out to the partner. PlatformError when the platform will not have it."""
        self._map(self.mapped_arena())
        self._register()
        if self.failure:
            raise self.failure

    def pump(self) -> int:
        """See `platform.endpoint.Endpoint`."""
        if self._due is not None and self._clock() >= self._due:
            self._recover()
        taken = drain(self) if self.phase in (Phase.REGISTERED, Phase.INITIALIZED) else 0
        self._reset_if_asked()
        return taken

    def control(self, kind: int, entry: bytes) -> None:
        """See `platform.endpoint.Endpoint`. Nothing that a partner sends raises here."""
        if self.phase not in (Phase.REGISTERED, Phase.INITIALIZED):
            return  # left over from before the CRQ was freed
        if kind == LOST:
            self._event(entry)
        elif kind == STALLED:
            self._stalled("an announcement")
        elif entry[0] == Header.INITIALIZATION:
            self._initialization(entry)
        else:
            try:
                self._command(entry)
            except (DriverFault, DeviceFault) as fault:
                self.refuse(fault.rule)
        self._reset_if_asked()

    def arm(self) -> bool:
        """See `platform.endpoint.Endpoint`."""
        if not self._armed:
            self._port.signal(1)
            self._armed = True
        return not (self.phase in (Phase.REGISTERED, Phase.INITIALIZED) and self._channel.has_entry())

    def disarm(self, wholly: bool = False) -> None:
        """See `platform.endpoint.Endpoint`. With one entry for each sleep it stays on: nothing else would raise it."""
        if self._armed and (wholly or self._channel.taken - self._heard > 1):
            self._port.signal(0)
            self._armed = False
        self._heard = self._channel.taken
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        if poll.poll(0):
            os.read(self.fileno(), 8)

    def retry(self) -> bool:
        """One more attempt of an end that gave up; whether it is registered now. The partner may call out again."""
        if self.failure is None:
            return False
        self._recover_by(Phase.FREEING, most_busy=0)
        return self.failure is None

    def close(self) -> None:
        """Free the CRQ, which waits for copies through our window, and take the mappings back."""
        if self.phase is not Phase.CLOSED:
            self._partner_gone("closed here")
            self._until_done("H_FREE_CRQ", lambda: ring.free(self._port, self.properties.unit_address))
            self.phase = Phase.CLOSED
            self._due = None
        while self._mapped:
            bus, length = self._mapped.pop()
            self._until_done("unmap", lambda bus=bus, length=length: self._port.unmap(bus, length))  # type: ignore[misc]

    # -- what a message.Bus offers

    def agreed(self, terms: Terms) -> None:
        """HELLO is through; see `message.bus.Bus`."""
        self._session = int(terms.session)
        self._channel.session = self._session
        self.on_opened()

    def reset(self, reason: str) -> None:
        """Free and register again, as soon as the entry at hand is dealt with; see `message.bus.Bus`."""
        self._reset_reason = self._reset_reason or reason

    # -- what a subclass says

    def mapped_arena(self) -> Arena:
        """The part of the arena that `start` maps."""
        return self._whole

    def opened(self) -> None:
        """The connection is initialized: HELLO may travel."""
        raise NotImplementedError

    def gone(self, reason: str) -> None:
        """The connection is no longer initialized."""
        raise NotImplementedError

    def deliver(self, framed: framing.Framed) -> None:
        """A message for the control plane, its session checked."""
        raise NotImplementedError

    # -- entries

    def refuse(self, rule: str) -> None:
        """Count what the partner did wrong to the connection; what it did to a device, `message` counts."""
        self.refusals[rule] += 1

    def transmit(self, entry: bytes) -> bool:
        """Send one entry. A closed connection will be told by an event; a full ring loses entries and ends it."""
        code = self._port.send(*to_registers(entry))
        if code == ReturnCode.H_DROPPED:
            self._stalled(describe_entry(entry))
        elif code == ReturnCode.H_CLOSED:
            self._unheard = True
        elif code != ReturnCode.H_SUCCESS:
            self.reset(f"{code_name(code)} for {describe_entry(entry)}")
        return code == ReturnCode.H_SUCCESS

    def partner_going(self) -> bool:
        """Whether the partner has left, although that was not read from the ring yet: what it seems to do wrong now
        is its end. A live partner takes entries."""
        return self._unheard or self._channel.loss_waits()

    def _stalled(self, what: str) -> None:
        """With credits kept and rings of the size we ask for, the partner's cannot be full (CRQ-D-35)."""
        self.refuse("partner-stalled")
        self.reset(f"H_DROPPED for {what}")

    def _event(self, entry: bytes) -> None:
        if entry[1] in GONE:
            self._partner_gone(f"partner {TransportEvent(entry[1]).name.removeprefix('PARTNER_').lower()}")
        elif entry[1] in NOTICES:
            self.notices[TransportEvent(entry[1]).name.lower()] += 1
        elif entry[1] == TransportEvent.PARTNER_SUSPENDED:
            self._partner_gone("partner suspended")
            self._recover_by(Phase.ENABLING)
        else:
            # Of an event that nobody knows the worst is assumed, as Linux drivers do.
            self.reset(describe_entry(entry))

    def _initialization(self, entry: bytes) -> None:
        """An answer counts only if it repeats the number of the call.

        A partner that has not yet read of our going still answers the call we made before it, into our new ring; so
        does all that follows such an answer belong to what is over.
        """
        if entry[1] == InitializationCode.INITIALIZE:
            if self.phase is Phase.INITIALIZED:
                self._partner_gone("partner initialized again")
            if self.transmit(initialization(InitializationCode.COMPLETE)[:8] + entry[8:]):
                self._initialized()
        elif entry[1] != InitializationCode.COMPLETE:
            self.refuse("init-code")
        elif entry[8:] != self._called or not any(self._called):
            self.refuse("init-stale")
        else:
            self._called = bytes(8)
            if self.phase is Phase.REGISTERED:
                self._initialized()

    def _command(self, entry: bytes) -> None:
        if self.phase is not Phase.INITIALIZED:
            raise self.guilty("session-none", describe_entry(entry))
        framed = framing.parse(entry, self.guilty)
        message = framed.message
        hello = message.bus and message.msg_id == HELLO
        # Without a session the halves know best what to refuse; in one, a stale message must not even name memory.
        if self._session and not hello and message.session_byte != self._session & 0xFF:
            raise self.guilty("session-stale", f"{message.session_byte} in session {self._session}")
        if framing.announcement(message, self.guilty) and self._session:
            raise self.guilty("message-direction", describe_entry(entry))
        self.deliver(framed)

    # -- states

    def _initialized(self) -> None:
        self.phase = Phase.INITIALIZED
        self._unheard = False
        self.opened()

    def _partner_gone(self, reason: str) -> None:
        was_initialized = self.phase is Phase.INITIALIZED
        self.phase = Phase.REGISTERED
        self._session = 0
        self._channel.session = 0
        if was_initialized:
            self.gone(reason)
            self.on_lost(reason)

    def _register(self) -> None:
        self._channel.rewind()
        self._armed = False  # registering masks the interrupt
        try:
            ring.register(self._port, self.properties.unit_address, self._whole.bus, self._ring_bytes)
        except PlatformError as error:
            self._fail(error)
            return
        self.failure = None
        self._call_out()

    def _call_out(self) -> None:
        self.phase = Phase.REGISTERED
        # H_Closed here means that the partner has yet to come; it will call out itself.
        number = os.urandom(7) + b"\1"
        sent = self.transmit(initialization(InitializationCode.INITIALIZE)[:8] + number)
        self._called = number if sent else bytes(8)

    def _reset_if_asked(self) -> None:
        if not self._reset_reason or self.phase not in (Phase.REGISTERED, Phase.INITIALIZED):
            return
        reason, self._reset_reason = self._reset_reason, ""
        self._partner_gone(reason)
        self._recover_by(Phase.FREEING)

    def _recover_by(self, phase: Phase, most_busy: int = BUSY_ATTEMPTS) -> None:
        self.phase = phase
        self._busy, self._most_busy = 0, most_busy
        self._recover()

    def _recover(self) -> None:
        """Enable or free and register; while the platform is busy come back when due, or wait here if one may."""
        call = Hypercall.H_ENABLE_CRQ if self.phase is Phase.ENABLING else Hypercall.H_FREE_CRQ
        while True:
            self._due = None
            if call == Hypercall.H_FREE_CRQ:
                code = ring.free(self._port, self.properties.unit_address)
            else:
                code, _ = self._port.call(call, self.properties.unit_address)
            delay = ring.retry_delay(code, self._busy)
            self._busy += 1
            if delay is None or self._busy > self._most_busy:
                break
            if self._wait is None:
                self._due = self._clock() + delay
                return
            self._wait(delay)
        if call == Hypercall.H_ENABLE_CRQ:
            if code == ReturnCode.H_SUCCESS:
                self._call_out()
            else:
                self._recover_by(Phase.FREEING)
        elif code == ReturnCode.H_SUCCESS:
            self._register()
        else:
            calls = "the only call" if self._busy == 1 else f"the last of {self._busy} calls"
            self._fail(PlatformError("H_FREE_CRQ", code, f"{code_name(code)} to {calls}"))

    def _fail(self, error: PlatformError) -> None:
        """Give up. Who gives up again, after a retry, had nothing to lose."""
        self.phase = Phase.CLOSED
        again, self.failure = self.failure is not None, error
        if not again:
            self.on_lost(str(error))

    # -- memory

    def _map(self, arena: Arena) -> None:
        access = int(TceAccess.BOTH)
        self._until_done("map", lambda: self._port.map(arena.bus, arena.offset, arena.size, access))
        self._mapped.append((arena.bus, arena.size))

    def _until_done(self, operation: str, call: Callable[[], int]) -> None:
        code = self._busy_call(call)
        if code != ReturnCode.H_SUCCESS:
            raise PlatformError(operation, code)

    def _busy_call(self, call: Callable[[], int]) -> int:
        """Make a call until the platform is no longer busy with it, waiting as it says."""
        for repeated in range(BUSY_ATTEMPTS):
            code = call()
            delay = ring.retry_delay(code, repeated)
            if delay is None:
                break
            (self._wait or time.sleep)(delay)
        return code


def part(arena: Arena, start: int, size: int) -> Arena:
    """A stretch of an arena."""
    if start + size > arena.size:
        raise ValueError(f"arena of {arena.size} bytes has no {size} bytes at {start}")
    return Arena(arena.offset + start, size, BusAddress(arena.bus + start))
