# SPDX-License-Identifier: Apache-2.0
"""The initramfs of a guest: busybox, the kernel package's own modules, our transport, the agent, and an init.

The init loads the modules in order, then goes on to the root disk that `root=` names, or stays: the agent on hvc1,
a shell on hvc0. Its words on the kernel's command line:

    root=/dev/vda       go on to this disk, once it is there
    init=/sbin/init     what to run on it; without it /sbin/init
    rootflags=, ro, rw  how to mount it; without them read-write
    virtio_crq.load=no  leave our transport out, for a guest with nothing of ours inside
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.guests.archive import Archive
from virtio_crq.guests.modules import Module, ModuleTree, read_module

# What a guest needs for disks, consoles and entropy over virtio, and the file system of its root.
STANDARD = ("virtio", "virtio_ring", "virtio_blk", "virtio_console", "virtio-rng", "ext4")
BUSYBOX = "bin/busybox"
MODULES = "lib/modules"


@dataclass(frozen=True)
class Carried:
    """A module inside, as a report names it."""

    name: str
    sha256: str
    path: Path
    ours: bool


@dataclass(frozen=True)
class Initramfs:
    """`image` is what `-initrd` takes; `builtin` names those that the kernel image holds itself."""

    image: bytes
    release: str
    modules: tuple[Carried, ...]
    builtin: tuple[str, ...]

    def write(self, path: Path) -> Path:
        path.write_bytes(self.image)
        return path


def make_initramfs(
    tree: ModuleTree,
    busybox: Path,
    *,
    transport: Path | None = None,
    names: Sequence[str] = STANDARD,
    extra: Mapping[str, bytes] | None = None,
) -> Initramfs:
    """An initramfs for the kernel of `tree`.

    `transport` is our virtio_crq.ko, `names` which modules of the package are loaded, in this order and after what
    they need; `extra` are more files, by their path, all executable.
    """
    modules = tree.in_order(names)
    if transport is not None:
        modules.append(_transport(tree, transport, modules))
    archive = Archive()
    for path in ("dev", "proc", "sys", "run", "tmp", "root", "sbin", "etc"):
        archive.directory(path)
    archive.character_device("dev/console", 5, 1)
    archive.character_device("dev/null", 1, 3, 0o666)
    archive.file(BUSYBOX, _read(busybox), 0o755)
    archive.link("bin/sh", "busybox")
    archive.link("sbin/poweroff", "../bin/busybox")  # the kernel calls it when somebody presses the power button
    archive.file("etc/inittab", guest_file("inittab"))
    for script in ("init", "agent", "session"):
        archive.file(script if script == "init" else f"sbin/virtio-crq-{script}", guest_script(script), 0o755)
    for number, module in enumerate(modules):
        # Numbered, so that the shell's own order of names is the order of loading.
        archive.file(f"{MODULES}/{number:03}-{module.name}.ko", module.content)
    for path, content in (extra or {}).items():
        archive.file(path, content, 0o755)
    return Initramfs(
        image=archive.compressed(),
        release=tree.release,
        modules=tuple(Carried(each.name, each.sha256, each.path, each.path == transport) for each in modules),
        builtin=tuple(name for name in names if tree.builtin(name)),
    )


def guest_script(name: str) -> bytes:
    """A shell script of ours that runs in guests."""
    return guest_file(f"{name}.sh")


def guest_file(name: str) -> bytes:
    """A file of ours that lies in guests."""
    return (files("virtio_crq.guests") / "scripts" / name).read_bytes()


def _transport(tree: ModuleTree, path: Path, loaded: Sequence[Module]) -> Module:
    module = read_module(path)
    if module.release != tree.release:
        raise UsageError(f"{path} was built for kernel {module.release}, this one is {tree.release}; run ./lab again")
    known = {each.name for each in loaded}
    missing = [need for need in module.depends if need.replace("-", "_") not in known and not tree.builtin(need)]
    if missing:
        raise UsageError(f"{path} needs {', '.join(missing)}, which is not among the modules of the initramfs")
    return module


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
