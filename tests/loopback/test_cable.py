# SPDX-License-Identifier: Apache-2.0
"""The loopback bus stays small, and copies only what the client mapped, for the server, while both are there."""

from pathlib import Path

import pytest

import virtio_crq.loopback
from virtio_crq.loopback.cable import CLIENT, DENIED, SERVER, Cable


@pytest.fixture
def cable() -> Cable:
    return Cable(bytearray(8 * 4096), bytearray(8 * 4096))


def test_it_is_at_most_300_lines_in_all() -> None:
    folder = Path(virtio_crq.loopback.__file__).parent
    assert sum(len(path.read_text().splitlines()) for path in folder.glob("*.py")) <= 300


def test_a_copy_goes_through_both_page_tables(cable: Cable) -> None:
    client, server = cable.open(CLIENT), cable.open(SERVER)
    client.map(0x10000, 4096, 8192, 1)
    server.map(0, 0, 4096, 3)
    cable.join(CLIENT)
    cable.join(SERVER)
    client.write(4096 + 4090, b"across pages")
    server.stage(0x10000 + 4090, 16, 12, 0)
    assert (server.flush(), server.done) == (0, 1)
    assert server.read(16, 12) == b"across pages"
    server.stage(0x10000, 16, 12, 1)
    assert server.flush() == DENIED, "the client let it read, not write"
    client.unmap(0x11000, 4096)
    server.stage(0x10000 + 4090, 16, 12, 0)
    assert server.flush() == DENIED
    client.stage(0, 0x10000, 12, 0)
    assert client.flush() == DENIED, "a client copies nothing"
    cable.leave(CLIENT)
    server.stage(0x10000, 16, 12, 0)
    assert server.flush() == DENIED
    cable.close()
