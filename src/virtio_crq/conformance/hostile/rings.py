# SPDX-License-Identifier: Apache-2.0
"""Acts in a ring and by announcements: what a device may not write, and not say, of the requests it was given."""

from collections.abc import Callable
from contextlib import suppress

from virtio_crq.conformance.hostile.act import Kind, Outcome, act
from virtio_crq.conformance.hostile.model import Disk, Model
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.errors import PlatformError
from virtio_crq.message import codec
from virtio_crq.virtio import block, status

BURST = 40  # so many in a row that the front-end cannot answer each by itself
OnModel = Callable[[HostileServer, Model], None]


def ring_act(
    name: str, rules: str, clauses: str, outcome: Outcome = Outcome.STOPPED, held: int = 2
) -> Callable[[OnModel], OnModel]:
    """`held` requests are in flight, fetched and not served."""

    def enter(do: OnModel) -> OnModel:
        @act(name, rules, clauses, outcome=outcome, held=held)
        def on_device(it: HostileServer, device: int) -> None:
            do(it, it.models[device])

        return do

    return enter


def _say_used(model: Model, index: int) -> None:
    """Store the used index and announce it, as if all were well. The credit is home: nothing was completed yet."""
    model.put_index(index)
    model.call(model.used)


# --- used entries ---


@ring_act("used-never-offered", "used-unknown", "CRQ-F-28")
def head_that_was_not_offered(it: HostileServer, model: Model) -> None:
    taken = {chain.head for chain in model.pending}
    busy = {head + step for head in taken for step in range(4)}
    assert model.setup is not None
    free = next(head for head in reversed(range(model.setup.size)) if head not in busy)
    model.put_used(model.used, free, 1)
    _used_one(model)


@ring_act("used-beyond-queue", "used-unknown", "CRQ-F-28")
def head_beyond_the_queue(it: HostileServer, model: Model) -> None:
    assert model.setup is not None
    model.put_used(model.used, model.setup.size, 1)
    _used_one(model)


@ring_act("used-wide", "used-unknown", "CRQ-F-28")
def head_whose_low_half_is_right(it: HostileServer, model: Model) -> None:
    model.put_used(model.used, 0x10000 | model.pending[0].head, 1)
    _used_one(model)


@ring_act("used-most", "used-unknown", "CRQ-F-28")
def largest_head(it: HostileServer, model: Model) -> None:
    model.put_used(model.used, 0xFFFFFFFF, 1)
    _used_one(model)


@ring_act("used-twice", "used-unknown used-ahead", "CRQ-F-28")
def one_head_twice(it: HostileServer, model: Model) -> None:
    chain = model.pending[0]
    length = model.perform(chain)
    model.put_used(model.used, chain.head, length)
    model.put_used(model.used + 1, chain.head, length)
    model.put_index(model.used + 2)
    model.call(model.used + 2)


def _used_one(model: Model) -> None:
    model.put_index(model.used + 1)
    model.call(model.used + 1)


def _length_act(name: str, surplus: int | None) -> None:
    @ring_act(name, "used-length", "CRQ-F-28")
    def longer_than_the_room(it: HostileServer, model: Model) -> None:
        chain = model.pending[0]
        model.perform(chain)
        model.put_used(model.used, chain.head, 0xFFFFFFFF if surplus is None else chain.room + surplus)
        _used_one(model)


_length_act("used-length", 1)
_length_act("used-length-most", None)


# --- the used index ---


def _index_act(name: str, moved: int) -> None:
    @ring_act(name, "used-ahead", "CRQ-F-19")
    def index_beyond_what_is_in_flight(it: HostileServer, model: Model) -> None:
        model.put_index(model.used + moved)
        model.call(model.used)


_index_act("index-ahead", 40)
_index_act("index-far", 0x7FFF)
_index_act("index-backwards", -1)


# --- announcements ---


def _position_act(name: str, moved: int) -> None:
    @ring_act(name, "used-ahead", "CRQ-F-19", Outcome.RESTARTED)
    def position_of_nothing(it: HostileServer, model: Model) -> None:
        model.call(model.used + moved)


_position_act("position-ahead", 1000)
_position_act("position-unwritten", 1)
_position_act("position-backwards", -1)
_position_act("position-far", 0x8000)


@ring_act("used-without-credit", "credit-overrun", "CRQ-F-36", Outcome.RESTARTED, held=0)
def announcements_without_credit(it: HostileServer, model: Model) -> None:
    """Nothing is in flight, so that no credit comes back between two of them, however quick the front-end is."""
    for _ in range(BURST):
        model.call(model.used)


@ring_act("credit-unowed", "credit-unowed", "CRQ-F-36", Outcome.RESTARTED, held=0)
def credits_that_were_not_away(it: HostileServer, model: Model) -> None:
    for _ in range(BURST):
        it.say_credit(model.number)


@ring_act("credit-unowed-by-used", "credit-unowed credit-overrun", "CRQ-F-36", Outcome.RESTARTED, held=0)
def announcements_that_return_what_was_not_lent(it: HostileServer, model: Model) -> None:
    for _ in range(BURST):
        model.call(model.used, credit=1)


# --- memory that the device can write, though it should not ---


@ring_act("scribble-rings", "", "CRQ-F-28", Outcome.IGNORED)
def descriptors_overwritten(it: HostileServer, model: Model) -> None:
    """The driver's own parts of the ring are in the device's reach; what it relies on must not be there."""
    assert model.setup is not None
    with suppress(PlatformError):  # a front-end may map them so that they cannot be written: all the better
        model.put(model.setup.descriptors, b"\xff" * 16 * model.setup.size)


@ring_act("scribble-used-flags", "", "CRQ-F-28", Outcome.IGNORED, held=1)
def flags_nobody_defined(it: HostileServer, model: Model) -> None:
    assert model.setup is not None
    model.put(model.setup.device_area, b"\xfe\xff")


# --- what a device says of itself ---


@ring_act("needs-reset", "device-needs-reset", "CRQ-F-41")
def device_gives_up(it: HostileServer, model: Model) -> None:
    it.back_end.needs_reset(model.number, None)


@ring_act("storm-needs-reset", "device-needs-reset", "CRQ-F-41")
def device_gives_up_often(it: HostileServer, model: Model) -> None:
    bits = status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK | status.DRIVER_OK | status.DEVICE_NEEDS_RESET
    for generation in range(300):
        it.say(codec.EventConfig(bits, generation), model.number)


@ring_act("removed", "device-removed", "CRQ-F-41")
def device_taken_away(it: HostileServer, model: Model) -> None:
    it.unplug(model.number)


@ring_act("removed-late-used", "device-removed", "CRQ-F-41")
def announcement_after_the_removal(it: HostileServer, model: Model) -> None:
    it.unplug(model.number)
    for _ in range(BURST):
        model.call(model.used + 1)


# --- what the device type's driver has to see ---


@act("status-unknown", "status-unknown", "CRQ-F-42", outcome=Outcome.STOPPED, held=2, type_rule=True)
def status_nobody_defined(it: HostileServer, device: int) -> None:
    model = it.models[device]
    assert isinstance(model, Disk)
    model.status, model.hold = 0x77, False


@act("used-length-short", "used-length-short", "CRQ-F-42", outcome=Outcome.STOPPED, held=2, type_rule=True)
def success_without_data(it: HostileServer, device: int) -> None:
    model = it.models[device]
    chain = model.pending[0]
    model.put(chain.buffers[-1].address, bytes([block.S_OK]))
    model.put_used(model.used, chain.head, 1)
    _used_one(model)


@act("entropy-empty", "entropy-empty", "CRQ-F-42", outcome=Outcome.STOPPED, held=1, kind=Kind.ENTROPY, type_rule=True)
def no_entropy(it: HostileServer, device: int) -> None:
    model = it.models[device]
    model.put_used(model.used, model.pending[0].head, 0)
    _used_one(model)
