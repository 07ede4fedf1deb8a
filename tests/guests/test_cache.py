# SPDX-License-Identifier: Apache-2.0
"""The lab as its users see it: paths and facts, or one line that says to run ./lab."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import KERNELS, MANIFEST, Lab, lab_directory

ROOT = Path(__file__).parents[2]
PACKAGE = {"name": "linux-image", "version": "6.1.176-1", "architecture": "ppc64el", "sha256": "0" * 64}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("kernel/modules", "module", "programs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "kernel/vmlinux").write_text("")
    (tmp_path / "module/virtio_crq.ko").write_text("")
    manifest = {
        "qemu": {"argv": ["@LAB@/ld.so", "@LAB@/qemu"], "share": "@LAB@/share", "version": "11.1.3", "origin": "host"},
        "kernel-6.1": {
            "release": "6.1.0-50",
            "vmlinux": "kernel/vmlinux",
            "modules": "kernel/modules",
            "packages": [PACKAGE],
        },
        "kernel-7.2": {"release": "7.2.9", "vmlinux": "kernel/vmlinux", "modules": "kernel/modules", "packages": []},
        "transport-6.1": {"path": "module/virtio_crq.ko"},
        "userland": {"path": "programs"},
    }
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    return tmp_path


def test_a_lab_says_where_everything_is(root: Path) -> None:
    lab = Lab.open(root)
    assert lab.qemu().argv == (f"{root}/ld.so", f"{root}/qemu")
    kernel = lab.kernel("6.1")
    assert (kernel.vmlinux, kernel.modules) == (root / "kernel/vmlinux", root / "kernel/modules")
    assert kernel.transport == root / "module/virtio_crq.ko"
    assert kernel.packages[0].version == "6.1.176-1"
    assert lab.kernels() == ("6.1", "7.2")
    assert lab.userland() == root / "programs"


def test_a_lab_may_be_moved(root: Path, tmp_path: Path) -> None:
    moved = tmp_path.with_name("moved")
    root.rename(moved)
    assert Lab.open(moved).qemu().share == moved / "share"


def test_what_is_missing_is_one_line_that_says_what_to_do(root: Path) -> None:
    with pytest.raises(UsageError, match=r"no lab in .*: run \./lab once"):
        Lab.open(root / "nothing")
    with pytest.raises(UsageError, match=r"no kernel 6\.12: run \./lab again"):
        Lab.open(root).kernel("6.12")
    with pytest.raises(UsageError, match=r"no kernel '5\.10': the lab has 6\.1, 6\.12, 7\.2"):
        Lab.open(root).kernel("5.10")
    with pytest.raises(UsageError, match=r"no module virtio_crq for kernel 7\.2: run \./lab again"):
        Lab.open(root).kernel("7.2")
    (root / "module/virtio_crq.ko").unlink()
    with pytest.raises(UsageError, match=r"virtio_crq\.ko is gone: run \./lab again"):
        Lab.open(root).kernel("6.1")
    (root / MANIFEST).write_text("half")
    with pytest.raises(UsageError, match=r"cannot be read .*: run \./lab again"):
        Lab.open(root)


def test_the_lab_is_where_the_person_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIRTIO_CRQ_LAB", str(tmp_path / "mine"))
    assert lab_directory() == tmp_path / "mine"
    monkeypatch.delenv("VIRTIO_CRQ_LAB")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert lab_directory() == tmp_path / "virtio-crq/lab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert lab_directory() == tmp_path / ".cache/virtio-crq/lab"


def pytest_run(lab: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", *arguments]
    environment = {**os.environ, "VIRTIO_CRQ_LAB": str(lab)}
    return subprocess.run(
        [*words, "tests/guests/lab"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_tests_of_guests_are_left_out_unless_they_are_wanted(tmp_path: Path) -> None:
    done = pytest_run(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "checkpatch" not in done.stdout
    assert "deselected" in done.stdout


def test_tests_of_guests_without_a_lab_are_a_failure_and_no_skip(tmp_path: Path) -> None:
    done = pytest_run(tmp_path / "nothing", "--guests")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"--guests: no lab in {tmp_path}/nothing: run ./lab once" in done.stderr


@pytest.mark.guest
def test_the_lab_of_this_host_has_everything() -> None:
    lab = Lab.open()
    assert lab.kernels() == KERNELS
    for name in KERNELS:
        kernel = lab.kernel(name)
        assert kernel.release.startswith(f"{name}.")
        assert kernel.vmlinux.read_bytes()[:4] == b"\x7fELF"
    assert lab.qemu().version


@pytest.mark.guest
def test_a_program_for_guests_is_compiled(tmp_path: Path) -> None:
    source = tmp_path / "answer.c"
    source.write_text('#include <stdio.h>\nint main(void) { return puts("42") < 0; }\n')
    program = Lab.open().compile(source)
    header = program.read_bytes()[:20]
    assert header[:6] == b"\x7fELF\x02\x01", "64 bits, little-endian"
    assert header[18:20] == b"\x15\x00", "EM_PPC64"
    assert Lab.open().compile(source) == program
    source.write_text("int main(void) { return mistake; }\n")
    with pytest.raises(UsageError, match=r"answer\.c does not compile: .*mistake"):
        Lab.open().compile(source)
