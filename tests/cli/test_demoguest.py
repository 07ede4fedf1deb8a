# SPDX-License-Identifier: Apache-2.0
"""The demo's guest: what it read decides, and what is shown is the dialogue alone."""

import os
import sys
from pathlib import Path

import pytest

from virtio_crq.cli import demoguest
from virtio_crq.cli.demoguest import boot_guest, dialogue, kernel_of_the_lab
from virtio_crq.cli.demotree import DemoFailed, make_image, sha256
from virtio_crq.guests.cache import KernelParts

KERNEL = KernelParts("6.1", "6.1.0-50", Path("vmlinux"), Path("modules"), Path("virtio_crq.ko"), ())


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "tree/large").mkdir(parents=True)
    for number in range(3):
        (tmp_path / f"tree/large/00{number}.bin").write_bytes(bytes([number]) * 100_000)
    return tmp_path


def answering(monkeypatch: pytest.MonkeyPatch, text: str, status: int = 0) -> None:
    """A guest whose console says `text`."""
    program = f"import sys\nsys.stdout.write({text!r})\nsys.exit({status})"
    monkeypatch.setattr(demoguest, "command", lambda *words: [sys.executable, "-c", program])


def hashes(work: Path) -> list[str]:
    return [f"{sha256(path)}  /mnt/{path.relative_to(work / 'tree')}" for path in sorted(work.glob("tree/large/*"))]


def test_the_dialogue_is_what_was_typed_and_what_was_answered() -> None:
    said = "[    1.0] booting\r\nguest# \x1b[6nuname\r\nLinux\r\n[    2.0] noise\r\n\r\nguest# \x1b[6npoweroff -f\r\n"
    assert dialogue(said) == ["guest# uname", "Linux", "guest# poweroff -f"]


def test_a_guest_that_reads_what_was_put_in_is_shown(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "guest# sha256sum\n" + "\n".join(hashes(work)))
    assert boot_guest(work, "demo", KERNEL) == ["guest# sha256sum", *hashes(work)]


def test_a_guest_that_reads_something_else_fails_the_demo(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = hashes(work)
    lines[1] = "0" * 64 + lines[1][64:]
    answering(monkeypatch, "guest# sha256sum\n" + "\n".join(lines))
    with pytest.raises(DemoFailed, match=r"read 1 files wrong, the first: large/001\.bin"):
        boot_guest(work, "demo", KERNEL)


def test_a_guest_that_reads_too_little_fails_the_demo(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "guest# sha256sum\n" + "\n".join(hashes(work)[1:]))
    with pytest.raises(DemoFailed, match="read 2 files of 3"):
        boot_guest(work, "demo", KERNEL)


def test_a_guest_that_dies_fails_the_demo(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "guest# \n" + "\n".join(hashes(work)), status=1)
    with pytest.raises(DemoFailed, match="ended with status 1"):
        boot_guest(work, "demo", KERNEL)


def test_without_a_lab_there_is_no_guest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIRTIO_CRQ_LAB", str(tmp_path))
    assert kernel_of_the_lab() is None


@pytest.mark.guest
def test_a_stock_kernel_mounts_the_image(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image(work / "tree", work / "root.img")
    kernel = kernel_of_the_lab()
    assert kernel is not None
    lines = boot_guest(work, f"demo-{os.getpid()}-guest", kernel)
    assert f"Linux {kernel.release} ppc64le" in lines
    assert "/vdevice/virtio-crq@30000002" in lines
