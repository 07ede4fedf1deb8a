# SPDX-License-Identifier: Apache-2.0
"""The C header of the wire against the codec: every body's size and offsets, every number, byte for byte."""

import shutil
import subprocess
from pathlib import Path

import pytest

from virtio_crq.crq import framing, words
from virtio_crq.message import codec
from virtio_crq.message.layout import Body, Fixed, Tail
from virtio_crq.message.session import PUSH
from virtio_crq.papr.entry import Header, InitializationCode, TransportEvent
from virtio_crq.virtio import records

SOURCE = Path(__file__).parents[2] / "linux" / "virtio_crq"

# Structure, body, and how many elements of its tail the structure has.
STRUCTURES: list[tuple[str, type[Body], int]] = [
    ("vcrq_hello", codec.Hello, 0),
    ("vcrq_welcome", codec.Welcome, 0),
    ("vcrq_device_info", codec.DeviceInfo, 0),
    ("vcrq_features", codec.DeviceFeatures, 4),
    ("vcrq_features", codec.SetDriverFeatures, 4),
    ("vcrq_get_config", codec.GetConfig, 0),
    ("vcrq_config", codec.Config, 0),
    ("vcrq_config", codec.SetConfig, 0),
    ("vcrq_config", codec.ConfigSet, 0),
    ("vcrq_vqueue", codec.Vqueue, 0),
    ("vcrq_set_vqueue", codec.SetVqueue, 0),
    ("vcrq_resume_device", codec.ResumeDevice, 4),
    ("vcrq_resume_vqueue", codec.ResumeVqueue, 0),
    ("vcrq_resumed", codec.DeviceResumed, 0),
    ("vcrq_resumed", codec.VqueueResumed, 0),
    ("vcrq_announcement", codec.EventAvail, 0),
    ("vcrq_announcement", codec.EventUsed, 0),
    ("vcrq_refused", codec.Refused, 0),
    ("vcrq_get_devices", codec.GetDevices, 0),
    ("vcrq_devices", codec.Devices, 0),
    ("vcrq_event_device", codec.EventDevice, 0),
]

RECORDS = {
    "vcrq_record": "marker flags head device queue session place inlined",
    "vcrq_completion": "marker flags head device queue session written tail reserved",
}

NUMBERS = {
    "VCRQ_PUSH": PUSH,
    "VCRQ_RECORD_MARKER": records.MARKER,
    "VCRQ_RECORD_INLINED": records.INLINED,
    "VCRQ_RECORD_TAIL": records.TAIL,
    "VCRQ_RECORD_WRITE": records.WRITE,
    "VCRQ_RECORD_LIST": records.LIST,
    "VCRQ_INLINED_MOST": records.INLINED_MOST,
    "VCRQ_RECORD_ADDRESS_BITS": records.ADDRESS_BITS,
    **{
        f"VCRQ_{name}": getattr(codec, name)
        for name in (
            "GET_DEVICE_INFO",
            "GET_DEVICE_FEATURES",
            "SET_DRIVER_FEATURES",
            "GET_CONFIG",
            "SET_CONFIG",
            "GET_DEVICE_STATUS",
            "SET_DEVICE_STATUS",
            "GET_VQUEUE",
            "SET_VQUEUE",
            "RESET_VQUEUE",
            "GET_SHM",
            "RESUME_DEVICE",
            "RESUME_VQUEUE",
            "GET_IDENTITY",
            "EVENT_CONFIG",
            "EVENT_AVAIL",
            "EVENT_USED",
            "REFUSED",
            "GET_DEVICES",
            "PING",
            "HELLO",
            "EVENT_DEVICE",
            "CREDIT",
            "HELLO_MAGIC",
            "REVISION",
            "CREDIT_AVAIL",
            "CREDIT_USED",
            "CONFIG_PIECE",
        )
    },
    "VCRQ_MESSAGE_MIN": codec.MAX_MESSAGE_MIN,
    "VCRQ_DEVICE_READY": codec.DeviceBusState.READY,
    "VCRQ_DEVICE_REMOVED": codec.DeviceBusState.REMOVED,
    "VCRQ_HEADER_FREE": Header.FREE,
    "VCRQ_HEADER_COMMAND": Header.COMMAND,
    "VCRQ_HEADER_INIT": Header.INITIALIZATION,
    "VCRQ_HEADER_EVENT": Header.TRANSPORT_EVENT,
    "VCRQ_INIT_CALL": InitializationCode.INITIALIZE,
    "VCRQ_INIT_COMPLETE": InitializationCode.COMPLETE,
    "VCRQ_EVENT_FAILED": TransportEvent.PARTNER_FAILED,
    "VCRQ_EVENT_DEREGISTERED": TransportEvent.PARTNER_DEREGISTERED,
    "VCRQ_EVENT_TERMINATED": TransportEvent.PARTNER_TERMINATED,
    "VCRQ_EVENT_SUSPENDED": TransportEvent.PARTNER_SUSPENDED,
    "VCRQ_FLAG_RESPONSE": framing.RESPONSE_BIT,
    "VCRQ_FLAG_BUS": framing.BUS_BIT,
    "VCRQ_BODY_SHIFT": framing.BODY_SHIFT,
    "VCRQ_BODY_INLINE": framing.INLINE,
    "VCRQ_BODY_AREA": framing.AREA,
    "VCRQ_BODY_HELLO": framing.HELLO_BODY,
    "VCRQ_INLINE_MAX": framing.INLINE_LIMIT,
    "VCRQ_SLOT_BYTES": framing.SLOT_SIZE,
}


def fields(body: type[Body], elements: int) -> list[tuple[str, int, int]]:
    """Name, offset and size of each field that the structure has."""
    found, at = [], 0
    for name, kind in body.wire():
        size = kind.size if isinstance(kind, Fixed) else kind.width * elements
        if not (isinstance(kind, Tail) and not elements):
            found.append((name, at, size))
        at += size
    return found


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What a C compiler makes of the header."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed, as for the engine"
    rows = []
    for structure, body, elements in STRUCTURES:
        rows.append((f"{structure} {body.__name__}", f"sizeof(struct {structure})"))
        for name, _, _ in fields(body, elements):
            member = f"((struct {structure} *)0)->{name}"
            row = f"{structure} {body.__name__} {name}"
            rows.append((f"{row} at", f"offsetof(struct {structure}, {name})"))
            rows.append((f"{row} size", f"sizeof({member})"))
    for structure, members in RECORDS.items():
        rows.append((structure, f"sizeof(struct {structure})"))
        for name in members.split():
            rows.append((f"{structure} {name} at", f"offsetof(struct {structure}, {name})"))
            rows.append((f"{structure} {name} size", f"sizeof(((struct {structure} *)0)->{name})"))
    rows += [(name, name) for name in NUMBERS]
    lines = "\n".join(f'\tprintf("%s=%llu\\n", "{label}", (unsigned long long)({value}));' for label, value in rows)
    place = tmp_path_factory.mktemp("wire")
    source = place / "wire.c"
    internal = "#define VCRQ_SLOT_BYTES 4096"
    assert "#define VCRQ_SLOT_BYTES		SZ_4K" in (SOURCE / "virtio_crq.h").read_text()
    source.write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "wire.h"\n{internal}\n'
        f"int main(void)\n{{\n{lines}\n\treturn 0;\n}}\n"
    )
    words = [compiler, "-Wall", "-Werror", "-I", str(SOURCE), str(source), "-o", str(place / "wire")]
    subprocess.run(words, check=True)
    said = subprocess.run([place / "wire"], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in (line.rsplit("=", 1) for line in said.splitlines())}


@pytest.mark.parametrize(("structure", "body", "elements"), STRUCTURES, ids=lambda value: getattr(value, "NAME", None))
def test_a_structure_lies_as_the_codec_lays_it(
    printed: dict[str, int], structure: str, body: type[Body], elements: int
) -> None:
    label = f"{structure} {body.__name__}"
    expected = fields(body, elements)
    assert printed[label] == sum(size for _, _, size in expected)
    for name, at, size in expected:
        assert (printed[f"{label} {name} at"], printed[f"{label} {name} size"]) == (at, size), name


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_the_codecs(printed: dict[str, int], name: str) -> None:
    assert printed[name] == NUMBERS[name]


@pytest.mark.parametrize(
    ("structure", "table", "size"),
    [
        ("vcrq_record", records.REQUEST_FIELDS, records.REQUEST),
        ("vcrq_completion", records.COMPLETION_FIELDS, records.COMPLETION),
    ],
    ids=["request", "completion"],
)
def test_a_record_lies_as_the_specification_has_it(
    printed: dict[str, int], structure: str, table: tuple[tuple[int, int, str, str], ...], size: int
) -> None:
    assert printed[structure] == size
    for first, last, name, _ in table:
        if name == "length" and structure == "vcrq_record":
            continue  # with the address, one word
        member, width = ("place", 8) if name == "address" else (name, last - first + 1)
        assert (printed[f"{structure} {member} at"], printed[f"{structure} {member} size"]) == (first, width), name


def test_the_words_of_announcements_are_the_channels() -> None:
    text = (SOURCE / "ring.h").read_text()
    for name in ("AVAIL", "USED", "CREDIT"):
        value = getattr(words, f"{name}_WORD")
        assert f"#define VCRQ_{name}_WORD" in text
        assert f"{value:#010x}U" in text
