# SPDX-License-Identifier: Apache-2.0
"""Entropy requests: filled whole, bounded, and never with anything to read."""

import pytest
from layouts import guest_of
from rig import WRITE, Rig

from combinations import strategies
from virtio_crq.dataplane.entropyservice import EntropyService

DATA = 0x40000
LIMIT = 65536  # bytes of one request
both = pytest.mark.parametrize("fetch", strategies())


class Source:
    """One entropy queue on the rig."""

    def __init__(self, fetch: str, size: int = 16) -> None:
        self.rig = Rig()
        self.service = EntropyService()
        self.ring = guest_of(fetch, self.rig.platform, size)
        self.ring.serve(self.rig, 0, self.service)

    def ask(self, *parts: tuple[int, int, int]) -> None:
        self.ring.make_available(self.ring.chain(list(parts)))

    def run(self) -> list[int]:
        """Bytes written of each request that ended."""
        self.ring.announce(self.rig)
        self.rig.run()
        return [written for _, written in self.ring.collect()]

    def bytes_at(self, at: int, length: int) -> bytes:
        return bytes(self.rig.platform.guest[at : at + length])


@both
def test_a_buffer_is_filled_and_nothing_beside_it(fetch: str) -> None:
    source = Source(fetch)
    source.ask((DATA, 4096, WRITE))
    source.ask((DATA + 0x2000, 3, WRITE), (DATA + 0x3000, 61, WRITE))
    assert source.run() == [4096, 64]
    first = source.bytes_at(DATA, 4096)
    assert len(set(first)) > 200, "random bytes take nearly every value in a page"
    assert source.bytes_at(DATA + 0x3000, 61) != bytes(61)
    assert source.bytes_at(DATA + 4096, 4096) == bytes(4096)
    assert source.bytes_at(DATA + 0x2003, 64) == bytes(64)
    assert (source.service.requests, source.service.bytes_in) == (2, 4160)


@both
def test_a_request_gets_at_most_64_kib_and_is_told_so(fetch: str) -> None:
    source = Source(fetch)
    source.ask((DATA, LIMIT + 4096, WRITE))
    assert source.run() == [LIMIT]
    assert source.bytes_at(DATA + LIMIT, 4096) == bytes(4096)


@both
def test_more_than_the_arena_holds_is_served_piece_by_piece(fetch: str) -> None:
    source = Source(fetch, size=64)
    free = source.rig.link.staging.free
    for number in range(60):
        source.ask((DATA + 0x1000 * number, LIMIT, WRITE))
    assert source.run() == [LIMIT] * 60
    assert source.rig.link.staging.free == free


@both
def test_a_readable_buffer_stops_the_queue(fetch: str) -> None:
    """virtio 1.4 §5.4.6.1: the driver MUST NOT place driver-readable buffers into the queue."""
    source = Source(fetch)
    source.ask((DATA + 4096, 16, 0), (DATA + 8192, 64, WRITE))
    assert source.run() == []
    assert source.rig.faults == [(0, 0, "entropy-readable")]
    assert source.rig.link.refusals == {"entropy-readable": 1}
    assert source.bytes_at(DATA + 8192, 64) == bytes(64)


@both
def test_a_buffer_without_bytes_stops_the_queue(fetch: str) -> None:
    source = Source(fetch)
    source.ask((DATA, 0, WRITE))
    assert source.run() == []
    assert source.rig.faults == [(0, 0, "zero-length")]
