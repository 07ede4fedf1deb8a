# SPDX-License-Identifier: Apache-2.0
"""Acts on a pushed queue: what a device may not say in a completion, and not do to the records."""

from collections.abc import Callable

from virtio_crq.conformance.hostile.act import Kind, Outcome, Stage, act
from virtio_crq.conformance.hostile.pushedmodel import PushedDisk
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.virtio import records

OnDisk = Callable[[PushedDisk], None]
HELD = 2


def pushed_act(
    name: str, rules: str, clauses: str, outcome: Outcome = Outcome.STOPPED, stage: Stage = Stage.RUNNING
) -> Callable[[OnDisk], OnDisk]:
    """Two requests are in flight, fetched and not served."""

    def enter(do: OnDisk) -> OnDisk:
        @act(f"pushed-{name}", rules, clauses, stage, outcome, held=HELD, kind=Kind.PUSHED)
        def on_device(it: HostileServer, device: int) -> None:
            model = it.models[device]
            assert isinstance(model, PushedDisk)
            do(model)

        return do

    return enter


def _completion_act(name: str, rule: str, clause: str, **other: int) -> None:
    """A completion that is right but for one field."""

    @pushed_act(name, rule, clause)
    def one_field_is_wrong(disk: PushedDisk) -> None:
        chain = disk.pending[0]
        disk.put_completion(disk.used, chain.head, disk.perform(chain), **other)
        disk.call(disk.used + 1)


_completion_act("no-marker", "completion-form", "CRQ-F-65", marker=0)
_completion_act("marker-of-an-event", "completion-form", "CRQ-F-65", marker=0xFF)
_completion_act("another-device", "completion-form", "CRQ-F-65", device=0xFFFF)
_completion_act("another-queue", "completion-form", "CRQ-F-65", queue=1)
_completion_act("another-session", "completion-form", "CRQ-F-65", session=0)
_completion_act("flags", "completion-form", "CRQ-F-65", flags=0xFF)
_completion_act("tail-without-flag", "completion-form", "CRQ-F-65", flags=0, tail=1)
_completion_act("length-most", "used-length", "CRQ-F-66", written=0xFFFFFFFF)


def _head_act(name: str, head: int) -> None:
    @pushed_act(name, "used-unknown", "CRQ-F-66")
    def head_beyond_the_queue(disk: PushedDisk) -> None:
        disk.put_completion(disk.used, head, 1)
        disk.call(disk.used + 1)


_head_act("beyond-queue", 0x8000)
_head_act("most", 0xFFFF)


@pushed_act("nothing-written", "completion-form", "CRQ-F-65")
def completion_that_was_never_written(disk: PushedDisk) -> None:
    disk.put(disk.place(disk.used), bytes(records.COMPLETION))
    disk.call(disk.used + 1)


@pushed_act("length", "used-length", "CRQ-F-66")
def one_byte_more_than_the_room(disk: PushedDisk) -> None:
    chain = disk.pending[0]
    disk.put_completion(disk.used, chain.head, chain.room + 1)
    disk.call(disk.used + 1)


@pushed_act("never-offered", "used-unknown", "CRQ-F-66")
def head_that_was_not_offered(disk: PushedDisk) -> None:
    assert disk.setup is not None
    taken = {chain.head + step for chain in disk.pending for step in range(3)}
    head = next(head for head in reversed(range(disk.setup.size)) if head not in taken)
    disk.put_completion(disk.used, head, 1)
    disk.call(disk.used + 1)


@pushed_act("twice", "used-unknown", "CRQ-F-66")
def one_head_twice(disk: PushedDisk) -> None:
    chain = disk.pending[0]
    length = disk.perform(chain)
    disk.put_completion(disk.used, chain.head, length)
    disk.put_completion(disk.used + 1, chain.head, length)
    disk.call(disk.used + 2)


def _position_act(name: str, moved: int) -> None:
    @pushed_act(name, "used-ahead", "CRQ-F-19", Outcome.RESTARTED)
    def position_of_nothing(disk: PushedDisk) -> None:
        disk.call(disk.used + moved)


_position_act("position-ahead", HELD + 1)
_position_act("position-backwards", -1)


@pushed_act("tail-unasked", "completion-tail", "CRQ-F-65")
def last_byte_that_was_not_asked_for(disk: PushedDisk) -> None:
    """Only a front-end that cannot look into its driver's buffers does not ask."""
    chain = disk.pending[0]
    disk.put_completion(disk.used, chain.head, disk.perform(chain), flags=records.TAIL, tail=1)
    disk.call(disk.used + 1)


@pushed_act("scribble-everything", "", "CRQ-F-66", Outcome.IGNORED)
def records_and_completions_overwritten(disk: PushedDisk) -> None:
    """What the front-end relies on must not be there."""
    assert disk.setup is not None
    disk.put(disk.setup.descriptors, b"\xee" * records.REQUEST * disk.setup.size)
    disk.put(disk.setup.device_area, b"\xee" * records.COMPLETION * disk.setup.size)


@pushed_act("lost-over-everything", "", "CRQ-F-68", Outcome.IGNORED, Stage.RESUMING)
def everything_overwritten_by_a_device_that_goes(disk: PushedDisk) -> None:
    records_and_completions_overwritten(disk)


@pushed_act("lost-with-completions", "", "CRQ-F-68", Outcome.IGNORED, Stage.RESUMING)
def completions_left_behind_that_nobody_announced(disk: PushedDisk) -> None:
    for position, chain in enumerate(disk.pending):
        disk.put_completion(disk.used + position, chain.head, 0)
