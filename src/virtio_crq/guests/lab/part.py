# SPDX-License-Identifier: Apache-2.0
"""A part of the lab: packages, and what is made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError
from virtio_crq.guests.lab.deb import Deb
from virtio_crq.guests.lab.report import Report
from virtio_crq.guests.lab.suite import KEYRING, Suite, host_architecture


class Archive:
    """The suites of one mirror; the index of each is fetched once, when it is first asked for."""

    def __init__(self, folder: Path, mirror: str, report: Report) -> None:
        self.mirror = mirror
        self._folder = folder
        self._report = report
        self._fresh: dict[str, Suite] = {}

    @cached_property
    def native(self) -> str:
        """The architecture whose programs run here; asked only when something is to be fetched."""
        return host_architecture()

    def suite(self, name: str) -> Suite:
        if name not in self._fresh:
            suite = Suite(self._folder / name, name, self.mirror, self.native)
            self._report.say(f"reading the index of Debian's {name}")
            if not suite.signed and not self._fresh:
                self._report.say(
                    f"no {KEYRING} (package debian-archive-keyring): the archive's signature is not checked"
                )
            suite.refresh()
            self._fresh[name] = suite
        return self._fresh[name]

    def first(self, names: tuple[str, ...], choose: Callable[[Suite], list[Deb]]) -> list[Deb]:
        """What `choose` finds in the first suite that can be read and has it; empty when none has."""
        unread: UsageError | None = None
        for name in names:
            try:
                suite = self.suite(name)
            except UsageError as error:
                unread = unread or error
                continue
            if found := choose(suite):
                return found
        if unread:
            raise unread
        return []

    def forget(self) -> None:
        """Read the indexes again when they are next asked for."""
        self._fresh.clear()


@dataclass(frozen=True)
class Staged:
    """Where a part lies now, where it will lie, and the cache that both are in."""

    now: Path
    final: Path
    root: Path

    def name(self, path: Path) -> str:
        """How the manifest names something of `now`: from the cache's root, as it will be."""
        return str((self.final / path.relative_to(self.now)).relative_to(self.root))


@dataclass(frozen=True)
class Part:
    """`plan` chooses the packages; `finish` makes the unpacked tree usable and returns what the manifest says of it."""

    key: str
    what: str
    plan: Callable[[Archive], list[Deb]]
    finish: Callable[[Staged], dict[str, Any]]
    merged: bool = True
