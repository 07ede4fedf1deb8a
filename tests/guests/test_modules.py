# SPDX-License-Identifier: Apache-2.0
"""Modules are read as files: order, what is built in, the very bytes, and what is refused."""

import gzip
import hashlib
import lzma
from pathlib import Path

import pytest
from modulefiles import RELEASE, module, tree

from virtio_crq.errors import UsageError
from virtio_crq.guests.modules import ModuleTree, read_module

FILES = {
    "fs/ext4.ko": module(depends="jbd2,mbcache", softdep="pre: crypto-crc32c"),
    "fs/jbd2.ko.xz": lzma.compress(module(softdep="pre: crypto-crc32c post: other")),
    "fs/mbcache.ko.gz": gzip.compress(module()),
    "crypto/crc32c_generic.ko": module(),
    "char/virtio-rng.ko": module(depends="virtio"),
}


def test_each_module_comes_after_what_it_needs(tmp_path: Path) -> None:
    modules = ModuleTree(tree(tmp_path, FILES, ("virtio/virtio.ko",)))
    assert modules.release == RELEASE
    ordered = modules.in_order(["virtio", "ext4", "virtio-rng", "mbcache"])
    assert [each.name for each in ordered] == ["crc32c_generic", "jbd2", "mbcache", "ext4", "virtio_rng"]


def test_a_module_is_the_packages_bytes_decompressed(tmp_path: Path) -> None:
    found = ModuleTree(tree(tmp_path, FILES)).find("jbd2")
    assert found is not None
    assert found.content == lzma.decompress(FILES["fs/jbd2.ko.xz"])
    assert found.sha256 == hashlib.sha256(lzma.decompress(FILES["fs/jbd2.ko.xz"])).hexdigest()
    assert found.release == RELEASE


def test_a_big_endian_module_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "big.ko").write_bytes(module(depends="one,two-three", order=">"))
    assert read_module(tmp_path / "big.ko").depends == ["one", "two-three"]


def test_a_kernel_without_a_module_is_one_line_that_names_it(tmp_path: Path) -> None:
    files = dict(FILES)
    del files["fs/mbcache.ko.gz"]
    modules = ModuleTree(tree(tmp_path, files, ("virtio/virtio.ko",)))
    with pytest.raises(UsageError, match=r"kernel 6\.1\.0-test has no module mbcache, which ext4 needs, nor is it"):
        modules.in_order(["ext4"])
    with pytest.raises(UsageError, match=r"has no module virtio_blk, nor is it built in; .*run ./lab again"):
        modules.in_order(["virtio_blk"])


def test_a_circle_of_dependencies_ends(tmp_path: Path) -> None:
    files = {"a.ko": module(depends="b"), "b.ko": module(depends="a")}
    with pytest.raises(UsageError, match="in a circle: a → b → a"):
        ModuleTree(tree(tmp_path, files)).in_order(["a"])


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("short.ko", b"", "not a 64-bit ELF file"),
        ("text.ko", b"#!/bin/sh\n", "not a 64-bit ELF file"),
        ("cut.ko", module()[:100], "cut off: it has 100 bytes"),
        ("none.ko", module().replace(b".modinfo", b".nothing"), r"no section \.modinfo"),
        ("bad.ko.xz", b"never compressed", "cannot be decompressed"),
        ("bad.ko.gz", b"never compressed", "cannot be decompressed"),
    ],
)
def test_what_is_no_module_is_refused_in_one_line(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=why) as refused:
        assert read_module(tmp_path / name).depends
    assert str(tmp_path / name) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such directory of kernel modules"):
        ModuleTree(tmp_path / "6.99")
