# SPDX-License-Identifier: Apache-2.0
"""A slot of one's own ring is read once, between its header's acquire and the release that gives it back."""

import importlib.util
import os
import sys
from types import ModuleType

import pytest

from virtio_crq.crq import channel as compiled
from virtio_crq.crq.framing import Announcement, announce
from virtio_crq.platform.channel import AVAIL, NOTHING, USED


def source() -> ModuleType:
    """The channel's source as a module of its own: it takes any port."""
    path = os.path.join(os.path.dirname(str(compiled.__file__)), "channel.py")
    spec = importlib.util.spec_from_file_location("interpreted_channel", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Memory:
    """A port's loads and stores over plain bytes, in the order they were made."""

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)
        self.steps: list[tuple[str, int]] = []

    def acquire8(self, at: int) -> int:
        self.steps.append(("acquire8", at))
        return self.bytes[at]

    def load8(self, at: int) -> int:
        self.steps.append(("load8", at))
        return self.bytes[at]

    def load64be(self, at: int) -> int:
        self.steps.append(("load64be", at))
        return int.from_bytes(self.bytes[at : at + 8], "big")

    def store8(self, at: int, value: int) -> None:
        self.steps.append(("store8", at))
        self.bytes[at] = value

    def release8(self, at: int, value: int) -> None:
        """From here on the slot is the hypervisor's, and it uses it at once."""
        self.steps.append(("release8", at))
        assert value == 0
        self.bytes[at : at + 16] = b"\x80" + b"\xee" * 15


@pytest.mark.clause("CRQ-D-4", "CRQ-F-3")
@pytest.mark.parametrize("serving", [True, False])
def test_an_entry_is_copied_before_its_slot_is_free_and_not_read_afterwards(serving: bool) -> None:
    memory = Memory(64)
    channel = source().CrqChannel(memory, 0, 64, serving)
    channel.session = 7
    kind = AVAIL if serving else USED
    entry = announce(Announcement(kind, 3, 1, 500, 1), 7)
    memory.bytes[:16] = entry
    assert channel.poll() == kind
    assert memory.steps == [("acquire8", 0), ("load64be", 0), ("load64be", 8), ("release8", 0)]
    assert (channel.device, channel.queue, channel.position, channel.credit) == (3, 1, 500, 1)
    assert channel.entry() == entry, "the slot holds the next entry by now"
    memory.steps.clear()
    assert channel.poll() == NOTHING
    assert memory.steps == [("acquire8", 16)], "an empty slot is looked at by its header alone"
