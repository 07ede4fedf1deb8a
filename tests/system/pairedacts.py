# SPDX-License-Identifier: Apache-2.0
"""Hostile acts of a client whose queue is paired: rows like those of `pushedacts`, for sub-CRQs and what comes by them.

What a record may not say is the same whatever carries it; those rows are played again.
"""

from dataclasses import replace
from typing import cast

from hostileacts import CONNECTED, IGNORED, RUNNING, SESSION, STOPPED, Act, refused, resume_device, resume_queue
from intruder import QUEUE_SIZE, Intruder
from pairedintruder import SIDE, SLOTS, UP, PairedIntruder
from pushedacts import PUSHED_ACTS, Do

from virtio_crq.crq import framing
from virtio_crq.message import codec
from virtio_crq.message.message import token
from virtio_crq.message.session import PUSH
from virtio_crq.virtio import records, status

NOBODYS = 0xDEAD_BEEF_0000_0007  # no sub-CRQ has this handle
H_PARAMETER = -4
# A marker the platform refuses; the others are of what a paired queue has not, or have rows of their own.
NOT_BY_PAIR = ("record-marker", "record-name", "head-in-flight", "credit-", "avail-", "queue-", "reserved-", "resume-")


def _row(rule: str, clause: str, name: str, do: Do, stage: str = RUNNING, ends: str = STOPPED) -> Act:
    return Act(
        rule, tuple(clause.split()), stage, ends, do, f"paired-{name}".removesuffix("-"), pushes=True, pairs=True
    )


def its(it: Intruder) -> PairedIntruder:
    return cast(PairedIntruder, it)


# --- PAIR_VQUEUE ---


def without_the_feature(it: Intruder) -> None:
    it.hello_with(features=PUSH)
    it.mark = it.end.session & 0xFF
    it.negotiate()
    refused(its(it).pair(handle=1))


def before_features(it: Intruder) -> None:
    it.set_status(0)
    refused(its(it).pair(handle=1))
    it.set_status(status.ACKNOWLEDGE)
    refused(its(it).pair(handle=1))


def of_a_running_queue(it: Intruder) -> None:
    refused(its(it).pair())
    it.serve_reads(2)  # it goes on by the pair it has


def of_a_device_that_stopped(it: Intruder) -> None:
    its(it).announce_all_the_same()
    it.until(lambda: it.status() & status.DEVICE_NEEDS_RESET, "stop")
    refused(its(it).pair())


def asked(**changes: int) -> Do:
    def do(it: Intruder) -> None:
        it.negotiate()
        its(it).open_side()
        refused(its(it).pair(**changes))

    return do


def again_and_again(it: Intruder) -> None:
    """The last pair holds; the others are given back, or soon there would be none."""
    it.negotiate()
    its(it).open_side()
    handles = {its(it).pair().handle for _ in range(50)}
    assert 0 not in handles
    assert len(handles) == 50
    it.ask(it.queue())
    assert it.set_status(UP) == UP
    it.serve_reads(3)


def to_no_handle(it: Intruder) -> None:
    it.negotiate()
    assert its(it).pair(handle=0).handle == 0


def to(handle: int) -> Do:
    """A pair with a sub-CRQ that is not the client's: found when the first completion is to go there."""

    def do(it: Intruder) -> None:
        it.set_status(0)
        it.bring_up(handle=handle)  # type: ignore[call-arg]
        it.push_read()

    return do


def to_the_servers_own(it: Intruder) -> None:
    to(its(it).side.partner)(it)


# --- a ring that takes no completions ---


def never_freed(it: Intruder) -> None:
    """As many completions as the ring has slots, and then one more."""
    first = its(it).side.cursor
    for number in range(SLOTS):
        it.push_read(number % QUEUE_SIZE)
        at = it.memory + SIDE + records.REQUEST * ((first + number) % SLOTS)
        it.until(lambda at=at: it.port.acquire8(at), "completion")  # type: ignore[misc]
    it.push_read()


def ring_unmapped(it: Intruder) -> None:
    it.unmap(it.base + SIDE, 4096)
    it.push_read()


def ring_given_back_with_requests_in_flight(it: Intruder) -> None:
    with it.server_held():
        for head in range(4):
            it.push_read(head)
        it.insist(lambda: it.port.queue_close(its(it).side.handle) == 0, "freeing the sub-CRQ")


def crq_given_back_with_requests_in_flight(it: Intruder) -> None:
    with it.server_held():
        for head in range(4):
            it.push_read(head)
        its(it).free_crq()


# --- records out of turn ---


def more_than_the_queue(it: Intruder) -> None:
    with it.server_held():
        for head in range(QUEUE_SIZE + 1):
            it.push_read(head % QUEUE_SIZE)


def one_head_twice(it: Intruder) -> None:
    with it.server_held():  # or the first might be done before the other comes
        it.push_read(3)
        it.push_read(3)


def more_than_the_ring(it: Intruder) -> None:
    with it.server_held():
        while its(it).code == 0:
            it.push_read()


def old_record(it: Intruder) -> None:
    it.push(0, bytes(16), 0x20, session=it.mark - 1 & 0xFF)
    it.serve_reads(2)
    it.set_status(0)


def old_records_for_ever(it: Intruder) -> None:
    def closed() -> bool:
        for _ in range(SLOTS):
            it.push(0, bytes(16), 0x20, session=it.mark - 1 & 0xFF)
        return its(it).code == H_PARAMETER

    it.until(closed, "end of the server's reading")


def before_the_queue_runs(it: Intruder) -> None:
    it.negotiate()
    before = its(it).collect()
    its(it).open_side()
    its(it).pair()
    for head in range(4):
        it.push_read(head)
        assert its(it).code == 0
    it.ask(it.queue())
    assert it.set_status(UP) == UP
    it.until(lambda: its(it).collect() == before + 4, "completions of what came early")


def to_a_queue_that_never_runs(it: Intruder) -> None:
    it.negotiate()
    its(it).open_side()
    its(it).pair()
    while its(it).code == 0:
        it.push_read()


def no_record(it: Intruder) -> None:
    for marker in (0, 1, 0x81, 0xC0, 0xFF):
        it.push(0, bytes(16), 0x20, marker=marker)
        assert its(it).code == H_PARAMETER
    it.serve_reads(1)


def announced(it: Intruder) -> None:
    its(it).announce_all_the_same()


def credit_returned(it: Intruder) -> None:
    mark = int(token(it.end.session, 1))
    it.end.transmit(framing.build(codec.message_of(codec.Credit(0, codec.CREDIT_USED), 0, mark)))


def replayed(it: Intruder) -> None:
    it.position = 0
    assert not resume_device(it).outcome
    its(it).open_side()
    assert its(it).pair().handle
    assert not resume_queue(it, avail_position=2, num_heads=2, heads=(6, 3)).outcome
    it.set_status(UP)
    it.push_read(3)


PAIRED_ACTS = (
    _row("pair-state", "CRQ-D-161", "unagreed", without_the_feature, CONNECTED, IGNORED),
    _row("pair-state", "CRQ-D-161", "early", before_features, SESSION, IGNORED),
    _row("pair-state", "CRQ-D-161", "running", of_a_running_queue, RUNNING, IGNORED),
    _row("pair-state", "CRQ-D-161", "stopped", of_a_device_that_stopped, RUNNING, IGNORED),
    _row("queue-unknown", "CRQ-D-57", "", asked(index=40), SESSION, IGNORED),
    _row("queue-size", "CRQ-D-58", "none", asked(slots=0), SESSION, IGNORED),
    _row("queue-size", "CRQ-D-58", "odd", asked(slots=24), SESSION, IGNORED),
    _row("queue-size", "CRQ-D-58", "most", asked(slots=0xFFFFFFFF), SESSION, IGNORED),
    _row("", "CRQ-D-160", "many", again_and_again, SESSION, IGNORED),
    _row("", "CRQ-D-160", "no-handle", to_no_handle, SESSION, IGNORED),
    _row("record-refused", "CRQ-D-163", "handle-nobodys", to(NOBODYS)),
    _row("record-refused", "CRQ-D-163", "handle-most", to((1 << 64) - 1)),
    _row("record-refused", "CRQ-D-163", "handle-least", to(1)),
    _row("record-refused", "CRQ-D-163", "handle-the-servers", to_the_servers_own),
    _row("record-refused", "CRQ-D-163", "never-freed", never_freed),
    _row("record-refused", "CRQ-D-163", "unmapped", ring_unmapped),
    _row("record-refused", "CRQ-D-163", "given-back", ring_given_back_with_requests_in_flight),
    _row("", "CRQ-D-163", "crq-given-back", crq_given_back_with_requests_in_flight, RUNNING, IGNORED),
    _row("avail-overrun", "CRQ-D-165", "", more_than_the_queue),
    _row("avail-overrun", "CRQ-D-165", "flood", more_than_the_ring),
    _row("head-in-flight", "CRQ-D-146", "", one_head_twice),
    _row("record-stale", "CRQ-D-162", "", old_record, RUNNING, IGNORED),
    _row("record-name", "CRQ-D-162", "stale-for-ever", old_records_for_ever),
    _row("", "CRQ-D-166", "early", before_the_queue_runs, SESSION, IGNORED),
    _row("", "CRQ-D-166", "never", to_a_queue_that_never_runs, SESSION, IGNORED),
    _row("", "CRQ-D-162", "no-record", no_record, RUNNING, IGNORED),
    _row("record-announced", "CRQ-D-164", "", announced),
    _row("record-announced", "CRQ-D-164", "credit", credit_returned),
    _row("record-replayed", "CRQ-D-151", "", replayed, SESSION),
    *(
        replace(row, name=row.name.replace("pushed", "paired"), pairs=True)
        for row in PUSHED_ACTS
        if row.stage == RUNNING and not row.rule.startswith(NOT_BY_PAIR) and not row.name.endswith("revoked")
    ),
)
