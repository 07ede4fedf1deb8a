# SPDX-License-Identifier: Apache-2.0
"""The guest's module is built when its sources or its kernel changed, and never in the tree."""

from pathlib import Path

import pytest

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.cache import Lab
from virtio_crq.guests.lab.lint import lint_build, lint_style
from virtio_crq.guests.lab.manifest import Manifest
from virtio_crq.guests.lab.transport import Toolchain, build_transport, source_hash

MAKE = """#!/bin/sh
for word; do case $word in M=*) cd "${word#M=}";; esac; done
echo run >>"$COUNT"
grep -q "mistake" virtio_crq.c && { echo "virtio_crq.c:1:1: error: mistake" >&2; exit 2; }
cat virtio_crq.c >virtio_crq.ko
"""

# One mistake for each of the tools that must find it.
ENDIAN = """// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
#include <linux/types.h>

static __be32 wire;

int virtio_crq_probe(u32 value);
int virtio_crq_probe(u32 value)
{
	wire = value;
	return wire == 0;
}

MODULE_DESCRIPTION("a value without a byte order");
MODULE_LICENSE("GPL");
"""
UNUSED = ENDIAN.replace("wire = value;", "int forgotten;\n\n\twire = cpu_to_be32(value);")
CLEAN = ENDIAN.replace("wire = value;", "wire = cpu_to_be32(value);")
STYLED = CLEAN.replace("int virtio_crq_probe(u32 value);\n", "")
UNSTYLED = STYLED.replace("\treturn wire == 0;", "  return wire == 0;   ")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "Makefile").write_text("obj-m := virtio_crq.o\n")
    (folder / "virtio_crq.c").write_text("one")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    folder.mkdir()
    kernel = {"release": "6.1.9", "vmlinux": "lock", "modules": ".", "build": "headers", "packages": []}
    Manifest(folder).put("kernel-6.1", kernel)
    (folder / "lock").write_text("")
    return folder


@pytest.fixture
def toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "make").write_text(MAKE)
    (tools / "make").chmod(0o755)
    (tools / "powerpc64le-linux-gnu-strip").symlink_to("/bin/true")
    monkeypatch.setenv("COUNT", str(tmp_path / "runs"))
    return Toolchain(tools)


def test_it_is_built_once_for_each_state_of_its_sources(root: Path, source: Path, toolchain: Toolchain) -> None:
    assert build_transport(root, Manifest(root), "6.1", source, toolchain)
    assert not build_transport(root, Manifest(root), "6.1", source, toolchain)
    (source / "virtio_crq.c").write_text("two")
    assert build_transport(root, Manifest(root), "6.1", source, toolchain)
    assert Lab.open(root).kernel("6.1").transport.read_text() == "two"


def test_another_kernel_of_the_same_name_has_it_built_anew(root: Path, source: Path, toolchain: Toolchain) -> None:
    build_transport(root, Manifest(root), "6.1", source, toolchain)
    manifest = Manifest(root)
    manifest.put("kernel-6.1", {**manifest.parts["kernel-6.1"], "release": "6.1.10"})
    assert build_transport(root, manifest, "6.1", source, toolchain)


def test_a_module_that_was_removed_by_hand_is_built_anew(root: Path, source: Path, toolchain: Toolchain) -> None:
    build_transport(root, Manifest(root), "6.1", source, toolchain)
    Lab.open(root).kernel("6.1").transport.unlink()
    assert build_transport(root, Manifest(root), "6.1", source, toolchain)


def test_a_mistake_is_told_and_what_worked_before_stays(root: Path, source: Path, toolchain: Toolchain) -> None:
    build_transport(root, Manifest(root), "6.1", source, toolchain)
    (source / "virtio_crq.c").write_text("mistake")
    with pytest.raises(VirtioCrqError, match=r"could not be built for kernel 6\.1: virtio_crq\.c:1:1: error: mistake"):
        build_transport(root, Manifest(root), "6.1", source, toolchain)
    assert Lab.open(root).kernel("6.1").transport.read_text() == "one"


def test_building_leaves_the_sources_alone(root: Path, source: Path, toolchain: Toolchain) -> None:
    before = sorted(source.iterdir())
    build_transport(root, Manifest(root), "6.1", source, toolchain)
    assert sorted(source.iterdir()) == before


def test_what_a_build_leaves_behind_changes_nothing(source: Path) -> None:
    before = source_hash(source)
    (source / "virtio_crq.mod.c").write_text("generated")
    (source / "virtio_crq.o").write_text("object")
    assert source_hash(source) == before
    (source / "virtio_crq.h").write_text("new")
    assert source_hash(source) != before


@pytest.mark.guest
@pytest.mark.parametrize("name", ["6.1", "6.12", "7.2"])
def test_each_kernels_tools_find_what_is_wrong(name: str, tmp_path: Path, source: Path) -> None:
    lab = Lab.open()
    headers, tools = lab.headers(name), Toolchain(*lab.tools())
    found = {}
    for text in (CLEAN, ENDIAN, UNUSED):
        (source / "virtio_crq.c").write_text(text)
        found[text] = " ".join(lint_build(source, headers, tmp_path / "work", tools))
    assert found[CLEAN] == ""
    assert "incorrect type in assignment (different base types)" in found[ENDIAN]
    assert "unused variable" in found[UNUSED]


@pytest.mark.guest
def test_checkpatch_finds_what_is_not_the_kernels_style(source: Path) -> None:
    checkpatch = Lab.open().checkpatch()
    (source / "virtio_crq.c").write_text(STYLED)
    (source / "Makefile").write_text("# SPDX-License-Identifier: GPL-2.0-only\nobj-m := virtio_crq.o\n")
    asked = "#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)\nstatic __be32 old;\n#endif\n\nstatic __be32 wire;"
    (source / "virtio_crq.h").write_text("/* SPDX-License-Identifier: GPL-2.0-only */\n" + asked + "\n")
    assert lint_style(source, checkpatch) == []
    (source / "virtio_crq.c").write_text(UNSTYLED)
    assert "TRAILING_WHITESPACE" in " ".join(lint_style(source, checkpatch))
