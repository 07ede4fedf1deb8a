# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels: which packages make one, and a header tree that builds modules where it lies."""

import re
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.lab.deb import Deb
from virtio_crq.guests.lab.part import Archive, Part, Staged
from virtio_crq.guests.lab.suite import GUEST, Suite
from virtio_crq.guests.lab.unpack import make_runnable

FLAVOUR = "powerpc64le"
# Where a series is looked for, in this order.
SUITES = {
    "6.1": ("bookworm",),
    "6.12": ("trixie", "bookworm-backports"),
    "7.2": ("sid", "testing", "trixie-backports"),
}
OF_A_KERNEL = re.compile(r"linux-(image|binary|modules|base|headers|kbuild)-[0-9]\S*")


def kernel_part(series: str, toolchain: Path | None) -> Part:
    """One kernel. Its build programs are run by the libraries of `toolchain`, or by the host's own."""
    return Part(
        f"kernel-{series}",
        f"kernel {series}",
        lambda archive: _plan(archive, series),
        lambda staged: _finish(staged, toolchain),
        merged=False,
    )


def _plan(archive: Archive, series: str) -> list[Deb]:
    found = archive.first(SUITES[series], lambda suite: _packages(suite, series))
    if not found:
        raise UsageError(
            f"Debian has no kernel {series} any more in {', '.join(SUITES[series])}: "
            f"give your own by --kernel {series}=DIRECTORY"
        )
    return found


def _packages(suite: Suite, series: str) -> list[Deb]:
    """Image, modules, headers and build programs of the newest kernel of a series; empty if the suite has none."""
    release = _newest_release(suite, series)
    if release is None:
        return []
    wanted = [f"linux-image-{release}", f"linux-headers-{release}"]
    chosen: dict[str, Deb] = {}
    while wanted:
        name = wanted.pop()
        if name in chosen:
            continue
        # The build programs run here; everything else is for the guest or for any architecture.
        order = (suite.native, GUEST) if name.startswith("linux-kbuild") else (GUEST, suite.native)
        stanza = next((found for where in order if (found := suite.stanza(name, where))), None)
        if stanza is None:
            raise VirtioCrqError(f"Debian's {suite.name} names {name} but does not have it: try later")
        chosen[name] = Deb.from_stanza(suite.mirror, stanza)
        depends = stanza.get("depends", "").split(",")  # of alternatives, the first is the kernel's own
        wanted += [word[0] for text in depends if (word := text.split()) and OF_A_KERNEL.fullmatch(word[0])]
    return list(chosen.values())


def _let_sparse_run(tree: Path) -> None:
    """Newer kernels ask a script whether sparse is fit, and Debian's packages leave that one out: ours is."""
    for scripts in tree.glob("usr/lib/linux-kbuild-*/scripts"):
        script = scripts / "checker-valid.sh"
        if not script.exists():
            script.write_text("#!/bin/sh\necho 1\n")
            script.chmod(0o755)


def _newest_release(suite: Suite, series: str) -> str | None:
    names = [name for name in suite.names(f"linux-image-{series}.") if name.endswith(f"-{FLAVOUR}")]
    there = [name for name in names if suite.stanza(name, GUEST)]
    newest = max(there, key=lambda name: [int(digits) for digits in re.findall(r"\d+", name)], default=None)
    return newest and newest.removeprefix("linux-image-")


def _finish(staged: Staged, toolchain: Path | None) -> dict[str, Any]:
    tree = staged.now
    modules = next(
        (found for base in ("lib", "usr/lib") for found in (tree / base / "modules").glob(f"*-{FLAVOUR}")), None
    )
    if modules is None:
        raise VirtioCrqError("the kernel's packages hold no modules")
    release = modules.name
    vmlinux = next((path for path in (tree / f"boot/vmlinux-{release}", modules / "vmlinuz") if path.exists()), None)
    headers = tree / "usr/src" / f"linux-headers-{release}"
    if vmlinux is None or not headers.is_dir():
        raise VirtioCrqError(f"the packages of kernel {release} hold no image or no headers")
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{staged.final}/usr/src/"))
    (headers / "vmlinux").unlink(missing_ok=True)  # for BTF of modules, which needs pahole; 30 MB
    _let_sparse_run(tree)
    if toolchain:
        make_runnable(sorted(tree.glob("usr/lib/linux-kbuild-*")), toolchain, tree, staged.final)
    return {
        "release": release,
        "vmlinux": staged.name(vmlinux),
        "modules": staged.name(modules),
        "build": staged.name(headers),
        "place": str(staged.final),
    }
