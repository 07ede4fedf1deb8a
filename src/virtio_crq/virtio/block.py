# SPDX-License-Identifier: Apache-2.0
"""The block device (virtio 1.4 §5.2): features, configuration space, requests."""

import struct
from dataclasses import dataclass
from typing import NewType

Sector = NewType("Sector", int)

SECTOR_SIZE = 512  # the unit of capacity and of request sectors, whatever blk_size says

# Feature bits (§5.2.3).
SIZE_MAX = 1
SEG_MAX = 2
GEOMETRY = 4
RO = 5
BLK_SIZE = 6
FLUSH = 9
TOPOLOGY = 10
CONFIG_WCE = 11
MQ = 12
DISCARD = 13
WRITE_ZEROES = 14
FEATURE_NAMES = {
    SIZE_MAX: "SIZE_MAX",
    SEG_MAX: "SEG_MAX",
    GEOMETRY: "GEOMETRY",
    RO: "RO",
    BLK_SIZE: "BLK_SIZE",
    FLUSH: "FLUSH",
    TOPOLOGY: "TOPOLOGY",
    CONFIG_WCE: "CONFIG_WCE",
    MQ: "MQ",
    DISCARD: "DISCARD",
    WRITE_ZEROES: "WRITE_ZEROES",
}

# struct virtio_blk_req (§5.2.6): le32 type, le32 reserved, le64 sector; data; u8 status.
REQUEST_HEADER = struct.Struct("<IIQ")
REQUEST_HEADER_SIZE = 16
STATUS_SIZE = 1
T_IN = 0
T_OUT = 1
T_FLUSH = 4
T_GET_ID = 8
T_GET_LIFETIME = 10
T_DISCARD = 11
T_WRITE_ZEROES = 13
S_OK = 0
S_IOERR = 1
S_UNSUPP = 2
ID_BYTES = 20  # GET_ID: zero-padded, not terminated when it is exactly this long

# struct virtio_blk_config up to `num_queues` (§5.2.4).
CONFIG = struct.Struct("<QIIHBBIBBHIBBH")
CONFIG_SIZE = 36
CONFIG_CAPACITY_OFFSET = 0
CONFIG_WRITEBACK_OFFSET = 32


@dataclass(frozen=True)
class BlockConfig:
    """The configuration space; fields of features that were not offered stay 0."""

    capacity: int  # in sectors of 512 bytes
    size_max: int = 0
    seg_max: int = 0
    cylinders: int = 0
    heads: int = 0
    sectors: int = 0
    blk_size: int = 0
    physical_block_exp: int = 0
    alignment_offset: int = 0
    min_io_size: int = 0
    opt_io_size: int = 0
    writeback: int = 0
    num_queues: int = 1

    def encode(self) -> bytes:
        return CONFIG.pack(
            self.capacity,
            self.size_max,
            self.seg_max,
            self.cylinders,
            self.heads,
            self.sectors,
            self.blk_size,
            self.physical_block_exp,
            self.alignment_offset,
            self.min_io_size,
            self.opt_io_size,
            self.writeback,
            0,
            self.num_queues,
        )

    @classmethod
    def decode(cls, data: bytes) -> "BlockConfig":
        """From a configuration space that may end early: missing bytes read as 0."""
        *fields, _unused, num_queues = CONFIG.unpack(data[:CONFIG_SIZE].ljust(CONFIG_SIZE, b"\0"))
        names = list(cls.__dataclass_fields__)
        return cls(**dict(zip(names, [*fields, num_queues], strict=True)))
