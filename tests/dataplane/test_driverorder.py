# SPDX-License-Identifier: Apache-2.0
"""The order of the driver's own loads and stores, written down by a port that records them (interpreted source)."""

from typing import Any

import pytest
from slowring import MEMORY, SPEEDS, Pair, Wire

Step = tuple[str, int, int]
ORDERED = ("store8", "store16", "store32", "store64", "load16", "load32", "load64", "acquire16", "release16", "fence")


class Recorder:
    """Stands in for a port: the same memory, and every access in order."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.steps: list[Step] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.port, name)
        if name not in ORDERED:
            return method

        def recorded(*arguments: int) -> int:
            self.steps.append((name, arguments[0] if arguments else 0, arguments[1] if len(arguments) > 1 else 0))
            return int(method(*arguments))

        return recorded


class RecordedPair(Pair):
    """A ring over a recording port, and its slow device."""

    def __init__(self, event_idx: bool = True, size: int = 8) -> None:
        super().__init__(SPEEDS["interpreted"], size=size, event_idx=event_idx)
        self.recorder = Recorder(self.port)
        self.ring.port = self.recorder

    def steps(self) -> list[Step]:
        found, self.recorder.steps = self.recorder.steps, []
        return found


def index_of(steps: list[Step], name: str, offset: int | None = None) -> int:
    return next(at for at, step in enumerate(steps) if step[0] == name and offset in (None, step[1]))


@pytest.mark.clause("CRQ-F-14")
@pytest.mark.parametrize("event_idx", [False, True])
def test_descriptors_then_entry_then_index_then_barrier_then_the_devices_wish(event_idx: bool) -> None:
    pair = RecordedPair(event_idx)
    pair.submit(1, (0x1000, 16, 0), (0x2000, 512, 1))
    pair.publish()
    steps = pair.steps()
    ring = pair.ring
    entry = index_of(steps, "store16", ring.available + 4)
    index = index_of(steps, "release16", ring.available + 2)
    barrier = index_of(steps, "fence")
    wish = index_of(steps, "load16", ring.used + (4 + 8 * 8 if event_idx else 0))
    descriptors = [at for at, step in enumerate(steps) if step[0].startswith("store") and step[1] < ring.available]
    assert max(descriptors) < entry < index < barrier < wish
    assert not [step for step in steps if step[0].startswith("store") and step[1] == ring.available + 2]
    assert [step[2] for step in steps if step[0] == "release16"] == [1]


@pytest.mark.clause("CRQ-F-14")
def test_what_is_announced_is_what_stands_in_the_ring() -> None:
    pair = RecordedPair()
    stood: list[tuple[int, int]] = []

    class Looking(Wire):
        def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
            stood.append((position, pair.device.number(pair.device.avail + 2, 2)))
            return super().announce(kind, device, queue, position, credit)

    pair.wire = Looking()
    for token in range(3):
        pair.submit(token, (0, 1, 1))
    assert pair.wire.sent == []
    assert pair.device.number(pair.device.avail + 2, 2) == 0, "the index may not run ahead of publish"
    pair.publish()
    assert stood == [(3, 3)]


@pytest.mark.clause("CRQ-F-19", "CRQ-F-28")
def test_the_used_index_is_acquired_before_its_entries_and_each_is_read_once() -> None:
    pair = RecordedPair()
    pair.device.use(pair.one(1), 7)
    pair.steps()
    assert pair.ring.collect() == 1
    steps = pair.steps()
    entry = pair.ring.used + 4
    assert steps == [("acquire16", pair.ring.used + 2, 0), ("load32", entry, 0), ("load32", entry + 4, 0)]


@pytest.mark.clause("CRQ-F-16")
def test_the_wish_is_visible_before_the_last_look() -> None:
    pair = RecordedPair()
    head = pair.one(1)
    pair.steps()
    pair.ring.rearm()
    assert [(name, at) for name, at, _ in pair.steps()] == [
        ("store16", pair.ring.available + 4 + 2 * 8),
        ("fence", 0),
        ("acquire16", pair.ring.used + 2),
    ]
    pair.device.use(head, 0)
    assert pair.ring.rearm() == 1


@pytest.mark.clause("CRQ-F-31")
def test_a_head_is_recorded_before_it_is_announced() -> None:
    """And in the order of the ring: what a returning device is asked for does not depend on the device's memory."""
    pair = RecordedPair()
    known: list[list[int]] = []

    class Looking(Wire):
        def announce(self, kind: int, device: int, queue: int, position: int, credit: int) -> int:
            known.append(pair.ring.heads())
            return super().announce(kind, device, queue, position, credit)

    pair.wire = Looking()
    heads = [pair.submit(token, (0, 1, 1)) for token in range(3)]
    pair.publish()
    assert known == [heads]
    pair.memory[: pair.ring.used] = b"\xff" * pair.ring.used
    assert pair.ring.heads() == heads


@pytest.mark.clause("CRQ-F-27")
@pytest.mark.parametrize("speed", sorted(SPEEDS))
def test_a_queue_that_is_enabled_again_has_both_credits(speed: str) -> None:
    pair = Pair(SPEEDS[speed], event_idx=False)
    head = pair.one(1)
    pair.device.use(head, 0)
    pair.front.used_told(1, 0)
    assert (pair.front.credit, pair.front.owed) == (0, 1)
    pair.front.reset()
    assert (pair.front.credit, pair.front.owed, pair.front.pending) == (1, 0, 0)
    pair.wire.sent.clear()
    pair.device.fetched = pair.device.position = 0
    pair.device.use(pair.one(2), 0)
    assert [position for _, position, _ in pair.wire.sent] == [1]
    pair.front.used_told(1, 0)  # the device announces at once, and it is no overrun
    assert pair.ring.refusals == {}


def test_the_recorder_sees_the_memory_of_the_ring() -> None:
    pair = RecordedPair()
    assert len(pair.memory) == MEMORY
    pair.recorder.store16(100, 7)
    assert pair.steps() == [("store16", 100, 7)]
    assert pair.port.load16(100) == 7
