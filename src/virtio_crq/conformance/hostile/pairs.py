# SPDX-License-Identifier: Apache-2.0
"""Acts on a queue whose records go by sub-CRQs: lies about the pair, rings that take nothing, records out of turn."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from virtio_crq.conformance.hostile.act import Kind, Outcome, Stage, act
from virtio_crq.conformance.hostile.beginnings import Answer, answering
from virtio_crq.conformance.hostile.pairedmodel import SLOTS, PairedDisk
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.message import codec
from virtio_crq.virtio import records

OnDisk = Callable[[PairedDisk], Any]
HELD = 2
FLOOD = 3 * SLOTS
H_PARAMETER = -4
NOBODYS = 0xDEAD_BEEF_0000_0007  # no sub-CRQ has this handle


def paired_act(
    name: str, rules: str, clauses: str, outcome: Outcome = Outcome.STOPPED, *, held: int = HELD, asks: int = 0
) -> Callable[[OnDisk], OnDisk]:
    """Two requests are in flight, fetched and not served."""

    def enter(do: OnDisk) -> OnDisk:
        @act(f"paired-{name}", rules, clauses, Stage.RUNNING, outcome, held=held, kind=Kind.PAIRED, asks=asks)
        def on_device(it: HostileServer, device: int) -> None:
            model = it.models[device]
            assert isinstance(model, PairedDisk)
            assert model.own, "the front-end did not pair this queue"
            do(model)

        return do

    return enter


# --- the pair ---


def _answers(name: str, rules: str, clauses: str, change: Answer, outcome: Outcome, resumed: Outcome) -> None:
    """At bring-up, and when the device is to come back with requests in flight."""
    for stage, held, ends in ((Stage.BRING_UP, 0, outcome), (Stage.RESUMING, HELD, resumed)):

        @act(f"pair-{name}-{stage.value}", rules, clauses, stage, ends, held=held, kind=Kind.PAIRED)
        def lie(it: HostileServer, device: int) -> None:
            it.twist_body = answering(codec.VqueuePaired, device, change)


_LIE = (Outcome.STOPPED, Outcome.STOPPED)
_answers("queue", "pair-answer", "CRQ-F-80", lambda body: replace(body, index=body.index + 1), *_LIE)
_answers("queue-far", "pair-answer", "CRQ-F-80", lambda body: replace(body, index=0xFFFFFFFF), *_LIE)
_answers("reserved", "pair-answer", "CRQ-F-80", lambda body: replace(body, reserved=1), *_LIE)
_answers("refused", "", "CRQ-F-80", lambda body: codec.Refused(codec.PAIR_VQUEUE, 0, 65535), *_LIE)
for _name, _handle in (("nobodys", NOBODYS), ("most", (1 << 64) - 1), ("least", 1)):

    def _elsewhere(body: codec.VqueuePaired, handle: int = _handle) -> codec.VqueuePaired:
        return replace(body, handle=handle)

    _answers(f"handle-{_name}", "carrier-gone", "CRQ-F-86 CRQ-F-87", _elsewhere, Outcome.RESTARTED, Outcome.RESTARTED)


@act("pair-handle-own", "carrier-gone", "CRQ-F-86 CRQ-F-87", Stage.BRING_UP, Outcome.RESTARTED, kind=Kind.PAIRED)
def the_front_ends_own_handle(it: HostileServer, device: int) -> None:
    def change(body: codec.VqueuePaired) -> codec.VqueuePaired:
        model = it.models[device]
        assert isinstance(model, PairedDisk)
        return replace(body, handle=model.partner)

    it.twist_body = answering(codec.VqueuePaired, device, change)


@act("pair-none", "", "CRQ-F-85", Stage.RESUMING, Outcome.IGNORED, held=HELD, kind=Kind.PAIRED)
def none_left_for_a_queue_that_had_one(it: HostileServer, device: int) -> None:
    def change(body: codec.VqueuePaired) -> codec.VqueuePaired:
        model = it.models[device]
        assert isinstance(model, PairedDisk)
        model.part()
        return replace(body, handle=0)

    it.twist_body = answering(codec.VqueuePaired, device, change)


# --- a ring that takes nothing ---


@paired_act("ring-freed", "carrier-gone", "CRQ-F-86 CRQ-F-87", Outcome.RESTARTED, asks=3)
def ring_that_was_given_back(disk: PairedDisk) -> None:
    disk.port.queue_close(disk.own)


@paired_act("ring-unmapped", "carrier-full", "CRQ-F-86 CRQ-F-87", Outcome.RESTARTED, asks=3)
def ring_without_its_page(disk: PairedDisk) -> None:
    assert disk.port.unmap(disk.memory.bus, 4096) == 0


@paired_act("slots-kept", "carrier-full", "CRQ-F-81 CRQ-F-87", Outcome.RESTARTED, held=0, asks=SLOTS + 20)
def slots_that_are_never_freed(disk: PairedDisk) -> None:
    disk.keeps = True


# --- completions ---


def _completion_act(name: str, rule: str, clause: str, **other: int) -> None:
    """A completion that is right but for one field."""

    @paired_act(name, rule, clause)
    def one_field_is_wrong(disk: PairedDisk) -> None:
        chain = disk.pending[0]
        named = {"head": chain.head, "length": disk.perform(chain)} | other
        assert disk.complete_as(**named) == 0


_completion_act("another-device", "completion-form", "CRQ-F-65", device=0xFFFF)
_completion_act("another-queue", "completion-form", "CRQ-F-65", queue=1)
_completion_act("another-device-and-session", "completion-form", "CRQ-F-65", device=0xFFFF, session=0)
_completion_act("flags", "completion-form", "CRQ-F-65", flags=0xFF)
_completion_act("tail-without-flag", "completion-form", "CRQ-F-65", flags=0, tail=1)
_completion_act("length-most", "used-length", "CRQ-F-66", written=0xFFFFFFFF)
_completion_act("head-beyond-queue", "used-unknown", "CRQ-F-66", head=0x8000)
_completion_act("head-most", "used-unknown", "CRQ-F-66", head=0xFFFF)


@paired_act("never-offered", "used-unknown", "CRQ-F-66")
def head_that_was_not_offered(disk: PairedDisk) -> None:
    assert disk.setup is not None
    taken = {chain.head + step for chain in disk.pending for step in range(3)}
    disk.complete_as(next(head for head in reversed(range(disk.setup.size)) if head not in taken), 1)


@paired_act("twice", "used-unknown", "CRQ-F-66")
def one_head_twice(disk: PairedDisk) -> None:
    chain = disk.pending[0]
    length = disk.perform(chain)
    disk.complete_as(chain.head, length)
    disk.complete_as(chain.head, length)


@paired_act("flood", "used-unknown", "CRQ-F-66")
def as_many_as_the_ring_takes(disk: PairedDisk) -> None:
    while disk.complete_as(0xFFFF, 0) == 0:
        pass


@paired_act("stale", "", "CRQ-F-83", Outcome.IGNORED)
def completions_of_a_session_that_is_over(disk: PairedDisk) -> None:
    for chain in disk.pending:
        assert disk.complete_as(chain.head, 0, session=0) == 0


@paired_act("stale-for-ever", "completion-form", "CRQ-F-83")
def completions_of_old_sessions_without_end(disk: PairedDisk) -> None:
    disk.strays = FLOOD


@paired_act("no-marker", "", "CRQ-F-65", Outcome.IGNORED)
def records_that_no_platform_takes(disk: PairedDisk) -> None:
    for marker in (0, 1, 0x81, 0xC0, 0xFF):
        assert disk.complete_as(disk.pending[0].head, 0, marker=marker) == H_PARAMETER


@paired_act("scribble-everything", "", "CRQ-F-66", Outcome.IGNORED)
def records_and_completions_overwritten(disk: PairedDisk) -> None:
    """What the front-end relies on must not be there."""
    assert disk.setup is not None
    disk.put(disk.setup.descriptors, b"\xee" * records.REQUEST * disk.setup.size)
    disk.put(disk.setup.device_area, b"\xee" * records.COMPLETION * disk.setup.size)


# --- announcements of what announces itself ---


@paired_act("used-announced", "record-announced", "CRQ-F-88", Outcome.RESTARTED)
def used_of_a_paired_queue(disk: PairedDisk) -> None:
    disk.call(1)


@act("paired-credit", "credit-unowed", "CRQ-F-19", outcome=Outcome.RESTARTED, held=HELD, kind=Kind.PAIRED)
def credit_of_a_paired_queue(it: HostileServer, device: int) -> None:
    it.say_credit(device)
