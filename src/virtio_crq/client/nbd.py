# SPDX-License-Identifier: Apache-2.0
"""The NBD protocol as data: fixed newstyle negotiation and simple replies. All fields are big-endian."""

import errno
import struct
from dataclasses import dataclass

from virtio_crq.errors import VirtioCrqError

GREETING = b"NBDMAGICIHAVEOPT"
FIXED_NEWSTYLE = 1  # handshake flags, both ways
NO_ZEROES = 2

OPTION_MAGIC = 0x49484156454F5054
OPTION = struct.Struct(">QII")  # magic, option, length
OPTION_LIMIT = 4096 + 64  # a name is at most 4096 bytes
EXPORT_NAME = 1
ABORT = 2
LIST = 3
INFO = 6
GO = 7

OPTION_REPLY = struct.Struct(">QIII")  # magic, option, reply, length
OPTION_REPLY_MAGIC = 0x3E889045565A9
ACK = 1
SERVER = 2
INFORMATION = 3
ERROR_UNSUPPORTED = 1 << 31 | 1
ERROR_INVALID = 1 << 31 | 3
ERROR_UNKNOWN = 1 << 31 | 6

INFO_EXPORT = struct.Struct(">HQH")  # 0, size, transmission flags
INFO_BLOCK_SIZE = struct.Struct(">HIII")  # 3, smallest, preferred, largest
HAS_FLAGS = 1
READ_ONLY = 2
SEND_FLUSH = 4
SEND_FUA = 8
CAN_MULTI_CONN = 256  # one server, one cache: a flush on any connection covers the writes of all

REQUEST = struct.Struct(">IHHQQI")  # magic, flags, command, cookie, offset, length
REQUEST_MAGIC = 0x25609513
READ = 0
WRITE = 1
DISCONNECT = 2
FLUSH = 3
COMMAND_FUA = 1

REPLY = struct.Struct(">IIQ")  # magic, error, cookie
REPLY_MAGIC = 0x67446698

PREFERRED = 4096
LARGEST = 32 << 20  # what every client may send without asking
# The errors that the protocol has; anything else becomes EIO.
ERRORS = {errno.EPERM, errno.EIO, errno.ENOMEM, errno.EINVAL, errno.ENOSPC, errno.EOVERFLOW, errno.ENOTSUP}


class NbdFault(VirtioCrqError):
    """The NBD client broke the protocol; its connection ends."""


@dataclass(frozen=True)
class Request:
    flags: int
    command: int
    cookie: int
    offset: int
    length: int


def decode_request(header: bytes) -> Request:
    magic, flags, command, cookie, offset, length = REQUEST.unpack(header)
    if magic != REQUEST_MAGIC:
        raise NbdFault(f"a request began with {magic:#x}")
    if length > LARGEST:
        raise NbdFault(f"a request of {length} bytes, more than the {LARGEST} that were advertised")
    return Request(flags, command, cookie, offset, length)


def decode_choice(data: bytes) -> str:
    """The export's name out of INFO or GO; what information was asked for does not matter, all of it is sent."""
    if len(data) < 6:
        raise ValueError("too short")
    (length,) = struct.unpack_from(">I", data)
    if length > len(data) - 6:
        raise ValueError("the name ends behind the option")
    (count,) = struct.unpack_from(">H", data, 4 + length)
    if 6 + length + 2 * count != len(data):
        raise ValueError("the option's length does not fit its content")
    return data[4 : 4 + length].decode()


def option_reply(option: int, reply: int, data: bytes = b"") -> bytes:
    return OPTION_REPLY.pack(OPTION_REPLY_MAGIC, option, reply, len(data)) + data


def reply(cookie: int, error: int = 0, data: bytes = b"") -> bytes:
    return REPLY.pack(REPLY_MAGIC, error, cookie) + data


def error_code(error: Exception) -> int:
    """What an NBD client is told of `error`."""
    if not isinstance(error, OSError) or error.errno is None:
        return errno.EIO
    if error.errno == errno.EROFS:
        return errno.EPERM
    return error.errno if error.errno in ERRORS else errno.EIO
