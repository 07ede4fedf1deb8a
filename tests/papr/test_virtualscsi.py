# SPDX-License-Identifier: Apache-2.0
"""Entries of virtual SCSI in words, as they came from IBM's own drivers."""

import pytest

from virtio_crq.papr.virtualscsi import describe


@pytest.mark.parametrize(
    ("entry", "from_client", "said"),
    [
        ("8001000000780100 000000000c011400", True, "SRP request: 256 bytes at 0xc011400, within 120 s"),
        ("80020000001e0100 000000000c010100", True, "management request: 256 bytes at 0xc010100, within 30 s"),
        ("8001000000000024 c0215608000000c0", False, "SRP response: 36 bytes, status 0, tag 0xc0215608000000c0"),
        ("80010099000000ff 0000000000000001", False, "SRP response: 255 bytes, status 153, tag 0x0000000000000001"),
        ("c001000000000000 0000000000000000", True, "initialize"),
        ("800600f500000000 0000000000000000", False, "a message in the entry itself"),
        ("8077000000000000 0000000000000000", True, "format 119"),
    ],
)
def test_an_entry_is_said_in_words(entry: str, from_client: bool, said: str) -> None:
    assert describe(bytes.fromhex(entry), from_client) == said
