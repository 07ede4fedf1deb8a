# SPDX-License-Identifier: Apache-2.0
"""The archive is what cpio takes it for."""

import gzip
import subprocess
from pathlib import Path

import pytest

from virtio_crq.guests.archive import Archive


def made() -> Archive:
    archive = Archive()
    archive.file("init", b"#!/bin/sh\n", 0o755)
    archive.file("lib/modules/000-odd.ko", b"odd", 0o644)
    archive.link("bin/sh", "busybox")
    archive.character_device("dev/console", 5, 1)
    return archive


def test_cpio_lists_what_was_put_in() -> None:
    listed = subprocess.run(["cpio", "-tv", "--quiet"], input=made().content(), capture_output=True, check=True)
    rows = [line.split() for line in listed.stdout.decode().splitlines()]
    assert {(row[0], " ".join(row[8 + row[0].startswith("c") :])) for row in rows} == {
        ("-rwxr-xr-x", "init"),
        ("drwxr-xr-x", "lib"),
        ("drwxr-xr-x", "lib/modules"),
        ("-rw-r--r--", "lib/modules/000-odd.ko"),
        ("drwxr-xr-x", "bin"),
        ("lrwxrwxrwx", "bin/sh -> busybox"),
        ("drwxr-xr-x", "dev"),
        ("crw-------", "dev/console"),
    }


def test_cpio_unpacks_the_very_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5 + b"."
    archive = Archive()
    archive.file("a/b/odd", content)
    archive.file("even", content + b"...")
    subprocess.run(["cpio", "-id", "--quiet"], input=archive.content(), cwd=tmp_path, check=True)
    assert (tmp_path / "a/b/odd").read_bytes() == content
    assert (tmp_path / "even").read_bytes() == content + b"..."


def test_the_same_content_makes_the_same_compressed_bytes() -> None:
    assert made().compressed() == made().compressed()
    assert gzip.decompress(made().compressed()) == made().content()


def test_a_path_is_put_in_once() -> None:
    archive = made()
    with pytest.raises(ValueError, match="init is in the archive already"):
        archive.file("/init", b"")
