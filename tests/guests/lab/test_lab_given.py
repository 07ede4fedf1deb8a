# SPDX-License-Identifier: Apache-2.0
"""Parts that a person gives: accepted when they are whole, otherwise one line that says what is missing."""

from pathlib import Path

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.guests.lab.given import given_compiler, given_kernel, given_qemu, given_userland

RELEASE = "6.12.9-mine"


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    tree = tmp_path / "kernel"
    (tree / "lib/modules" / RELEASE).mkdir(parents=True)
    (tree / "vmlinux").write_text("ELF")
    (tree / "build").mkdir()
    (tree / "build/Makefile").write_text("")
    return tree


def test_a_kernel_of_ones_own_is_accepted(kernel: Path) -> None:
    key, facts = given_kernel(f"6.12={kernel}")
    assert key == "kernel-6.12"
    assert (facts["release"], facts["vmlinux"], facts["build"]) == (
        RELEASE,
        str(kernel / "vmlinux"),
        str(kernel / "build"),
    )


def test_a_kernel_laid_out_as_its_packages_are_is_accepted(kernel: Path) -> None:
    (kernel / "boot").mkdir()
    (kernel / "vmlinux").rename(kernel / f"boot/vmlinux-{RELEASE}")
    (kernel / "usr/src").mkdir(parents=True)
    (kernel / "build").rename(kernel / f"usr/src/linux-headers-{RELEASE}")
    facts = given_kernel(f"6.12={kernel}")[1]
    assert facts["vmlinux"].endswith(f"boot/vmlinux-{RELEASE}")
    assert facts["build"].endswith(f"linux-headers-{RELEASE}")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("6.12", r"write VERSION=DIRECTORY"),
        ("5.10={}", r"VERSION being one of 6\.1, 6\.12, 7\.2"),
        ("7.2={}", r"modules of 6\.12\.9-mine, not of 7\.2"),
        ("6.1={}", r"modules of 6\.12\.9-mine, not of 6\.1"),
        ("6.12={}/nothing", r"needs one lib/modules/RELEASE, and has 0"),
    ],
)
def test_a_kernel_that_is_another_is_refused(option: str, said: str, kernel: Path) -> None:
    with pytest.raises(UsageError, match=said):
        given_kernel(option.format(kernel))


@pytest.mark.parametrize(
    ("missing", "said"), [("vmlinux", "no image: put it at"), ("build/Makefile", "link .*build to")]
)
def test_a_kernel_that_is_not_whole_is_refused(missing: str, said: str, kernel: Path) -> None:
    (kernel / missing).unlink()
    with pytest.raises(UsageError, match=said):
        given_kernel(f"6.12={kernel}")


def test_programs_of_ones_own_are_looked_through(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    for name in ("busybox", "fio", "mke2fs", "e2fsck"):
        (tmp_path / "usr/bin" / name).write_text("")
    with pytest.raises(UsageError, match="no blkdiscard for ppc64le"):
        given_userland(tmp_path)
    (tmp_path / "usr/bin/blkdiscard").write_text("")
    assert given_userland(tmp_path)["path"] == str(tmp_path)


def test_a_compiler_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UsageError, match=r"--cross ppc-: there is no program ppc-gcc; PREFIX is what stands before gcc"
    ):
        given_compiler("ppc-")
    for name in ("ppc-gcc", "ppc-strip", "make"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert given_compiler("ppc-")["prefix"] == "ppc-"


def test_a_qemu_that_is_not_there_or_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such program"):
        given_qemu(str(tmp_path / "qemu"))
    with pytest.raises(UsageError, match="does not answer as a QEMU"):
        given_qemu("/bin/true")
