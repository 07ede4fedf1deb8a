# SPDX-License-Identifier: Apache-2.0
"""What an initramfs carries, and what it reports about it."""

import gzip
import hashlib
import subprocess
from pathlib import Path

import pytest
from modulefiles import module, tree

from virtio_crq.errors import UsageError
from virtio_crq.guests.initramfs import STANDARD, guest_script, make_initramfs
from virtio_crq.guests.modules import ModuleTree

FILES = {
    "virtio_blk.ko": module(depends="virtio"),
    "virtio_console.ko": module(),
    "virtio-rng.ko": module(),
    "ext4.ko": module(),
}


@pytest.fixture
def modules(tmp_path: Path) -> ModuleTree:
    return ModuleTree(tree(tmp_path, FILES, ("virtio/virtio.ko", "virtio/virtio_ring.ko")))


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    path = tmp_path / "busybox"
    path.write_bytes(b"\x7fELF for ppc64le")
    return path


def unpacked(image: bytes, directory: Path) -> Path:
    directory.mkdir()
    command = ["cpio", "-id", "--quiet", "--no-absolute-filenames", "init", "bin/*", "lib/*", "sbin/*", "etc/*"]
    subprocess.run(command, input=gzip.decompress(image), cwd=directory, check=True)
    return directory


def test_modules_lie_in_the_order_of_loading_with_the_packages_bytes(
    modules: ModuleTree, busybox: Path, tmp_path: Path
) -> None:
    transport = tmp_path / "virtio_crq.ko"
    transport.write_bytes(module(depends="virtio,virtio_ring"))
    made = make_initramfs(modules, busybox, transport=transport, extra={"etc/note": b"seen"})
    root = unpacked(made.image, tmp_path / "root")
    names = ["virtio_blk", "virtio_console", "virtio_rng", "ext4", "virtio_crq"]
    inside = sorted((root / "lib/modules").iterdir())
    assert [path.name for path in inside] == [f"{number:03}-{name}.ko" for number, name in enumerate(names)]
    assert [each.name for each in made.modules] == names
    assert [each.sha256 for each in made.modules] == [hashlib.sha256(p.read_bytes()).hexdigest() for p in inside]
    assert [each.name for each in made.modules if each.ours] == ["virtio_crq"]
    assert made.builtin == ("virtio", "virtio_ring")
    assert (root / "etc/note").read_bytes() == b"seen"
    assert (root / "init").stat().st_mode & 0o111


def test_a_transport_of_another_kernel_is_refused(modules: ModuleTree, busybox: Path, tmp_path: Path) -> None:
    transport = tmp_path / "virtio_crq.ko"
    transport.write_bytes(module(release="6.12.1"))
    with pytest.raises(UsageError, match=r"was built for kernel 6\.12\.1, this one is 6\.1\.0-test; run \./lab"):
        make_initramfs(modules, busybox, transport=transport)


def test_a_kernel_without_the_modules_is_refused(tmp_path: Path, busybox: Path) -> None:
    bare = ModuleTree(tree(tmp_path / "bare", {"ext4.ko": module()}))
    with pytest.raises(UsageError, match="has no module virtio, nor is it built in"):
        make_initramfs(bare, busybox)


def test_a_missing_busybox_is_refused(modules: ModuleTree, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="busybox: No such file"):
        make_initramfs(modules, tmp_path / "busybox")


@pytest.mark.parametrize("name", ["init", "session", "agent", "first-boot"])
def test_the_scripts_for_guests_are_shell(name: str) -> None:
    done = subprocess.run(["sh", "-n"], input=guest_script(name), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_the_standard_modules_are_named_once() -> None:
    assert len(set(STANDARD)) == len(STANDARD)
