# SPDX-License-Identifier: Apache-2.0
"""The driver half of a connection: conversations with the device side, written as generators.

def identify(device):
    info = yield device, GetDeviceInfo()       # -> DeviceInfo, or DeviceFault is thrown in
    return info.device_id

outcome = front_end.start(identify(3))         # feed the bus until outcome.done, then outcome.result()
"""

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from virtio_crq.message.bus import Bus, Terms
from virtio_crq.message.layout import Body
from virtio_crq.message.message import Message

T = TypeVar("T")
Conversation = Generator[tuple[int | None, Body], Any, T]  # yields (device or None for the bus, request)


class Outcome(Generic[T]):
    """What a conversation will have come to. `PartnerLost` when the session ends under it."""

    done: bool

    def result(self) -> T:
        """The value returned, or raises what the conversation raised; only once `done`."""
        raise NotImplementedError

    def when_done(self, callback: Callable[["Outcome[T]"], None]) -> None:
        """Call back once, at once when already done."""
        raise NotImplementedError


class FrontEnd:
    """Sans-I/O: fed by its bus, asks through its bus. At most one request per device is outstanding; others wait."""

    def __init__(
        self,
        bus: Bus,
        *,
        revision: int = 1,
        ready: Callable[[Terms], None] | None = None,  # HELLO is through
        config_changed: Callable[[int, int], None] | None = None,  # device, its status now
        device_changed: Callable[[int, bool], None] | None = None,  # device, present
        failed: Callable[[Exception], None] | None = None,  # HELLO was refused; the connection is of no use
    ) -> None:
        raise NotImplementedError

    @property
    def terms(self) -> Terms | None:
        raise NotImplementedError

    def opened(self) -> None:
        """The bus is initialised: HELLO goes out."""
        raise NotImplementedError

    def receive(self, message: Message) -> None:
        """Handle one control message; stale ones are counted in `refused` and dropped."""
        raise NotImplementedError

    def lost(self, reason: str) -> None:
        """The partner is gone: outstanding conversations end with PartnerLost."""
        raise NotImplementedError

    def start(self, conversation: Conversation[T]) -> Outcome[T]:
        """Run `conversation` until it needs an answer; goes on in `receive()`."""
        raise NotImplementedError
