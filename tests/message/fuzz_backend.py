# SPDX-License-Identifier: Apache-2.0
"""Invariant: whatever messages a driver sends, the back end raises nothing, answers each request at most once, and
refuses by rules that are in the table.

    python tests/message/fuzz_backend.py -max_total_time=600       (needs atheris)
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from memorybus import MemoryBus, RecordingDevice  # type: ignore[import-not-found, unused-ignore]

from virtio_crq.message import codec
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.codec import message_of
from virtio_crq.message.message import Message, token
from virtio_crq.virtio.features import MANDATORY, to_blocks

HELLO = codec.Hello(codec.HELLO_MAGIC, 1, 1, 0, 0, 4096, 256, 8, 2, 0, 0, 0)
MESSAGES = (0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x40, 0x41, 0x80, 0x81, 0x82, 0xC0)


def one_input(data: bytes) -> None:
    """First byte: how far a good driver went before. Then messages: flags, id, device, length, payload."""
    if not data:
        return
    bus = MemoryBus()
    back = BackEnd(bus, {0: RecordingDevice(slow=bool(data[0] & 8)), 1: RecordingDevice()})
    back.opened()
    prepare(back, data[0] & 3)
    session = bus.terms.session if bus.terms else 0
    at, sequence = 1, 0
    while at + 4 <= len(data):
        flags, kind, device, length = data[at : at + 4]
        payload = data[at + 4 : at + 4 + length % 80]
        at += 4 + length % 80
        sequence = sequence + 1 & 0xFF
        msg_id = kind if flags & 4 else MESSAGES[kind % len(MESSAGES)]
        mark = token(session, sequence) if not flags & 8 else kind << 8 | sequence
        before = len(bus.sent)
        back.receive(
            Message(msg_id, device % 3, payload, bus=bool(flags & 1), response=flags & 0x30 == 0x30, token=mark)
        )
        answers = [sent for sent in list(bus.sent)[before:] if sent.response and sent.token == mark]
        assert len(answers) <= 1
    back.lost("over")
    assert all(isinstance(rule, str) and rule for rule in back.refused)


def prepare(back: BackEnd, steps: int) -> None:
    if steps:
        back.receive(message_of(HELLO))
    if steps > 1:
        features = to_blocks(MANDATORY)
        for bits in (1, 3):
            back.receive(message_of(codec.SetDeviceStatus(bits), 0, token(1, bits)))
        back.receive(message_of(codec.SetDriverFeatures(0, len(features), features), 0, token(1, 2)))
        back.receive(message_of(codec.SetDeviceStatus(11), 0, token(1, 3)))
    if steps > 2:
        back.receive(message_of(codec.SetVqueue(0, 0, 64, 0, 0x4000, 0x5000, 0x6000), 0, token(1, 4)))
        back.receive(message_of(codec.SetDeviceStatus(15), 0, token(1, 5)))
        assert back.status(0) == 15, "a good driver gets there"


def main() -> None:
    import atheris  # type: ignore[import-not-found, unused-ignore]

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
