# SPDX-License-Identifier: Apache-2.0
"""The demo's judges judge: a tree that changed on its way is found out, file by file and block by block."""

import os
from pathlib import Path

import pytest

from virtio_crq.cli import demotree
from virtio_crq.cli.democlient import BLOCK, block, generation_of
from virtio_crq.cli.demotree import DemoFailed, check_image, differences, extract, grow_tree, make_image


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(demotree, "LARGE_FILES", 3)
    monkeypatch.setattr(demotree, "SMALL_FILES", 30)
    monkeypatch.setattr(demotree, "HEADER_BYTES", 1 << 20)
    monkeypatch.setattr(demotree, "IMAGE_BYTES", 32 << 20)
    root = tmp_path / "tree"
    assert grow_tree(root) > 30
    return root


def test_a_tree_survives_its_image(tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_image(tree, image)
    assert "files" in check_image(image)
    extract(image, tmp_path / "out")
    assert differences(tree, tmp_path / "out") == []


def test_one_changed_byte_is_found(tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_image(tree, image)
    extract(image, tmp_path / "out")
    victim = tmp_path / "out" / "large" / "001.bin"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    (tmp_path / "out" / "empty").unlink()
    assert differences(tree, tmp_path / "out") == ["empty: missing", "large/001.bin: differs"]


def test_a_damaged_file_system_fails_the_check(tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_image(tree, image)
    with image.open("r+b") as file:
        file.seek(4096)  # the group descriptors
        file.write(os.urandom(4096))
    with pytest.raises(DemoFailed, match="e2fsck ended with status"):
        check_image(image)


@pytest.mark.parametrize("at", [0, 8, 16, 20, BLOCK - 1])
def test_a_block_that_is_torn_or_misplaced_holds_no_generation(at: int) -> None:
    whole = block(7, 3)
    assert len(whole) == BLOCK
    assert generation_of(whole, 7) == 3
    assert generation_of(whole, 8) == -1
    torn = bytearray(whole)
    torn[at] ^= 0x40
    assert generation_of(bytes(torn), 7) == -1


def test_half_of_the_next_generation_is_found_out() -> None:
    assert generation_of(block(7, 4)[:512] + block(7, 3)[512:], 7) == -1
