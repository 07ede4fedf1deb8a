# SPDX-License-Identifier: Apache-2.0
"""Verified blocks: each 4 KiB block says which it is and how often it was written; a ledger knows what may stand.

A block acknowledged in generation g with g+1 in flight may hold g or g+1 afterwards, whole, and nothing else.
"""

import struct
import zlib
from dataclasses import dataclass, field

BLOCK = 4096
_HEAD = struct.Struct("<QQI")
_FILL = BLOCK - _HEAD.size


def make_block(number: int, generation: int) -> bytes:
    """Block `number` in `generation`: head, then a filling that differs in every 8 bytes of every generation."""
    seed = (number * 0x9E3779B97F4A7C15 + generation * 0xC2B2AE3D27D4EB4F) & 0xFFFFFFFFFFFFFFFF
    filling = (struct.pack("<Q", seed) * (_FILL // 8 + 1))[:_FILL]
    return (
        _HEAD.pack(number, generation, zlib.crc32(filling, zlib.crc32(struct.pack("<QQ", number, generation))))
        + filling
    )


def read_block(data: bytes, number: int) -> int:
    """The generation of a whole block; 0 for one never written; AssertionError for anything torn or misplaced."""
    if not any(data):
        return 0
    found, generation, checksum = _HEAD.unpack_from(data)
    assert found == number, f"block {number} holds block {found}"
    expected = zlib.crc32(data[_HEAD.size :], zlib.crc32(data[:16]))
    assert checksum == expected, f"block {number} generation {generation} is torn"
    return int(generation)


@dataclass
class Ledger:
    """What the client was told (`acknowledged`) and what it has asked for since (`asked`)."""

    acknowledged: dict[int, int] = field(default_factory=dict)
    asked: dict[int, int] = field(default_factory=dict)

    def ask(self, number: int) -> bytes:
        """Begin the next write of a block: its bytes. At most one write of a block is in flight."""
        assert self.asked.get(number, 0) == self.acknowledged.get(number, 0), f"block {number} is in flight"
        self.asked[number] = self.acknowledged.get(number, 0) + 1
        return make_block(number, self.asked[number])

    def acknowledge(self, number: int) -> None:
        self.acknowledged[number] = self.asked[number]

    def check(self, number: int, data: bytes) -> None:
        """The block as found: its acknowledged generation or the one in flight."""
        generation = read_block(data, number)
        allowed = {self.acknowledged.get(number, 0), self.asked.get(number, 0)}
        assert generation in allowed, f"block {number} holds generation {generation}, allowed are {sorted(allowed)}"
