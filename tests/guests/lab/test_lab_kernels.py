# SPDX-License-Identifier: Apache-2.0
"""Which packages make a kernel, and a header tree that builds where it lies."""

import shutil
from pathlib import Path

import pytest
from fakearchive import FakeArchive, Told

from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import KERNELS, KernelParts, Lab
from virtio_crq.guests.lab import kernelpackages
from virtio_crq.guests.lab import part as parts
from virtio_crq.guests.lab import suite as suites
from virtio_crq.guests.lab.filling import Filling
from virtio_crq.guests.lab.kernelpackages import SUITES, kernel_part

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="this host has no APT")

RELEASE = "6.12.9+deb13-powerpc64le"
SOURCE = f"usr/src/linux-headers-{RELEASE}"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeArchive:
    for module in (suites, parts):
        monkeypatch.setattr(module, "KEYRING", tmp_path / "no keyring here")
    monkeypatch.setattr(parts, "host_architecture", lambda: "amd64")
    monkeypatch.setattr(kernelpackages, "make_runnable", lambda *arguments: 0)
    return FakeArchive(tmp_path / "archive")


@pytest.fixture
def filling(tmp_path: Path, archive: FakeArchive) -> Filling:
    (tmp_path / "lab").mkdir()
    return Filling.at(tmp_path / "lab", archive.url, Told())


def add_kernel(archive: FakeArchive, suite: str, release: str = RELEASE, version: str = "6.12.9-1") -> None:
    image = {f"boot/vmlinux-{release}": "ELF", f"usr/lib/modules/{release}/kernel/virtio.ko.xz": "module"}
    unsigned = f"linux-image-{release}-unsigned"
    archive.add(f"linux-image-{release}", image, version=version, suite=suite, depends="kmod, linux-base (>= 4)")
    common, kbuild = f"linux-headers-{release.split('-')[0]}-common", f"linux-kbuild-{release.split('-')[0]}"
    archive.add(
        f"linux-headers-{release}",
        {
            f"usr/src/linux-headers-{release}/Makefile": f"include /usr/src/{common}/Makefile\n",
            f"usr/src/linux-headers-{release}/vmlinux": "for BTF",
        },
        version=version,
        suite=suite,
        depends=f"linux-image-{release} (= {version}) | {unsigned}, {common} (= {version}), {kbuild}, gcc-14",
    )
    archive.add(common, {f"usr/src/{common}/Makefile": "all:\n"}, version=version, architecture="all", suite=suite)
    for architecture in ("amd64", "ppc64el"):
        files = {f"usr/lib/{kbuild}/scripts/mod/modpost": f"#!{architecture}\n"}
        archive.add(kbuild, files, version=version, architecture=architecture, suite=suite)


def filled(filling: Filling) -> KernelParts:
    (filling.root / "virtio_crq.ko").write_text("")
    filling.manifest.put("transport-6.12", {"path": "virtio_crq.ko"})
    return Lab.open(filling.root).kernel("6.12")


def test_a_kernel_is_its_image_headers_and_build_programs_of_this_host(
    archive: FakeArchive, filling: Filling, tmp_path: Path
) -> None:
    add_kernel(archive, "trixie")
    filling.need(kernel_part("6.12", tmp_path))
    kernel = filled(filling)
    assert kernel.release == RELEASE
    assert kernel.vmlinux.read_text() == "ELF"
    assert (kernel.modules / "kernel/virtio.ko.xz").read_text() == "module"
    chosen = {(package.name.split("-6")[0], package.architecture) for package in kernel.packages}
    assert chosen == {
        ("linux-image", "ppc64el"), ("linux-headers", "ppc64el"), ("linux-headers", "all"), ("linux-kbuild", "amd64"),
    }  # fmt: skip


def test_its_headers_build_where_they_lie(archive: FakeArchive, filling: Filling, tmp_path: Path) -> None:
    add_kernel(archive, "trixie")
    filling.need(kernel_part("6.12", tmp_path))
    tree = filling.root / "parts/kernel-6.12"
    included = (tree / SOURCE / "Makefile").read_text().split()[1]
    assert Path(included).read_text() == "all:\n"
    assert not (tree / SOURCE / "vmlinux").exists()
    script = next(tree.glob("usr/lib/linux-kbuild-*/scripts/checker-valid.sh"))
    assert script.stat().st_mode & 0o100


def test_the_newest_of_the_series_is_taken(archive: FakeArchive, filling: Filling, tmp_path: Path) -> None:
    add_kernel(archive, "trixie")
    add_kernel(archive, "trixie", "6.12.10+deb13-powerpc64le", "6.12.10-1")
    add_kernel(archive, "trixie", "6.13.1+deb13-powerpc64le", "6.13.1-1")
    filling.need(kernel_part("6.12", tmp_path))
    assert filled(filling).release == "6.12.10+deb13-powerpc64le"


@pytest.mark.parametrize("why", ["not there", "without it"])
def test_a_suite_without_the_series_gives_way_to_the_next(
    why: str, archive: FakeArchive, filling: Filling, tmp_path: Path
) -> None:
    if why == "without it":
        archive.add("bash", suite="trixie")
    add_kernel(archive, "bookworm-backports")
    filling.need(kernel_part("6.12", tmp_path))
    assert filled(filling).release == RELEASE


def test_a_series_that_debian_no_longer_has_can_be_given(
    archive: FakeArchive, filling: Filling, tmp_path: Path
) -> None:
    for suite in SUITES["7.2"]:
        archive.add("bash", suite=suite, version=f"1-{len(suite)}")
    with pytest.raises(UsageError, match=r"no kernel 7\.2 any more in sid.*give your own by --kernel 7\.2=DIRECTORY"):
        filling.need(kernel_part("7.2", tmp_path))


def test_no_network_is_said_for_kernels_too(filling: Filling, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Debian's trixie could not be read"):
        filling.need(kernel_part("6.12", tmp_path))


def test_every_kernel_of_the_lab_is_looked_for_somewhere() -> None:
    assert tuple(SUITES) == KERNELS
