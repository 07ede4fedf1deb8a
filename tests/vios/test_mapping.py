# SPDX-License-Identifier: Apache-2.0
"""Which map entries a server accepts."""

import pytest

from virtio_crq.cli.clientpartition import MOST_DEVICES
from virtio_crq.crq.ring import ring_size
from virtio_crq.errors import UsageError
from virtio_crq.message.backend import RING_RESERVE
from virtio_crq.papr.entry import ENTRY_SIZE
from virtio_crq.vios.mapping import MOST_TARGETS, MapEntry, by_client


def test_entries_keep_the_order_of_the_file_per_client() -> None:
    entries = [MapEntry("a", "root", "null:1M"), MapEntry("b", "root", "null:1M"), MapEntry("a", "data", "ram:1M")]
    grouped = by_client(entries)
    assert [entry.target for entry in grouped["a"].entries] == ["root", "data"]
    assert [entry.target for entry in grouped["b"].entries] == ["root"]


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([MapEntry("a", "x", "null:1M"), MapEntry("a", "x", "ram:1M", where="m.toml:9")], "m.toml:9: map a/x: .*twice"),
        ([MapEntry("a", "x", "null:1M", device="tape")], "'tape' is not one of block, entropy, console"),
        ([MapEntry("a", "x", "", device="entropy", readonly=True)], "cannot be read-only"),
        ([MapEntry("a", "x" * 21, "null:1M")], "at most 20 bytes"),
        ([MapEntry("a", "x/y", "null:1M")], "no '/'"),
        ([MapEntry("a", "x\ny", "null:1M")], "all printable"),
        ([MapEntry("a", "\x1b]0;title\x07", "null:1M")], "all printable"),
        ([MapEntry("a", "\udcff", "null:1M")], "all printable"),
        ([MapEntry("", "x", "null:1M")], "must be named"),
        ([MapEntry("a", f"t{n}", "null:1M") for n in range(65)], "at most 64"),
        ([MapEntry("a", "x", "null:1M", request_queues=0)], "queues = 0 is not in 1 to 16"),
        ([MapEntry("a", "x", "null:1M", request_queues=17, where="m.toml:9")], "m.toml:9: .* not in 1 to 16"),
        (
            [MapEntry("a", "x", "", request_queues=0, where="m.toml:9", places={"queues": "m.toml:12"})],
            "m.toml:12: map",
        ),
        ([MapEntry("a", "x", "", device="net", where="m.toml:9", places={"device": "m.toml:11"})], "m.toml:11: map"),
        ([MapEntry("a", "x", "pty:", device="console", request_queues=2)], "only a disk is given queues"),
        ([MapEntry("a", "x", "", device="entropy", request_queues=2)], "only a disk is given queues"),
        ([MapEntry("a", f"t{n}", "null:1M", request_queues=16) for n in range(8)], "128 queues are more than"),
    ],
)
def test_what_no_server_could_serve_is_refused_by_place(entries: list[MapEntry], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        by_client(entries)


def test_as_many_targets_as_are_allowed_have_room_in_the_rings_of_a_client() -> None:
    entries = ring_size(MOST_DEVICES, MOST_DEVICES) // ENTRY_SIZE
    assert entries >= 3 * MOST_TARGETS + RING_RESERVE
