# SPDX-License-Identifier: Apache-2.0
"""A Debian root file system for guests: a small one with systemd that configures its packages at its first boot.

For tests and nothing else: whoever reaches its consoles is root without a password.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.guests.debiantree import DebianTree
from virtio_crq.guests.ext4image import make_ext4
from virtio_crq.guests.initramfs import guest_script
from virtio_crq.guests.lab.download import Downloads, Gone
from virtio_crq.guests.lab.part import Archive
from virtio_crq.guests.lab.report import Report
from virtio_crq.guests.lab.suite import GUEST, host_proxies
from virtio_crq.guests.rootimage import place

SUITE = "trixie"
SIZE = 1 << 30
LABEL = "debian-root"
# Debian's essential packages, which depend on nobody's word, and what makes a system of them.
PACKAGES = (
    "base-files", "base-passwd", "bash", "bsdutils", "coreutils", "dash", "debianutils", "diffutils", "dpkg",
    "findutils", "grep", "gzip", "hostname", "init-system-helpers", "libc-bin", "ncurses-base", "ncurses-bin",
    "perl-base", "sed", "sysvinit-utils", "tar", "util-linux",
    "systemd-sysv", "udev", "login", "passwd", "mount", "e2fsprogs",
)  # fmt: skip

_AUTOLOGIN = """\
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200,57600,38400,9600 - $TERM
"""
_AGENT = """\
[Unit]
Description=Commands from the host on hvc1
ConditionPathExists=/dev/hvc1

[Service]
ExecStart=/usr/sbin/virtio-crq-agent
StandardInput=tty
StandardOutput=tty
StandardError=journal
TTYPath=/dev/hvc1
Restart=always

[Install]
WantedBy=multi-user.target
"""
# A console of virtio is the first hvc behind the two terminals of the machine itself.
_CONSOLES = """\
SUBSYSTEM=="virtio-ports", KERNEL=="vport*p0", TAG+="systemd", ENV{SYSTEMD_WANTS}+="serial-getty@hvc2.service"
"""
_FILES = {
    "etc/hostname": "debian\n",
    "etc/hosts": "127.0.0.1 localhost debian\n",
    "etc/fstab": "",
    "etc/systemd/system/serial-getty@.service.d/autologin.conf": _AUTOLOGIN,
    "etc/systemd/system/virtio-crq-agent.service": _AGENT,
    "etc/udev/rules.d/60-virtio-crq.rules": _CONSOLES,
}
_LINKS = {
    "etc/systemd/system/multi-user.target.wants/virtio-crq-agent.service": "../virtio-crq-agent.service",
    "etc/systemd/system/systemd-firstboot.service": "/dev/null",  # it would ask questions on the console
    "etc/systemd/system/getty-static.service": "/dev/null",  # for screens, of which there is none
    "etc/systemd/system/default.target": "/usr/lib/systemd/system/multi-user.target",
    "usr/sbin/init": "virtio-crq-first-boot",
}


def fetch_packages(folder: Path, mirror: str, report: Report) -> list[Path]:
    """The closure of `PACKAGES` in `folder`; what is there already is not fetched again."""
    archive = Archive(folder / "apt", mirror, report)
    downloads = Downloads(folder / "debs", report, host_proxies)
    debs = archive.suite(SUITE).closure(PACKAGES, GUEST)
    report.say(f"Debian {SUITE}: {len(debs)} packages, {sum(deb.size for deb in debs) / 1e6:.0f} MB")
    try:
        downloads.fetch(debs)
    except Gone as gone:
        raise UsageError(f"{gone}; Debian's archive is just being renewed, try again") from None
    return [downloads.path(deb) for deb in debs]


def make_debian_image(packages: Sequence[Path], image: Path, *, size: int = SIZE) -> Path:
    """An ext4 image of these packages, the closure of `PACKAGES`."""
    with tempfile.TemporaryDirectory(prefix=".debian-", dir=image.parent) as work:
        tree = DebianTree(Path(work) / "tree")
        tree.unpack(packages)
        for name in ("dev", "proc", "sys", "run"):
            (tree.root / name).mkdir(exist_ok=True)
        for name in ("passwd", "group"):
            master = tree.root / f"usr/share/base-passwd/{name}.master"
            place(tree.root, f"etc/{name}", master.read_bytes(), 0o644)
        for path, text in _FILES.items():
            place(tree.root, path, text.encode(), 0o644)
        for name in ("agent", "first-boot"):
            place(tree.root, f"usr/sbin/virtio-crq-{name}", guest_script(name), 0o755)
        for path, target in _LINKS.items():
            (tree.root / path).parent.mkdir(parents=True, exist_ok=True)
            (tree.root / path).unlink(missing_ok=True)
            (tree.root / path).symlink_to(target)
        return make_ext4(tree.root, image, size, LABEL, tree.owners)
