# SPDX-License-Identifier: Apache-2.0
"""Filling the cache, part by part. Each step leaves something whole, so that the next run continues after it."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.guests.lab.deb import Deb
from virtio_crq.guests.lab.download import Downloads, Gone
from virtio_crq.guests.lab.manifest import Manifest, write_whole
from virtio_crq.guests.lab.part import Archive, Part, Staged
from virtio_crq.guests.lab.report import Report
from virtio_crq.guests.lab.suite import host_proxies
from virtio_crq.guests.lab.unpack import unpack

# Origins of what did not come from the archive: a person gave it, or this host has it.
GIVEN, HOST = "option", "host"
NOT_FETCHED = (GIVEN, HOST)
LAYOUT = 2  # of parts on disk; another number has them made anew
GROWTH = 6  # bytes on disk for a byte of packages, themselves included; measured: 4.4 for the kernels


class Filling:
    """The cache at `root`, whose lock the caller holds."""

    def __init__(self, root: Path, archive: Archive, downloads: Downloads, report: Report) -> None:
        self.root = root
        self.manifest = Manifest(root)
        self._archive = archive
        self._downloads = downloads
        self._report = report

    @classmethod
    def at(cls, root: Path, mirror: str, report: Report) -> "Filling":
        return cls(root, Archive(root / "apt", mirror, report), Downloads(root / "debs", report, host_proxies), report)

    def have(self, part: Part) -> bool:
        """Whether the part is here, in the place that its programs were made for, or is not the archive's."""
        facts = self.manifest.parts.get(part.key)
        if not facts:
            return False
        if facts.get("origin") in NOT_FETCHED:
            return True
        place = str(self.place(part))
        if facts.get("layout") != LAYOUT:
            return False
        return self.place(part).is_dir() and bool(facts.get("place", place) == place)

    def need(self, part: Part, renew: bool = False) -> None:
        """Have the part; `renew`: in the newest version that the archive has now."""
        if not self.have(part) or (renew and self._is_outdated(part)):
            self._make(part)

    def _is_outdated(self, part: Part) -> bool:
        facts = self.manifest.parts[part.key]
        if facts.get("origin") in NOT_FETCHED:
            return False
        self._plan_file(part).unlink(missing_ok=True)
        wanted = sorted(deb.sha256 for deb in self._planned(part))
        return wanted != sorted(row["sha256"] for row in facts["packages"])

    def _make(self, part: Part) -> None:
        """Plan, fetch, unpack, finish, put in its place, record."""
        debs = self._planned(part)
        try:
            self._fetch(part, debs)
        except Gone:
            # The archive has moved on since the plan was made.
            self._plan_file(part).unlink()
            self._archive.forget()
            debs = self._planned(part)
            self._fetch(part, debs)
        self._report.say(f"{part.what}: unpacking")
        # A folder of this run's own: what a killed run was unpacking may still be written to for a moment.
        staged = Staged(self.root / "staged" / f"{part.key}-{os.getpid()}", self.place(part), self.root)
        unpack([self._downloads.path(deb) for deb in debs], staged.now, part.merged)
        facts = part.finish(staged)
        self.manifest.drop(part.key)
        shutil.rmtree(staged.final, ignore_errors=True)
        staged.final.parent.mkdir(exist_ok=True)
        staged.now.rename(staged.final)
        self.manifest.put(part.key, {**facts, "layout": LAYOUT, "packages": [deb.origin() for deb in debs]})
        self._plan_file(part).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what only an unfinished lab needs."""
        self._archive.forget()
        for name in ("apt", "debs", "plans", "staged"):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def _fetch(self, part: Part, debs: list[Deb]) -> None:
        size = sum(deb.size for deb in debs)
        free = shutil.disk_usage(self.root).free
        if free < size * GROWTH:
            raise UsageError(
                f"{part.what} takes about {size * GROWTH >> 20} MiB and {self.root} has {free >> 20} MiB left: "
                "free some, or set VIRTIO_CRQ_LAB to a roomier place, and run ./lab again"
            )
        self._report.say(f"{part.what}: fetching {len(debs)} packages, {size / 1e6:.0f} MB")
        self._downloads.fetch(debs)

    def _planned(self, part: Part) -> list[Deb]:
        """A plan outlives the run that made it, so that an interrupted one continues with the same packages."""
        file = self._plan_file(part)
        if file.exists():
            return [Deb(**row) for row in json.loads(file.read_text())]
        self._report.say(f"{part.what}: choosing the packages")
        debs = part.plan(self._archive)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, [asdict(deb) for deb in debs])
        return debs

    def _plan_file(self, part: Part) -> Path:
        return self.root / "plans" / f"{part.key}.json"

    def place(self, part: Part) -> Path:
        return self.root / "parts" / part.key
