# SPDX-License-Identifier: Apache-2.0
"""Plays acts against a front-end and holds what follows against the table.

A subject is a front-end with two adapters: one faces the hostile server, the other a server that keeps the rules.
"""

import itertools
from collections.abc import Callable
from typing import Any, Protocol

from virtio_crq.conformance.hostile.act import Act, Kind, Outcome, Stage
from virtio_crq.conformance.hostile.model import Disk, Entropy, Model
from virtio_crq.conformance.hostile.packedmodel import PackedDisk
from virtio_crq.conformance.hostile.pairedmodel import PairedDisk
from virtio_crq.conformance.hostile.pushedmodel import PushedDisk
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.message.session import PUSH
from virtio_crq.virtio import status

MODELS: dict[Kind, type[Model]] = {
    Kind.BLOCK: Disk,
    Kind.ENTROPY: Entropy,
    Kind.PACKED: PackedDisk,
    Kind.PUSHED: PushedDisk,
    Kind.PAIRED: PairedDisk,
}
WELL = (Outcome.IGNORED, Outcome.RESTARTED, Outcome.FAILED)  # the act's device goes on afterwards


class TrialFailed(Exception):
    """The front-end did not do what the clause says; the text says what was missing."""


class Subject(Protocol):
    """The front-end under test. Devices are those of the hostile adapter, by number."""

    def connect(self) -> None:
        """Meet the hostile server; called once, when its devices stand."""
        ...

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait, and let the front-end work meanwhile; TrialFailed names `what` did not come in bounded time."""
        ...

    def up(self, device: int) -> bool:
        """Whether the device can be used."""
        ...

    def stopped(self, device: int) -> bool:
        """Whether the device's driver was told that it is of no use."""
        ...

    def counted(self, rules: tuple[str, ...]) -> int:
        """How often one of the rules was counted, or logged, so far."""
        ...

    def begin(self, device: int) -> Any:
        """A read of the device, under way."""
        ...

    def ended(self, pending: Any) -> str | None:
        """None while it is under way; "" when it ended well, else the error."""
        ...

    def verify(self, *devices: int) -> None:
        """Write and read back through these devices and one of the other adapter; TrialFailed when that fails.

        A device that is on its way back is waited for. Whatever else says that all is well is asked, too.
        """
        ...


class Trial:
    """Acts against one subject, one after the other; `connected` says whether it has met the server."""

    def __init__(self, server: HostileServer, subject: Subject, first: int = 0, *, foreign: bool = False) -> None:
        """`foreign`: the drivers above the transport are not ours, and count nothing."""
        self.server = server
        self.subject = subject
        self.connected = False
        self.foreign = foreign
        self._numbers = itertools.count(first)
        self._other = next(self._numbers) + 1000  # plugged in first, but asked after the device of the act
        self._spare: dict[Kind, int] = {}  # devices that no act has spoilt yet
        self._good: int | None = None  # the device that the last act left well, as was seen
        server.plug(PushedDisk(self._other) if server.features & PUSH else Disk(self._other))

    def run(self, act: Act) -> None:
        """TrialFailed when something is missing. What the act spoilt is replaced for the next."""
        # What a device does at its bring-up is counted before the device is known to be there.
        before = self.subject.counted(act.rules) if act.stage is Stage.BRING_UP and self.connected else 0
        device = self._device(act)
        self._good = None
        try:
            self._play(act, device, before)
        finally:
            self.server.behave()
        self._good = device if act.outcome in WELL else None
        if act.outcome in (Outcome.STOPPED, Outcome.SURVIVED) or act.stage is Stage.BRING_UP:
            self._retire(act, device)

    # -- devices

    def _device(self, act: Act) -> int:
        """The device of the act: a fresh one to be brought up by it, or one that is up."""
        if act.stage is Stage.BRING_UP:
            number = next(self._numbers)
            with self.server.lock:
                act.do(self.server, number)
                self.server.plug(_model(act.kind, number))
            self._connect()
            return number
        if act.kind not in self._spare:
            self._spare[act.kind] = next(self._numbers)
            self.server.plug(_model(act.kind, self._spare[act.kind]))
        self._connect()
        number = self._spare[act.kind]
        if number != self._good:
            self._until(lambda: self.subject.up(number), f"device {number}")
        return number

    def _connect(self) -> None:
        if not self.connected:
            self.connected = True
            self.subject.connect()

    def _retire(self, act: Act, device: int) -> None:
        self._spare = {kind: number for kind, number in self._spare.items() if number != device}
        if device in self.server.models:
            self.server.unplug(device)

    # -- an act and what has to follow

    def _play(self, act: Act, device: int, before: int) -> None:
        if act.stage is Stage.BRING_UP:
            self._expect(act, device, before, 0, [])
            return
        before = self.subject.counted(act.rules)
        sessions = self.server.sessions
        model = self.server.models[device]
        pending = self._held(act, model)
        with self.server.lock:
            act.do(self.server, device)
            if act.stage is not Stage.RUNNING:
                self.server.bounce()
        pending += [self.subject.begin(device) for _ in range(act.asks)]
        self._expect(act, device, before, sessions, pending)

    def _held(self, act: Act, model: Model) -> list[Any]:
        if not act.held:
            return []
        model.hold = True
        # Tools of foreign systems may read one after the other, however many are started.
        count = 1 if self.foreign else act.held
        pending = [self.subject.begin(model.number) for _ in range(count)]
        self._until(lambda: len(model.pending) >= count, f"{count} requests in flight")
        return pending

    def _expect(self, act: Act, device: int, before: int, sessions: int, pending: list[Any]) -> None:
        if act.stage is Stage.BRING_UP:
            self._until(lambda: any(each.device == device for each in self.server.heard), f"word of device {device}")
        if act.rules and not (act.type_counts and self.foreign):
            self._until(lambda: self.subject.counted(act.rules) > before, f"count of {' or '.join(act.rules)}")
        resets = self.server.models[device].resets if device in self.server.models else 0
        if act.outcome is Outcome.STOPPED:
            self._until(lambda: self.subject.stopped(device), f"stop of device {device}")
            self._ended(pending, well=False)
            if "CRQ-F-19" in act.clauses:
                self._until(lambda: self._reset(device, resets), f"reset of device {device}")
        elif act.outcome is Outcome.FAILED:
            self.server.behave()
            self.server.bounce()
        if act.outcome in (Outcome.RESTARTED, Outcome.FAILED) or act.stage in (Stage.GREETING, Stage.RESUMING):
            self._until(lambda: self.server.sessions > sessions and bool(self.server.end.session), "new session")
        well = act.outcome in WELL
        self.server.behave()
        if well:
            self._ended(pending, well=True)
        self.subject.verify(*([device] if well else []), self._other)
        if act.outcome is Outcome.IGNORED and act.stage is Stage.RUNNING and self.server.sessions != sessions:
            raise TrialFailed("the session was replaced; it had to go on")

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        """As the subject's, while the server lives: a hostile server that breaks itself proves nothing."""

        def both() -> bool:
            if self.server.error is not None:
                raise TrialFailed(f"the hostile server has failed itself: {self.server.error!r}")
            return holds()

        self.subject.until(both, what)

    def _reset(self, device: int, resets: int) -> bool:
        return self.server.models[device].resets > resets or not self.server.back_end.status(device) & status.DRIVER

    def _ended(self, pending: list[Any], *, well: bool) -> None:
        for each in pending:
            self._until(lambda each=each: self.subject.ended(each) is not None, "end of a request")  # type: ignore[misc]
            said = self.subject.ended(each)
            if well and said:
                raise TrialFailed(f"a request in flight ended with: {said}")
            if not well and not said and each is pending[-1]:
                raise TrialFailed("a request of a device that stopped ended well")


def _model(kind: Kind, number: int) -> Model:
    return MODELS[kind](number)
