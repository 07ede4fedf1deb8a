# SPDX-License-Identifier: Apache-2.0
"""Programs of another system's tree run here by their own loader and libraries."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fakearchive import FakeArchive

from virtio_crq.errors import UsageError
from virtio_crq.guests.lab.unpack import loader_of, make_runnable, unpack

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="this host has no dpkg")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of one program that prints its name, with this host's own loader and C library."""
    source = tmp_path / "name.c"
    source.write_text("#include <stdio.h>\nint main(int n, char **words) { puts(words[0]); return n - 1; }\n")
    staged = tmp_path / "staged"
    for folder in ("usr/bin", "usr/lib64", "usr/lib/x86_64-linux-gnu"):
        (staged / folder).mkdir(parents=True)
    subprocess.run(["cc", "-o", staged / "usr/bin/name", source], check=True)
    linked = subprocess.run(["ldd", staged / "usr/bin/name"], check=True, capture_output=True, text=True).stdout.split()
    loader = next(Path(word) for word in linked if "/ld-linux" in word)
    library = next(Path(word) for word in linked if word.endswith("/libc.so.6"))
    shutil.copy(loader, staged / "usr/lib64/ld-linux-other.so.2")
    shutil.copy(library, staged / "usr/lib/x86_64-linux-gnu/libc.so.6")
    return staged


def test_a_program_runs_from_its_place_by_its_trees_loader(tree: Path, tmp_path: Path) -> None:
    final = tmp_path / "a place" / "with blanks"
    (tree / "usr/bin/link").symlink_to("name")
    assert make_runnable([tree / "usr/bin"], tree, tree, final) == 1
    final.parent.mkdir()
    tree.rename(final)
    for name in ("name", "link"):
        done = subprocess.run([final / "usr/bin" / name, "more", "words"], capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.returncode) == (str(final / "usr/bin" / name), 2)
    script = (final / "usr/bin/name").read_text()
    assert "ld-linux-other.so.2" in script
    assert str(tree) not in script


def test_libraries_and_scripts_stay_as_they_are(tree: Path) -> None:
    (tree / "usr/bin/script").write_text(f"#!{sys.executable}\n")
    (tree / "usr/bin/script").chmod(0o755)
    shutil.copy(tree / "usr/bin/name", tree / "usr/bin/plugin.so.1")
    make_runnable([tree / "usr/bin"], tree, tree, tree)
    assert (tree / "usr/bin/script").read_text() == f"#!{sys.executable}\n"
    assert (tree / "usr/bin/plugin.so.1").read_bytes()[:4] == b"\x7fELF"


def test_unpacking_begins_with_an_empty_tree_and_leaves_manuals_out(tmp_path: Path) -> None:
    package = FakeArchive(tmp_path / "archive").add("a", {"usr/bin/a": "#!/bin/sh\n", "usr/share/man/a.1": "words"})
    tree = tmp_path / "tree"
    (tree / "left over").mkdir(parents=True)
    unpack([package], tree)
    assert sorted(path.name for path in tree.iterdir()) == ["bin", "lib", "lib64", "sbin", "usr"]
    assert (tree / "bin/a").exists()
    assert not (tree / "usr/share/man").exists()


def test_a_package_that_cannot_be_unpacked_is_named(tmp_path: Path) -> None:
    package = tmp_path / "a_1_all.deb"
    package.write_bytes(b"no archive")
    with pytest.raises(UsageError, match=r"a_1_all\.deb could not be unpacked .*remove it and run \./lab again"):
        unpack([package], tmp_path / "tree")


def test_a_tree_without_a_loader_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no dynamic loader"):
        loader_of(tmp_path)
