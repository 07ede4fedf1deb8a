# SPDX-License-Identifier: Apache-2.0
"""The guest's transport, a kernel module: built for each kernel, anew when its sources or that kernel changed."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.cache import CROSS
from virtio_crq.guests.lab.child import run_child
from virtio_crq.guests.lab.manifest import Manifest

MODULE = "virtio_crq"
SOURCES = {".c", ".h", ".S", ".lds"}
SOURCE_NAMES = {"Makefile", "Kbuild"}
# BTF of a module needs pahole and the kernel's own image, and serves debuggers only.
NO_BTF = "CONFIG_DEBUG_INFO_BTF_MODULES="


@dataclass(frozen=True)
class Toolchain:
    """`tools` is put before PATH; `None` takes what the host has."""

    tools: Path | None
    prefix: str = CROSS

    def environment(self) -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath)
        return {**os.environ, "PATH": f"{self.tools}:{path}" if self.tools else path, "LC_ALL": "C"}

    def make(self, headers: Path, source: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Kbuild over the module in `source`; warnings come on stderr."""
        words = ["make", "-C", str(headers), f"M={source}", "ARCH=powerpc", f"CROSS_COMPILE={self.prefix}"]
        words += [f"CC={self.prefix}gcc", NO_BTF, *arguments, "modules"]
        return run_child(words, self.environment())

    def strip(self, module: Path) -> None:
        """Leave the debugger's part out: twenty times the module itself, and a guest unpacks all of it at boot."""
        words = [f"{self.prefix}strip", "--strip-debug", str(module)]
        subprocess.run(words, env=self.environment(), capture_output=True, check=True)


def source_files(source: Path) -> list[Path]:
    """What a build depends on; what an earlier build left among the sources is not."""
    return sorted(
        path
        for path in source.rglob("*")
        if path.is_file()
        and (path.suffix in SOURCES or path.name in SOURCE_NAMES)
        and not path.name.endswith(".mod.c")
        and not path.name.startswith(".")
    )


def source_hash(source: Path) -> str:
    digest = hashlib.sha256()
    for path in source_files(source):
        digest.update(f"{path.relative_to(source)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def copy_sources(source: Path, target: Path) -> None:
    """Kbuild writes beside its sources, and the tree is not the place for that."""
    shutil.rmtree(target, ignore_errors=True)
    for path in source_files(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def build_transport(root: Path, manifest: Manifest, name: str, source: Path, toolchain: Toolchain) -> bool:
    """Make virtio_crq.ko for the kernel `name` current; False when it was."""
    kernel = manifest.parts[f"kernel-{name}"]
    stamp = {"source": source_hash(source), "kernel": kernel_stamp(kernel)}
    known: dict[str, Any] = manifest.parts.get(f"transport-{name}", {})
    if {key: known.get(key) for key in stamp} == stamp and (root / known["path"]).exists():
        return False
    work = root / "transport" / f"{name}.new"
    copy_sources(source, work)
    done = toolchain.make(root / kernel["build"], work, "W=1")
    module = work / f"{MODULE}.ko"
    if done.returncode or not module.exists():
        raise VirtioCrqError(
            f"{MODULE} could not be built for kernel {name}: {first_errors(done.stdout + done.stderr)}"
        )
    toolchain.strip(module)
    final = root / "transport" / name
    shutil.rmtree(final, ignore_errors=True)
    final.mkdir()
    module.rename(final / module.name)
    shutil.rmtree(work, ignore_errors=True)
    path = final / module.name
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.put(f"transport-{name}", {**stamp, "path": str(path.relative_to(root)), "sha256": digest})
    return True


def kernel_stamp(kernel: dict[str, Any]) -> str:
    """What distinguishes one kernel from another of the same release."""
    packages = ",".join(sorted(row["sha256"] for row in kernel["packages"]))
    return hashlib.sha256(f"{kernel['release']} {packages}".encode()).hexdigest()


def first_errors(text: str, most: int = 3) -> str:
    """The lines of a build that say what is wrong."""
    lines = text.splitlines()
    wrong: Sequence[str] = [line.strip() for line in lines if "error:" in line] or lines[-most:]
    hint = " (the compiler is too old for these headers)" if "unrecognized command-line option" in text else ""
    return "; ".join(dict.fromkeys(wrong[:most])) + hint
