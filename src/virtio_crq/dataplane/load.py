# SPDX-License-Identifier: Apache-2.0
"""The benchmark's load: a fixed depth of block requests on one device, and how long each took.

It runs in the client's own thread. Requests are reaped, drawn and issued without the interpreter's lock, a batch at a
time; entries that are not for this device's queue are left to the caller, who owns the connection.
"""

import time
from array import array
from collections.abc import Sequence

import cython

from virtio_crq.dataplane.blockdriver import BlockDriver
from virtio_crq.dataplane.front import Front, arrived, credit_returned, listen, settle, used_told
from virtio_crq.dataplane.kernel import doze
from virtio_crq.platform.channel import AN_ENTRY, CREDIT, NO_ENTRY, NOTHING, USED, Channel, entry_waits, take_from

if not cython.compiled:
    from virtio_crq.platform.port import give_way, pause

    load_now = time.monotonic_ns

SECTOR_BYTES = 512
FLOW = 128  # looks in vain, a few microseconds, while which work may still flow
LOOKS = 32  # and from then on, before the processor is offered to whoever it waits for
BUCKETS = 2048
FAR = 1 << 62
IDLE = 0  # what a look finds
WORKED = 1
STRANGE = 2
WIDE = (1 << 64) - 1


def bucket_of(value: int) -> int:
    """A histogram bucket that is exact to 3 %: 32 steps for every doubling."""
    shift = 0
    while value >> shift >= 64:
        shift += 1
    return shift * 32 + (value >> shift)


def bucket_value(bucket: int) -> float:
    """The middle of what falls into `bucket`."""
    shift = max(0, bucket // 32 - 1)
    return ((bucket - shift * 32) + 0.5) * (1 << shift)


class LoadGenerator:
    """`kind` (0 read, 1 write) requests of `block` bytes over the first `span` bytes, `depth` in flight.

    The device must be quiet and nobody else may use its queue meanwhile. Call `begin`, then `turn` until it answers
    `FINISHED`; see `turn` for what else it answers.

    A disk with several queues has a load for each. They are joined: the first is begun and driven, takes what comes for
    all, and has all figures once it gathered them.

    Where blocks of this size stay mapped (`map=pool`), each is really copied between the pool and a buffer of its own,
    as a block layer has to: `buffers` is where in own RAM there is room for a block for each slot. `bounced` counts it.
    """

    def __init__(
        self,
        driver: BlockDriver,
        front: Front,
        channel: Channel,
        kind: int,
        block: int,
        depth: int,
        span: int,
        sequential: bool = False,
        seed: int = 1,
        buffers: int = 0,
        first: int = 0,
    ) -> None:
        if block % SECTOR_BYTES or not 0 < block <= driver.transfer:
            raise ValueError(
                f"a request of {block} bytes; the device takes whole sectors up to {driver.transfer} bytes"
            )
        if not 0 < depth <= driver.slots or span < block:
            raise ValueError(f"depth {depth} of {driver.slots}, span {span} for blocks of {block}")
        self.driver = driver
        self.front = front
        self.port = driver.port
        self.buffers = buffers
        self.descriptor = driver.port.fileno()
        self.armed = 0
        self.heard = 0
        self.woken = 0
        self.next: LoadGenerator | None = None  # of those that one thread drives: see `loadround`
        self.beside: LoadGenerator | None = None  # the load of the disk's next queue
        self.signals = 1  # the adapter's interrupt is this one's to turn on and off
        self.bounces = 1 if block <= driver.mapping.kept else 0
        self.device = driver.ring.device
        self.queue = driver.ring.queue
        self.channel = channel
        self.kind = kind
        self.block = block
        self.depth = depth
        self.blocks = span // block
        self.sequential = 1 if sequential else 0
        self.state = (seed * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF or 1
        self.cursor = first // block  # a sequential load begins behind it
        self.starts = array("Q", bytes(8 * driver.slots))
        self.buckets = array("Q", bytes(8 * BUCKETS))
        self.begin(0, 0)

    def begin(self, seconds: float, requests: int) -> None:
        """Forget all figures; run for `seconds` or until `requests` were issued, whichever is not 0 and first."""
        self.completed = self.failed = self.batches = self.bounced = 0
        self.issued = 0
        self.active = 0
        self.over = 0
        self.strange = 0
        self.held = 0
        self.drawn = 0
        self.limit = requests or FAR
        self.started = load_now()
        self.ended = self.started
        self.deadline = self.started + int(seconds * 1e9) if seconds else FAR
        for bucket in range(BUCKETS):
            self.buckets[bucket] = 0
        if self.beside is not None:
            self.beside.begin(seconds, requests)

    def join(self, others: Sequence["LoadGenerator"]) -> None:
        """Drive the loads of the disk's other queues as well; a limit of requests is each one's."""
        if others:
            self.beside = others[0]
            self.beside.signals = 0
            self.beside.join(others[1:])

    def gather(self) -> None:
        """Have the figures of all queues."""
        if self.beside is None:
            return
        self.beside.gather()
        self.completed += self.beside.completed
        self.failed += self.beside.failed
        self.batches += self.beside.batches
        self.bounced += self.beside.bounced
        if self.beside.ended > self.ended:
            self.ended = self.beside.ended
        for bucket in range(BUCKETS):
            self.buckets[bucket] = self.buckets[bucket] + self.beside.buckets[bucket]

    def turn(self, spins: int, nanoseconds: int = 0) -> int:
        """Work until there is something for the caller.

        FINISHED (0): all done. CONTROL or LOST: hand `channel.entry()` to the endpoint. -1: after `spins` looks
        nothing had come, nor in a sleep of so many `nanoseconds` if there are any; call again.

        A sleep has the adapter's interrupt to itself. As long as it brings one entry each time, it stays on.
        """
        with cython.nogil:
            return self._work(spins, nanoseconds)

    def _work(self, spins: int, nanoseconds: int) -> int:
        vain = 0
        while True:
            kind = self._listen()
            if kind != NOTHING:
                self._unarm_all()
                return kind
            before = self.answered()
            self._serve_all()
            if self._all_done():
                self._unarm_all()
                return 0
            waits = entry_waits(self.channel)
            if waits == AN_ENTRY:
                continue
            if waits != NO_ENTRY:  # only serving finds what has ended: that was a look
                vain = vain + 1 if self.answered() == before else 0
                if vain >= spins:
                    return -1
                pause()
                continue
            idle = self._look_on(spins)
            if idle >= spins and nanoseconds:
                idle = 0 if self._doze(nanoseconds) else spins
            if idle >= spins:
                return -1

    def _look_on(self, spins: int) -> int:
        """Up to so many looks, until one of them finds something: an entry, or a request that has ended."""
        looks = 0
        while looks < spins and not entry_waits(self.channel) and not self._slipped():
            pause()
            looks += 1
            if looks > FLOW and looks % LOOKS == 0:
                give_way()
        return looks

    def _doze(self, nanoseconds: int) -> int:
        """Until the interrupt, unless something came before it was on; 0 when nothing came for so long."""
        self._arm_all()
        if entry_waits(self.channel) or self._slipped():
            return 1
        return 1 if doze(self.descriptor, nanoseconds) > 0 else 0

    # --- all queues of the disk ---

    def _serve_all(self) -> int:
        self._serve()
        settle(self.front, self.channel)
        if self.beside is not None:
            self.beside._serve_all()
        return 0

    def answered(self) -> int:
        """Requests that were, at all queues."""
        return self.completed if self.beside is None else self.completed + self.beside.answered()

    def _all_done(self) -> int:
        if not self._done():
            return 0
        return 1 if self.beside is None else self.beside._all_done()

    def _slipped(self) -> int:
        """Whether a request has ended that no entry will tell of."""
        if self.front.rearm():
            return 1
        return 0 if self.beside is None else self.beside._slipped()

    def _arm_all(self) -> int:
        self.heard = 0
        if not self.armed:
            if self.signals:
                self.port.signal(1)
            self.armed = 1
        listen(self.front, 1)  # also in a sleep in which the adapter's interrupt stayed on: it may be in use only now
        if self.beside is not None:
            self.beside._arm_all()
        return 0

    def _unarm_all(self) -> int:
        self._unarm()
        if self.beside is not None:
            self.beside._unarm_all()
        return 0

    def _unarm(self) -> int:
        if self.armed:
            if self.signals:
                self.port.signal(0)
            listen(self.front, 0)
            self.armed = 0
        return 0

    def _listen(self) -> int:
        """Take what entries wait for this queue: NOTHING, or the kind of one that the caller must see."""
        while True:
            kind = take_from(self.channel)
            if kind == NOTHING:
                return NOTHING
            self.heard += 1
            if self.heard > 1:
                self._unarm()  # more comes than one for each sleep
            if not self._hear(kind):
                return kind

    def _hear(self, kind: int) -> int:
        """Take an announcement for one of the queues; 0 when the entry is anything else."""
        if (kind != USED and kind != CREDIT) or self.channel.device != self.device or self.channel.queue != self.queue:
            return 0 if self.beside is None else self.beside._hear(kind)
        if kind == USED:
            used_told(self.front, self.channel.position, self.channel.credit)
        else:
            credit_returned(self.front)
        return 1

    def _done(self) -> int:
        return 1 if self.active == 0 and (self.issued >= self.limit or self.ended >= self.deadline) else 0

    # --- one of several in a thread ---

    def sweep(self) -> int:
        """A look at this load and at those behind it: the most that one of them found."""
        found = self.look()
        if self.next is not None:
            rest = self.next.sweep()
            if rest > found:
                found = rest
        return found

    def look(self) -> int:
        """Take what came and serve it. IDLE, or WORKED; STRANGE: `strange` is of a kind that the caller must see."""
        if self.over:
            return IDLE
        if self.strange:
            return STRANGE
        came = 0
        kind = take_from(self.channel)
        while kind != NOTHING:
            came += 1
            if not self._hear(kind):
                self.strange = kind
                return STRANGE
            kind = take_from(self.channel)
        if came:
            if not self.woken:
                self._unarm()  # what comes while somebody looks would only cost its sender
            self.woken = 0
        elif self.active and entry_waits(self.channel) == NO_ENTRY and not self.front.rearm():
            return IDLE
        before = self.completed + self.issued
        self._serve()
        settle(self.front, self.channel)
        if self._done():
            self._unarm()
            self.over = 1
        elif came == 0 and before == self.completed + self.issued:
            return IDLE
        return WORKED

    def arm(self) -> int:
        """The next entry interrupts. What came before has to be looked for once more."""
        if not self.over:
            if not self.armed:
                self.port.signal(1)
                self.armed = 1
            listen(self.front, 1)
        self.woken = 0
        return 0

    def _serve(self) -> int:
        now = load_now()
        self.ended = now
        if self.armed and arrived(self.front):
            self.heard += 1
            if self.heard > 1:
                self._unarm()
        self.front.deliver()
        slot = self.driver.reap()
        if slot >= 0:
            self.batches += 1
        while True:
            while slot >= 0:
                self._record(now - self.starts[slot])
                self.completed += 1
                self.active -= 1
                if self.driver.status(slot) != 0:
                    self.failed += 1
                elif self.bounces and self.kind == 0:
                    self._bounce(self.driver.data(slot), self.buffers + slot * self.block)
                self.driver.release(slot)
                slot = self.driver.reap()
            self._fill(now)
            self.front.publish()
            if not self.front.rearm():
                return 0
            slot = self.driver.reap()
            if slot < 0:
                return 0

    def _fill(self, now: int) -> int:
        while self.active < self.depth and self.issued < self.limit and now < self.deadline:
            if self.held == 0:
                slot = self.driver.acquire(self.block)
                if slot < 0:
                    return 0
                self.held = slot + 1
                self.drawn = self._next() * (self.block // SECTOR_BYTES)
                if self.bounces and self.kind != 0:
                    self._bounce(self.buffers + slot * self.block, self.driver.data(slot))
            slot = self.held - 1
            self.starts[slot] = now
            if self.driver.submit(slot, self.kind, self.drawn, self.block) < 0:
                return 0  # the platform or the ring is busy; the same request comes first next time
            self.held = 0
            self.active += 1
            self.issued += 1
        if self.held and now >= self.deadline:
            self.driver.release(self.held - 1)  # refused to the end: the next load needs its slot
            self.held = 0
        return 0

    def _next(self) -> int:
        if self.sequential:
            self.cursor = self.cursor + 1 if self.cursor + 1 < self.blocks else 0
            return self.cursor
        # xorshift64: even, cheap, and the same compiled and interpreted.
        self.state = (self.state ^ (self.state << 13)) & WIDE
        self.state = self.state ^ (self.state >> 7)
        self.state = (self.state ^ (self.state << 17)) & WIDE
        return self.state % self.blocks

    def _bounce(self, source: int, destination: int) -> int:
        """What a block layer would pay between the pages that its user named and a slot that stays mapped."""
        self.port.move(source, destination, self.block)
        self.bounced += 1
        return 0

    def _record(self, elapsed: int) -> int:
        bucket = bucket_of(elapsed)
        self.buckets[bucket] = self.buckets[bucket] + 1
        return 0

    def percentile(self, share: float) -> float:
        """Microseconds within which `share` (0 to 1) of the requests completed."""
        counted = 0
        for bucket in range(BUCKETS):
            counted += self.buckets[bucket]
            if counted and counted >= share * self.completed:
                return bucket_value(bucket) / 1000
        return 0.0

    def seconds(self) -> float:
        """From `begin` to the last completion seen."""
        return float(self.ended - self.started) / 1e9
