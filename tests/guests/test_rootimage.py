# SPDX-License-Identifier: Apache-2.0
"""A root image is a sound file system with the right content and owners, made by whoever runs this."""

import os
import subprocess
from pathlib import Path

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.guests.ext4image import make_ext4, tool
from virtio_crq.guests.initramfs import guest_script
from virtio_crq.guests.rootimage import make_root_image

SIZE = 16 << 20


@pytest.fixture
def userland(tmp_path: Path) -> Path:
    """As packages of before and after the merge of /usr leave one."""
    tree = tmp_path / "userland"
    for path in ("usr/bin/busybox", "sbin/mke2fs", "usr/lib/powerpc64le-linux-gnu/libc.so.6"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(path.encode())
        (tree / path).chmod(0o755)
    (tree / "sbin/mkfs.ext4").symlink_to("mke2fs")
    (tree / "usr/bin/setuid").write_bytes(b"")
    (tree / "usr/bin/setuid").chmod(0o4755)
    (tree / "lib64").mkdir()
    (tree / "lib64/ld64.so.2").symlink_to("/lib/powerpc64le-linux-gnu/ld64.so.2")
    return tree


def ask(image: Path, *orders: str) -> str:
    command = [tool("debugfs"), "-f", "-", str(image)]
    return subprocess.run(command, input="\n".join(orders), capture_output=True, text=True, check=True).stdout


def sound(image: Path) -> bool:
    return subprocess.run([tool("e2fsck"), "-fn", str(image)], capture_output=True).returncode == 0


def test_the_image_is_sound_and_holds_programs_agent_and_init(userland: Path, tmp_path: Path) -> None:
    image = make_root_image(userland, tmp_path / "root.img", size=SIZE, extra={"usr/bin/more": b"#!/bin/sh\n"})
    assert sound(image)
    assert image.stat().st_size == SIZE
    assert ask(image, "cat /usr/sbin/mke2fs").endswith("sbin/mke2fs")
    assert guest_script("agent").decode() in ask(image, "cat /usr/sbin/virtio-crq-agent")
    for name in ("/usr/bin/sh", "/usr/sbin/init", "/usr/sbin/poweroff"):
        assert '"/bin/busybox"' in ask(image, f"stat {name}")
    assert "virtio-crq-session shell" in ask(image, "cat /etc/inittab")
    assert '"usr/bin"' in ask(image, "stat /bin")
    assert '"mke2fs"' in ask(image, "stat /usr/sbin/mkfs.ext4")
    assert "Mode:  0755" in ask(image, "stat /usr/bin/more")
    assert "Mode:  04755" in ask(image, "stat /usr/bin/setuid")
    assert "Mode:  01777" in ask(image, "stat /tmp")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_everything_belongs_to_root_but_what_is_named(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    for name in ("shadow", "of somebody", "plain"):
        (tree / "etc" / name).write_bytes(b"")
    if os.getuid() == 0:
        os.chown(tree / "etc/of somebody", 1000, 1000)
    image = make_ext4(tree, tmp_path / "a.img", SIZE, "label", {"etc/shadow": (0, 42)})
    assert sound(image)
    assert "User:     0   Group:    42" in ask(image, "stat /etc/shadow")
    for path in ("/etc", "/etc/plain", '"/etc/of somebody"'):
        assert "User:     0   Group:     0" in ask(image, f"stat {path}")


def test_a_tree_that_does_not_fit_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(os.urandom(4 << 20))
    with pytest.raises(UsageError, match="mke2fs: ") as refused:
        make_ext4(tree, tmp_path / "a.img", 2 << 20)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_a_userland_without_busybox_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no usr/bin/busybox in it; run \./lab again"):
        make_root_image(tmp_path, tmp_path / "root.img")
