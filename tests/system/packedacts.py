# SPDX-License-Identifier: Apache-2.0
"""Hostile acts on a packed ring: rows like those of `hostileacts`, for what only a packed ring can have wrong."""

from collections.abc import Callable

from hostileacts import (
    INDIRECT,
    MANDATORY,
    NEXT,
    RUNNING,
    SESSION,
    STOPPED,
    WRITE,
    Act,
    feature_set,
    refused,
    resume_device,
    resume_queue,
    to_blocks,
)
from intruder import DATA, HEADERS, QUEUE_SIZE, Descriptor, Intruder

from virtio_crq.virtio.features import RING_PACKED, RING_RESET

WITH_PACKED = MANDATORY | feature_set(RING_RESET, RING_PACKED)
AVAIL, USED = 1 << 7, 1 << 15


def header(it: Intruder, flags: int = NEXT) -> Descriptor:
    return Descriptor(it.base + HEADERS, 16, flags)


def data(it: Intruder, flags: int = NEXT | WRITE) -> Descriptor:
    return Descriptor(it.base + DATA, 512, flags)


def status_byte(it: Intruder) -> Descriptor:
    return Descriptor(it.base + HEADERS + 16, 1, WRITE)


def posted(*chain: Callable[[Intruder], Descriptor], name: int = 0, twist: int = 0) -> Callable[[Intruder], None]:
    """One chain, announced; `twist` is what the last descriptor's flags differ by from what they should be."""

    def do(it: Intruder) -> None:
        it.read_request()
        it.lay(*[part(it) for part in chain], name=name, twist=twist)
        it.announce()

    return do


def twice(it: Intruder) -> None:
    it.lay(header(it), data(it), status_byte(it), name=3)
    it.lay(header(it), data(it), status_byte(it), name=3)
    it.announce()


def aligned_to_two(part: str) -> Callable[[Intruder], None]:
    def do(it: Intruder) -> None:
        it.negotiate(features=WITH_PACKED)
        good = it.queue()
        refused(it.ask(it.queue(**{part: getattr(good, part) + 2}), may_refuse=True))

    return do


def resumed(**changes: object) -> Callable[[Intruder], None]:
    def do(it: Intruder) -> None:
        assert resume_device(it, features=to_blocks(WITH_PACKED)).outcome == 0
        assert resume_queue(it, **changes).outcome

    return do


def _row(
    rule: str, clause: str, name: str, do: Callable[[Intruder], None], stage: str = RUNNING, ends: str = STOPPED
) -> Act:
    return Act(rule, (clause,), stage, ends, do, f"packed-{name}", WITH_PACKED)


PACKED_ACTS = (
    _row("queue-alignment", "CRQ-D-121", "driver", aligned_to_two("driver_area"), SESSION, "ignored"),
    _row("queue-alignment", "CRQ-D-121", "device", aligned_to_two("device_area"), SESSION, "ignored"),
    _row("descriptor-unmarked", "CRQ-D-122", "used", posted(header, data, status_byte, twist=USED)),
    _row("descriptor-unmarked", "CRQ-D-122", "never", posted(header, data, status_byte, twist=AVAIL)),
    _row("descriptor-unmarked", "CRQ-D-122", "last-lap", posted(header, data, status_byte, twist=AVAIL | USED)),
    _row("chain-cut", "CRQ-D-122", "", posted(header, data)),
    _row("head-range", "CRQ-D-123", "", posted(header, data, status_byte, name=QUEUE_SIZE)),
    _row("head-range", "CRQ-D-123", "far", posted(header, data, status_byte, name=0xFFFF)),
    _row("head-in-flight", "CRQ-D-123", "", twice),
    _row("indirect-next", "CRQ-D-123", "", posted(header, lambda it: data(it, INDIRECT))),
    _row("resume-positions", "CRQ-D-129", "heads", resumed(avail_position=1, num_heads=1, heads=(0,)), SESSION),
    _row("resume-positions", "CRQ-D-129", "far", resumed(avail_position=QUEUE_SIZE + 1), SESSION),
    _row("resume-positions", "CRQ-D-129", "back", resumed(used_position=1), SESSION),
)
