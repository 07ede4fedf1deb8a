# SPDX-License-Identifier: Apache-2.0
"""What the kernel's own tools say of our module: W=1, sparse with its endian checks, and checkpatch."""

import re
import shutil
from pathlib import Path
from typing import Any

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.lab.child import run_child
from virtio_crq.guests.lab.deb import Deb
from virtio_crq.guests.lab.part import Archive, Part, Staged
from virtio_crq.guests.lab.programs import SUITE
from virtio_crq.guests.lab.transport import Toolchain, copy_sources, first_errors, source_files

SPARSE = ("W=1", "C=2", "CF=-D__CHECK_ENDIAN__")
SCRIPTS = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch")
# One source serves three kernels, which checkpatch cannot know: only the newest has kzalloc_obj, and lines that ask for
# the kernel's version are not for a tree that has one. One dma_map_ops is the platform's but for two entries.
IGNORED = ("ALLOC_WITH_SIZEOF", "FILE_PATH_CHANGES", "CONST_STRUCT")
VERSION_ASKED = "LINUX_VERSION_CODE"
PLACE = re.compile(r"(?P<path>[^:]+):(?P<line>\d+):")
FINDING = re.compile(r"\b(warning|error)\b", re.IGNORECASE)


def _plan(archive: Archive) -> list[Deb]:
    suite = archive.suite(SUITE)
    newest = suite.stanza("linux-source", archive.native).get("depends", "").split(" ")[0].rstrip(",")
    stanza = suite.stanza(newest, archive.native) if newest else {}
    if not stanza:
        raise VirtioCrqError(f"Debian's {SUITE} does not have linux-source now: try later")
    return [Deb.from_stanza(suite.mirror, stanza)]


def _finish(staged: Staged) -> dict[str, Any]:
    """Of the kernel's whole source only checkpatch and its lists are kept: they come in no other package."""
    tarball = next((staged.now / "usr/src").glob("linux-source-*.tar.*"))
    patterns = [f"*/scripts/{name}" for name in SCRIPTS]
    words = ["tar", "-x", "-f", str(tarball), "-C", str(staged.now), "--strip-components=2", "--wildcards", *patterns]
    done = run_child(words)
    shutil.rmtree(staged.now / "usr")
    if done.returncode or not (staged.now / SCRIPTS[0]).exists():
        raise VirtioCrqError(f"checkpatch could not be taken from the kernel's source: {' '.join(done.stderr.split())}")
    return {"path": staged.name(staged.now / SCRIPTS[0])}


CHECKPATCH = Part("checkpatch", "checkpatch, from the kernel's source", _plan, _finish, merged=False)


def lint_build(source: Path, headers: Path, work: Path, toolchain: Toolchain) -> list[str]:
    """Findings of compiler and sparse in our files, against one kernel's headers."""
    copy_sources(source, work)
    done = toolchain.make(headers, work, *SPARSE)
    said = done.stdout + done.stderr
    if done.returncode:
        return [first_errors(said)]
    if "CHECK " not in said:
        return [f"sparse did not run with the headers in {headers}"]
    names = "|".join(re.escape(path.name) for path in source_files(source))
    ours = re.compile(rf"(^|/)({names}|virtio_crq\.mod\.c|virtio_crq\.o):|modpost:")
    found = [line.replace(f"{work}/", "") for line in said.splitlines() if ours.search(line) and FINDING.search(line)]
    shutil.rmtree(work, ignore_errors=True)
    return found


def lint_style(source: Path, checkpatch: Path) -> list[str]:
    """Findings of checkpatch. Its own failure is a finding too."""
    files = [str(path) for path in source_files(source)]
    words = ["perl", str(checkpatch), "--no-tree", "--file", "--terse", "--no-summary", "--show-types"]
    words += ["--ignore", ",".join(IGNORED), *files]
    done = run_child(words)
    found = [line for line in done.stdout.splitlines() if line.strip() and VERSION_ASKED not in _line_of(line)]
    return found or (done.stderr.splitlines()[-3:] if done.returncode else [])


def _line_of(finding: str) -> str:
    """The line of source that a finding is about."""
    place = PLACE.match(finding)
    return Path(place["path"]).read_text().splitlines()[int(place["line"]) - 1] if place else ""
