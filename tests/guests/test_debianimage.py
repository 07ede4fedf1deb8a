# SPDX-License-Identifier: Apache-2.0
"""Packages of another architecture are unpacked as dpkg would have them, without privileges and running nothing."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.guests.debianimage import make_debian_image
from virtio_crq.guests.debiantree import DebianTree
from virtio_crq.guests.ext4image import tool
from virtio_crq.guests.initramfs import guest_script


def package(
    directory: Path,
    name: str,
    content: dict[str, tuple[tarfile.TarInfo, bytes]],
    scripts: dict[str, str],
    more: str = "",
) -> Path:
    """A .deb, made as deb(5) describes it: an ar archive of two tar archives."""
    control = f"Package: {name}\nVersion: 1\nArchitecture: ppc64el\nMaintainer: a@b\nDescription: for a test\n{more}"
    members = {"control": (tarfile.TarInfo(), control.encode())}
    members |= {key: (tarfile.TarInfo(), text.encode()) for key, text in scripts.items()}
    parts = [("debian-binary", b"2.0\n"), ("control.tar.gz", tar(members)), ("data.tar.gz", tar(content))]
    path = directory / f"{name}.deb"
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for part, data in parts:
            file.write(f"{part:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode())
            file.write(data + b"\n" * (len(data) % 2))
    return path


def tar(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, (information, data) in members.items():
            information.name = f"./{name}"
            information.size = len(data)
            archive.addfile(information, io.BytesIO(data))
    return raw.getvalue()


def entry(mode: int = 0o644, gid: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    information = tarfile.TarInfo()
    information.mode, information.gid, information.type, information.linkname = mode, gid, kind, link
    return information


@pytest.fixture
def packages(tmp_path: Path) -> list[Path]:
    base = {
        "etc": (entry(0o755, kind=tarfile.DIRTYPE), b""),
        "etc/one.conf": (entry(), b"one"),
        "lib": (entry(kind=tarfile.SYMTYPE, link="usr/lib"), b""),
        "usr/share/base-passwd/passwd.master": (entry(), b"root:*:0:0:root:/root:/bin/bash\n"),
        "usr/share/base-passwd/group.master": (entry(), b"root:*:0:\n"),
        "usr/share/doc/base": (entry(), b"left out"),
        "usr/sbin/init": (entry(kind=tarfile.SYMTYPE, link="/lib/systemd/systemd"), b""),
    }
    library = {
        "lib/powerpc64le-linux-gnu": (entry(0o755, kind=tarfile.DIRTYPE), b""),
        "lib/powerpc64le-linux-gnu/libx.so.1": (entry(), b"\x7fELF"),
        "usr/bin/chage": (entry(0o2755, gid=42), b"\x7fELF"),
        "usr/bin/twin": (entry(kind=tarfile.LNKTYPE, link="./usr/bin/chage"), b""),
    }
    return [
        package(tmp_path, "base", base, {"postinst": "#!/bin/sh\n", "conffiles": "/etc/one.conf\n"}),
        package(tmp_path, "libx1", library, {"triggers": ""}, "Multi-Arch: same\n"),
    ]


def query(admin: Path, *words: str) -> str:
    command = ["dpkg-query", f"--admindir={admin}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_dpkg_finds_every_package_unpacked_with_its_files(packages: list[Path], tmp_path: Path) -> None:
    tree = DebianTree(tmp_path / "tree")
    tree.unpack(packages)
    admin = tree.root / "var/lib/dpkg"
    shown = query(admin, "-W", "-f", "${Package} ${db:Status-Abbrev}${Conffiles}\n")
    assert shown == "base iU  /etc/one.conf f97c5d29941bfb1b2fdab0874906ab82\nlibx1 iU \n"
    assert "/usr/bin/chage" in query(admin, "-L", "libx1").split("\n")
    assert query(admin, "-L", "base").startswith("/etc\n/etc/one.conf\n")
    assert sorted(path.name for path in (admin / "info").iterdir()) == [
        *("base.conffiles", "base.list", "base.postinst", "format", "libx1:ppc64el.list", "libx1:ppc64el.triggers"),
    ]


def test_files_lie_through_the_merged_usr_with_modes_links_and_owners(packages: list[Path], tmp_path: Path) -> None:
    tree = DebianTree(tmp_path / "tree")
    tree.unpack(packages)
    assert (tree.root / "usr/lib/powerpc64le-linux-gnu/libx.so.1").read_bytes() == b"\x7fELF"
    assert os.readlink(tree.root / "lib") == "usr/lib"
    assert (tree.root / "usr/bin/chage").stat().st_mode & 0o7777 == 0o2755
    assert (tree.root / "usr/bin/twin").samefile(tree.root / "usr/bin/chage")
    assert not (tree.root / "usr/share/doc").exists()
    assert tree.owners["usr/bin/chage"] == (0, 42)


def test_the_image_configures_itself_first_and_is_sound(packages: list[Path], tmp_path: Path) -> None:
    image = make_debian_image(packages, tmp_path / "debian.img", size=16 << 20)
    assert subprocess.run([tool("e2fsck"), "-fn", str(image)], capture_output=True).returncode == 0
    orders = "stat /usr/sbin/init\nstat /usr/bin/chage\ncat /usr/sbin/virtio-crq-first-boot\n"
    command = [tool("debugfs"), "-f", "-", str(image)]
    said = subprocess.run(command, input=orders, capture_output=True, text=True, check=True).stdout
    assert '"virtio-crq-first-boot"' in said
    assert "User:     0   Group:    42" in said
    assert guest_script("first-boot").decode() in said
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_package_that_is_broken_is_one_line(packages: list[Path], tmp_path: Path) -> None:
    packages[1].write_bytes(packages[1].read_bytes()[:-300])
    with pytest.raises(UsageError, match=r"libx1\.deb cannot be unpacked: ") as refused:
        DebianTree(tmp_path / "tree").unpack(packages)
    assert "\n" not in str(refused.value)


def test_a_package_that_leads_out_of_the_tree_is_refused(tmp_path: Path) -> None:
    evil = package(tmp_path, "evil", {"../outside": (entry(), b"")}, {})
    with pytest.raises(UsageError, match="which leads out of it"):
        DebianTree(tmp_path / "tree").unpack([evil])
    assert not (tmp_path / "outside").exists()


def test_the_first_boots_script_is_shell() -> None:
    assert subprocess.run(["sh", "-n"], input=guest_script("first-boot")).returncode == 0
