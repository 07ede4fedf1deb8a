# SPDX-License-Identifier: Apache-2.0
"""The front-end negotiates in order, takes no more than it uses, and says in one line what is wrong with a back-end."""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from smallserver import ACCESS_PLATFORM, CONFIG, EVENT_IDX, MQ, PROTOCOL_FEATURES, REPLY_ACK, VERSION_1, SmallServer

from virtio_crq.errors import DeviceFault, PartnerLost, UsageError, VirtioCrqError
from virtio_crq.vhostuser.backend import Backend, RingPlace
from virtio_crq.vhostuser.memory import SharedMemory

DISK = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "blk.sock"


@pytest.fixture
def server(path: Path) -> Iterator[SmallServer]:
    server = SmallServer(path, bytearray(DISK))
    yield server
    server.close()


def started(path: Path) -> None:
    """Everything up to a running ring, and its end."""
    backend = Backend(path, patience=2.0)
    memory = SharedMemory(1 << 16)
    eventfds = [os.eventfd(0), os.eventfd(0)]
    try:
        backend.share(memory)
        backend.start_ring(0, RingPlace(4, 0, 64, 128), memory, *eventfds)
        backend.stop_ring(0)
    finally:
        for each in eventfds:
            os.close(each)
        memory.close()
        backend.close()


def test_a_ring_is_started_in_the_order_that_the_protocol_wants(path: Path, server: SmallServer) -> None:
    started(path)
    assert server.asked == [
        "GET_FEATURES", "GET_PROTOCOL_FEATURES", "SET_PROTOCOL_FEATURES", "GET_QUEUE_NUM", "SET_OWNER", "SET_FEATURES",
        "GET_CONFIG", "SET_MEM_TABLE", "SET_VRING_NUM", "SET_VRING_BASE", "SET_VRING_ADDR", "SET_VRING_CALL",
        "SET_VRING_KICK", "SET_VRING_ENABLE", "GET_VRING_BASE",
    ]  # fmt: skip


def test_only_features_that_are_used_are_taken(path: Path, server: SmallServer) -> None:
    started(path)
    assert server.acked & ~server.features == 0
    assert server.acked & (VERSION_1 | EVENT_IDX | PROTOCOL_FEATURES) == VERSION_1 | EVENT_IDX | PROTOCOL_FEATURES
    assert server.acked & ACCESS_PLATFORM == 0
    assert server.acked_protocol == MQ | REPLY_ACK | CONFIG


def test_a_back_end_without_acknowledgements_and_queues_to_count_will_do(path: Path, server: SmallServer) -> None:
    server.protocol = CONFIG
    started(path)
    assert "GET_QUEUE_NUM" not in server.asked


def test_the_configuration_space_tells_what_the_disk_is(path: Path, server: SmallServer) -> None:
    backend = Backend(path)
    assert (backend.capacity, backend.seg_max, backend.size_max) == (DISK, 126, 0)
    assert backend.partner == os.getpid()
    backend.close()


@pytest.mark.parametrize(("lacking", "words"), [(VERSION_1, "VERSION_1"), (PROTOCOL_FEATURES, "PROTOCOL_FEATURES")])
def test_a_back_end_that_offers_too_little_is_named(path: Path, server: SmallServer, lacking: int, words: str) -> None:
    server.features &= ~lacking
    with pytest.raises(UsageError, match=f"does not offer {words}"):
        Backend(path)


def _reply(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack("<III", kind, flags, len(payload)) + payload


def test_a_back_end_without_a_configuration_is_named(path: Path, server: SmallServer) -> None:
    server.protocol &= ~CONFIG
    with pytest.raises(UsageError, match="does not offer CONFIG"):
        Backend(path)


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("GET_FEATURES", _reply(1, 5, bytes(4)), "answered by 4 bytes instead of 8"),
        ("GET_FEATURES", _reply(1, 1, bytes(8)), "no vhost-user message"),
        ("GET_FEATURES", b"HTTP/1.1 400 Bad Request\r\n\r\n", "no vhost-user message"),
        ("GET_FEATURES", struct.pack("<III", 1, 5, 1 << 30), "no vhost-user message"),
        ("GET_FEATURES", _reply(2, 5, bytes(8)), "answered by request 2"),
        ("GET_CONFIG", _reply(24, 5, b""), "a disk of 0 sectors"),
        ("GET_CONFIG", _reply(24, 5, bytes(12)), "a disk of 0 sectors"),
        ("GET_CONFIG", _reply(24, 5, struct.pack("<III", 0, 8, 0) + b"\xff" * 8), "a disk of 18446744073709551615 sec"),
    ],
    ids=["short", "no-reply", "another-protocol", "huge", "another-request", "no-configuration", "empty", "vast"],
)
def test_an_answer_that_is_none_is_one_line(
    path: Path, server: SmallServer, name: str, answer: bytes, words: str
) -> None:
    server.answers[name] = answer
    with pytest.raises(DeviceFault, match=words) as caught:
        Backend(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_silence_has_an_end(path: Path, server: SmallServer) -> None:
    server.answers["GET_FEATURES"] = None
    with pytest.raises(DeviceFault, match=r"no answer to GET_FEATURES within 0\.1 s"):
        Backend(path, patience=0.1)


@pytest.mark.parametrize("name", ["GET_FEATURES", "SET_FEATURES", "GET_CONFIG", "SET_MEM_TABLE", "SET_VRING_KICK"])
def test_a_back_end_that_dies_is_lost_whatever_it_was_asked(path: Path, server: SmallServer, name: str) -> None:
    server.dies_at = name
    with pytest.raises(PartnerLost, match="went away"):
        started(path)


def test_a_refusal_is_said_with_its_number(path: Path, server: SmallServer) -> None:
    server.refuses = "SET_VRING_ADDR"
    with pytest.raises(DeviceFault, match="SET_VRING_ADDR was refused with 1"):
        started(path)


def test_a_queue_that_is_not_there_is_not_started(path: Path, server: SmallServer) -> None:
    backend = Backend(path)
    memory = SharedMemory(4096)
    with pytest.raises(UsageError, match="has 1 queues"):
        backend.start_ring(1, RingPlace(4, 0, 64, 128), memory, 0, 0)
    memory.close()
    backend.close()


def absent(path: Path) -> None:
    pass


def ordinary(path: Path) -> None:
    path.write_text("a file")


def deserted(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [absent, ordinary, deserted])
def test_a_path_where_nobody_listens_is_bad_input(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(UsageError, match=r"No such file|nobody listens") as caught:
        Backend(path)
    assert str(path) in str(caught.value)


def test_a_path_too_long_for_a_socket_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(VirtioCrqError, match="too long"):
        Backend(tmp_path / ("a" * 200))


def test_shared_memory_cannot_be_cut_off_below_the_front_end() -> None:
    memory = SharedMemory(100)
    assert memory.size == 4096
    with pytest.raises(PermissionError):
        os.ftruncate(memory.descriptor, 0)
    memory.close()
