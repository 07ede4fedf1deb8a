# SPDX-License-Identifier: Apache-2.0
"""Acts in a packed ring: what a device may not write into it, and not say of it."""

import struct
from collections.abc import Callable

from virtio_crq.conformance.hostile.act import Kind, Outcome, Stage, act
from virtio_crq.conformance.hostile.packedmodel import PackedDisk
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.virtio.splitring import QUEUE_SIZE_MAX

OnDisk = Callable[[PackedDisk], None]


def packed_act(
    name: str,
    rules: str,
    clauses: str,
    outcome: Outcome = Outcome.STOPPED,
    stage: Stage = Stage.RUNNING,
) -> Callable[[OnDisk], OnDisk]:
    """Two requests are in flight, fetched and not served."""

    def enter(do: OnDisk) -> OnDisk:
        @act(f"packed-{name}", rules, clauses, stage, outcome, held=2, kind=Kind.PACKED)
        def on_device(it: HostileServer, device: int) -> None:
            model = it.models[device]
            assert isinstance(model, PackedDisk)
            do(model)

        return do

    return enter


def _say(disk: PackedDisk) -> None:
    disk.call(disk.used + disk.spans[disk.pending[0].head])


def _id_act(name: str, head: int) -> None:
    @packed_act(name, "used-unknown", "CRQ-F-28")
    def id_that_is_not_in_flight(disk: PackedDisk) -> None:
        disk.put_used(disk.used, head, 1)
        _say(disk)


_id_act("used-beyond-queue", QUEUE_SIZE_MAX - 1)
_id_act("used-most", 0xFFFF)


@packed_act("used-never-offered", "used-unknown", "CRQ-F-28")
def id_that_was_not_offered(disk: PackedDisk) -> None:
    assert disk.setup is not None
    taken = {chain.head for chain in disk.pending}
    disk.put_used(disk.used, next(name for name in reversed(range(disk.setup.size)) if name not in taken), 1)
    _say(disk)


@packed_act("used-twice", "used-unknown", "CRQ-F-28")
def one_id_twice(disk: PackedDisk) -> None:
    chain = disk.pending[0]
    span = disk.spans[chain.head]
    length = disk.perform(chain)
    disk.put_used(disk.used + span, chain.head, length)
    disk.put_used(disk.used, chain.head, length)
    disk.call(disk.used + 2 * span)


def _length_act(name: str, surplus: int | None) -> None:
    @packed_act(name, "used-length", "CRQ-F-28")
    def longer_than_the_room(disk: PackedDisk) -> None:
        chain = disk.pending[0]
        disk.perform(chain)
        disk.put_used(disk.used, chain.head, 0xFFFFFFFF if surplus is None else chain.room + surplus)
        _say(disk)


_length_act("used-length", 1)
_length_act("used-length-most", None)


@packed_act("position-unwritten", "used-ahead", "CRQ-F-51")
def position_of_descriptors_that_are_not_used(disk: PackedDisk) -> None:
    _say(disk)


@packed_act("position-between", "used-ahead", "CRQ-F-51")
def position_beyond_the_one_that_is_used(disk: PackedDisk) -> None:
    first, second = disk.pending
    disk.put_used(disk.used, first.head, disk.perform(first))
    disk.call(disk.used + disk.spans[first.head] + disk.spans[second.head])


def _position_act(name: str, moved: int) -> None:
    @packed_act(name, "used-ahead", "CRQ-F-19", Outcome.RESTARTED)
    def position_of_nothing(disk: PackedDisk) -> None:
        disk.call(disk.used + moved)


_position_act("position-ahead", 1000)
_position_act("position-backwards", -1)


@packed_act("scribble-descriptors", "", "CRQ-F-28", Outcome.IGNORED)
def descriptors_overwritten(disk: PackedDisk) -> None:
    """Everything but the flags of all descriptors: what the driver relies on must not be there."""
    assert disk.setup is not None
    for position in range(disk.setup.size):
        disk.put(disk.place(position), b"\xee" * 14)


@packed_act("scribble-wish", "", "CRQ-F-28", Outcome.IGNORED)
def wish_nobody_defined(disk: PackedDisk) -> None:
    assert disk.setup is not None
    disk.put(disk.setup.device_area, struct.pack("<HH", 0xFFFF, 0xFFFF))


@packed_act("lost-between-bodies-and-flags", "", "CRQ-F-52", Outcome.IGNORED, Stage.RESUMING)
def half_a_batch_is_left_behind(disk: PackedDisk) -> None:
    """The second request is used, the first one's flags are missing: nothing of it was ever visible."""
    first, second = disk.pending
    disk.put_used(disk.used + disk.spans[first.head], second.head, disk.perform(second))


@packed_act("lost-over-everything", "", "CRQ-F-52", Outcome.IGNORED, Stage.RESUMING)
def whole_ring_overwritten_by_a_device_that_goes(disk: PackedDisk) -> None:
    assert disk.setup is not None
    for position in range(disk.setup.size):
        disk.put(disk.place(position), struct.pack("<QIHH", 0, 1, 0xFFFF, 0x4000))
