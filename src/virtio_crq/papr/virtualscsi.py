# SPDX-License-Identifier: Apache-2.0
"""Entries of virtual SCSI in words: LoPAR's own protocol over a CRQ, which the stock drivers speak."""

import struct

from virtio_crq.papr.entry import Header, describe_entry

# Byte 1 of a command entry: what lies in the information unit that it announces.
FORMATS = {1: "SRP", 2: "management"}
IN_ENTRY = {6: "a message in the entry itself"}
_ENTRY = struct.Struct(">BBBBHHQ")  # header, format, reserved, status, timeout in seconds, length, address or tag


def describe(entry: bytes, from_client: bool) -> str:
    """A client announces an information unit by its I/O address; a server answers by the tag that it found in it."""
    header, form, _, status, timeout, length, low = _ENTRY.unpack(entry)
    if header != Header.COMMAND:
        return describe_entry(entry).partition(" ")[0]
    if form not in FORMATS:
        return IN_ENTRY.get(form, f"format {form}")
    if from_client:
        return f"{FORMATS[form]} request: {length} bytes at {low:#x}, within {timeout} s"
    return f"{FORMATS[form]} response: {length} bytes, status {status}, tag {low:#018x}"
