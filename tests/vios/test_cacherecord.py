# SPDX-License-Identifier: Apache-2.0
"""A cache that a driver turned off stays off for the next server."""

from pathlib import Path

import pytest

from virtio_crq.errors import DeviceFault
from virtio_crq.vios.cacherecord import CacheRecord


def test_the_next_server_knows(tmp_path: Path) -> None:
    path = tmp_path / "record"
    CacheRecord(path).put("web1/root", off=True)
    assert CacheRecord(path).is_off("web1/root")
    assert not CacheRecord(path).is_off("web1/data")
    CacheRecord(path).put("web1/root", off=False)
    assert not CacheRecord(path).is_off("web1/root")


@pytest.mark.parametrize("content", [b"", b"{", b"7", b"\xff"])
def test_a_broken_record_is_taken_as_off_for_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record"
    path.write_bytes(content)
    assert CacheRecord(path).is_off("web1/root")


def test_without_a_path_it_lasts_as_long_as_the_process() -> None:
    record = CacheRecord()
    record.put("a/b", off=True)
    assert record.is_off("a/b")


def test_where_it_cannot_be_saved_off_is_refused_and_on_is_not_believed(tmp_path: Path) -> None:
    """A full state directory must neither end the server nor have a driver rely on what the next one forgets."""
    path = tmp_path / "record"
    record = CacheRecord(path)
    record.put("a/b", off=True)
    path.with_suffix(".new").mkdir()  # nothing can be written there, as on a full disk
    with pytest.raises(DeviceFault) as refused:
        record.put("c/d", off=True)
    assert refused.value.rule == "record-unsaved"
    assert not record.is_off("c/d")
    record.put("a/b", off=False)
    assert record.is_off("a/b")
