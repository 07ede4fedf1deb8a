# SPDX-License-Identifier: Apache-2.0
"""Hostile acts of a client that pushes: rows like those of `hostileacts`, for what records and their lists say.

And those over pages that are shared otherwise than for one request alone, which a server may redirect.
"""

import struct
from collections.abc import Callable

from hostileacts import (
    IGNORED,
    INDIRECT,
    NEXT,
    RUNNING,
    SEGMENTS,
    SESSION,
    STOPPED,
    UP,
    WRITE,
    Act,
    refused,
    resume_device,
    resume_queue,
)
from intruder import DATA, HEADERS, PAGE, QUEUE_SIZE, TABLE, Descriptor, Intruder

TAIL, TO_WRITE, LIST = 0x20, 0x40, 0x80
HEADER = struct.pack("<IIQ", 0, 0, 0)
LISTS = HEADERS

Do = Callable[[Intruder], None]


def _row(rule: str, clause: str, name: str, do: Do, stage: str = RUNNING, ends: str = STOPPED) -> Act:
    return Act(rule, (clause,), stage, ends, do, f"pushed-{name}".removesuffix("-"), pushes=True)


def record(
    inlined: bytes = HEADER,
    flags: int = TAIL | TO_WRITE,
    length: int = 512,
    offset: int = DATA,
    head: int = 0,
    **name: int,
) -> Do:
    """One record, announced; its segment lies at `offset` of what is mapped."""

    def do(it: Intruder) -> None:
        it.push(head, inlined, flags, it.base + offset if length else 0, length, **name)
        it.announce()

    return do


def listed(*parts: Callable[[Intruder], Descriptor], length: int = 0, flags: int = TAIL, inlined: bytes = HEADER) -> Do:
    """A record that names a list of these descriptors; `length` is what it says of the list's instead."""

    def do(it: Intruder) -> None:
        for index, part in enumerate(parts):
            each = part(it)
            place = it.memory + LISTS + 16 * index
            it.port.write(place, struct.pack("<QIHH", each.address, each.length, each.flags, each.following))
        it.push(0, inlined, flags | LIST, it.base + LISTS, length or 16 * len(parts))
        it.announce()

    return do


def data(
    length: int = 512, flags: int = WRITE, following: int = 0, offset: int = DATA
) -> Callable[[Intruder], Descriptor]:
    return lambda it: Descriptor(it.base + offset & (1 << 64) - 1, length, flags, following)


def twice(it: Intruder) -> None:
    it.push_read(3)
    it.push_read(3)
    it.announce()


def nowhere(it: Intruder) -> None:
    it.push(0, HEADER, TAIL | TO_WRITE, it.window - PAGE, 512)
    it.announce()


def address_alone(it: Intruder) -> None:
    it.push(0, HEADER, TAIL, it.base + DATA)
    it.announce()


def last_byte_of_all(it: Intruder) -> None:
    it.push(0, HEADER, TAIL | TO_WRITE, (1 << 40) - 1, 512)
    it.announce()


def list_nowhere(it: Intruder) -> None:
    it.push(0, HEADER, TAIL | LIST, it.window - PAGE, 32)
    it.announce()


def records_revoked(it: Intruder) -> None:
    it.push_read()
    it.unmap(it.base + TABLE, PAGE)
    it.announce()


def session_before(it: Intruder) -> None:
    it.push(0, HEADER, TAIL | TO_WRITE, it.base + DATA, 512, session=it.mark - 1 & 0xFF)
    it.announce()


def without_credit(it: Intruder) -> None:
    it.push_read()
    with it.server_held():  # or it might give the credit back between the two
        it.announce()
        it.announce()


def beyond_the_queue(it: Intruder) -> None:
    it.announce(it.position + QUEUE_SIZE + 1 & 0xFFFF)


def queue(**changes: int) -> Do:
    def do(it: Intruder) -> None:
        it.negotiate()
        moved = {part: it.base + offset for part, offset in changes.items()}
        refused(it.ask(it.queue(**moved), may_refuse=True))

    return do


def resumed(**changes: object) -> Do:
    def do(it: Intruder) -> None:
        assert not resume_device(it).outcome
        assert resume_queue(it, **changes).outcome

    return do


def used_before(it: Intruder) -> None:
    """A position that no ring of records comes back with; found when it is to be served."""
    assert not resume_device(it).outcome
    assert not resume_queue(it, avail_position=1, used_position=1).outcome
    it.set_status(UP)


def replayed(*found: int) -> Do:
    """Accepted by its positions; then the records turn out to be others."""

    def do(it: Intruder) -> None:
        it.position = 0
        assert not resume_device(it).outcome
        for head in found:
            it.push_read(head)
        assert not resume_queue(it, avail_position=2, num_heads=2, heads=(6, 3)).outcome
        it.set_status(UP)

    return do


PUSHED_ACTS = (
    _row("queue-alignment", "CRQ-D-141", "requests", queue(descriptors=TABLE + 16), SESSION, IGNORED),
    _row("queue-alignment", "CRQ-D-141", "completions", queue(device_area=DATA + 8), SESSION, IGNORED),
    _row("reserved-nonzero", "CRQ-D-141", "driver", queue(driver_area=DATA), SESSION, IGNORED),
    _row("queue-address", "CRQ-D-141", "overlap", queue(device_area=TABLE + 16), SESSION, IGNORED),
    _row("record-marker", "CRQ-D-143", "never", record(marker=0)),
    _row("record-marker", "CRQ-D-143", "event", record(marker=0xFF)),
    _row("record-name", "CRQ-D-143", "device", record(device=1)),
    _row("record-name", "CRQ-D-143", "queue", record(queue=1)),
    _row("record-name", "CRQ-D-143", "session", session_before),
    _row("record-flags", "CRQ-D-144", "inlined", record(flags=17 | TAIL | TO_WRITE)),
    _row("record-flags", "CRQ-D-144", "write-list", record(flags=TAIL | TO_WRITE | LIST)),
    _row("record-flags", "CRQ-D-144", "write-nothing", record(length=0)),
    _row("record-empty", "CRQ-D-145", "nothing", record(b"", 0, 0)),
    _row(
        "record-empty", "CRQ-D-145", "address", lambda it: (it.push(0, HEADER, TAIL, it.base), it.announce(), None)[2]
    ),
    _row("head-range", "CRQ-D-146", "", record(head=QUEUE_SIZE)),
    _row("head-range", "CRQ-D-146", "far", record(head=0xFFFF)),
    _row("head-in-flight", "CRQ-D-146", "", twice),
    _row("copy-refused", "CRQ-D-146", "unmapped", nowhere),
    _row("copy-refused", "CRQ-D-146", "end", last_byte_of_all),
    _row("copy-refused", "CRQ-D-146", "list", list_nowhere),
    _row("copy-refused", "CRQ-D-43", "revoked", records_revoked),
    _row("indirect-size", "CRQ-D-146", "ragged", listed(data(), length=24)),
    _row("indirect-size", "CRQ-D-146", "long", listed(data(), length=16 * (SEGMENTS + 1))),
    _row("indirect-nested", "CRQ-D-146", "", listed(data(flags=INDIRECT))),
    _row("zero-length", "CRQ-D-146", "", listed(data(0))),
    _row("address-wrap", "CRQ-D-146", "", listed(lambda it: Descriptor((1 << 64) - 256, 512, WRITE))),
    _row("descriptor-range", "CRQ-D-146", "", listed(data(flags=NEXT | WRITE, following=2), data())),
    _row("chain-loop", "CRQ-D-146", "", listed(data(flags=NEXT | WRITE))),
    _row("readable-after-writable", "CRQ-D-146", "", listed(data(flags=NEXT | WRITE, following=1), data(flags=0))),
    _row("header-short", "CRQ-D-146", "", record(HEADER[:8])),
    _row("status-missing", "CRQ-D-146", "", record(flags=0)),
    _row("credit-overrun", "CRQ-D-26", "", without_credit),
    _row("avail-overrun", "CRQ-D-29", "", beyond_the_queue),
    _row("resume-positions", "CRQ-D-151", "used", used_before, SESSION),
    _row("resume-positions", "CRQ-D-84", "count", resumed(avail_position=3, num_heads=1, heads=(0,)), SESSION),
    _row("resume-push", "CRQ-D-152", "ring", resumed(driver_area=DATA), SESSION),
    _row("record-replayed", "CRQ-D-151", "order", replayed(3, 6), SESSION),
    _row("record-replayed", "CRQ-D-151", "other", replayed(6, 5), SESSION),
)


# --- without PUSH: pages that stay mapped, and pages that a storage adapter reaches ---


def _whole_pages(it: Intruder, *places: int, at: int = 0) -> None:
    """A read into whole pages, at these offsets of what is mapped: what a server that redirects does not copy."""
    header = it.memory + HEADERS + 32 * at
    it.port.write(header, HEADER)
    bus = it.base + HEADERS + 32 * at
    chain = [Descriptor(it.base + place, PAGE, NEXT | WRITE, at + 2 + index) for index, place in enumerate(places)]
    it.describe(Descriptor(bus, 16, NEXT, at + 1), *chain, Descriptor(bus + 16, 1, WRITE), at=at)
    it.make_available(at)


def _served(it: Intruder, before: int, count: int) -> None:
    it.until(lambda: it.used() == before + count & 0xFFFF, "completion")
    it.until(lambda: it.may_announce, "credit")


def one_page_for_two(it: Intruder) -> None:
    before = it.used()
    _whole_pages(it, DATA)
    _whole_pages(it, DATA, at=8)
    it.announce()
    _served(it, before, 2)
    assert it.port.load8(it.memory + HEADERS + 16) == it.port.load8(it.memory + HEADERS + 32 * 8 + 16) == 0


def one_page_twice(it: Intruder) -> None:
    before = it.used()
    _whole_pages(it, DATA, DATA)
    it.announce()
    _served(it, before, 1)
    assert it.port.load8(it.memory + HEADERS + 16) == 0


def read_only_page(it: Intruder) -> None:
    assert it.port.map(it.base + DATA, it.memory + DATA, PAGE, 1) == 0
    _whole_pages(it, DATA)
    it.announce()


def second_page_gone(it: Intruder) -> None:
    it.unmap(it.base + DATA + PAGE, PAGE)
    _whole_pages(it, DATA, DATA + PAGE)
    it.announce()


def behind_the_window(it: Intruder) -> None:
    _whole_pages(it, DATA, it.window - it.base)
    it.announce()


def _page_row(rule: str, clause: str, name: str, do: Do, ends: str = STOPPED) -> Act:
    return Act(rule, (clause,), RUNNING, ends, do, name)


PAGE_ACTS = (
    Act("resume-push", ("CRQ-D-152",), SESSION, STOPPED, resumed(driver_area=0), "records"),
    _page_row("", "CRQ-D-172", "shared-page", one_page_for_two, IGNORED),
    _page_row("", "CRQ-D-172", "page-twice", one_page_twice, IGNORED),
    _page_row("copy-refused", "CRQ-D-172", "read-only-page", read_only_page),
    _page_row("copy-refused", "CRQ-D-172", "second-page", second_page_gone),
    _page_row("copy-refused", "CRQ-D-170", "last-page", behind_the_window),
)
