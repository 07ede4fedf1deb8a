# SPDX-License-Identifier: Apache-2.0
"""A study on disk: a journal of turns for each part that is under way, and one result file for each that is done."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from virtio_crq.bench.study import CrowdPart, Part, Record, Turn
from virtio_crq.errors import UsageError


class Journal:
    """What the turns of one part found so far: a line for each, written when the turn ends."""

    def __init__(self, directory: Path, part: str) -> None:
        self._path = directory / f"{part}.turns"
        self.result = directory / f"{part}.json"
        self.records: dict[Turn, Record] = {}
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                self._recall(line)

    def _recall(self, line: str) -> None:
        try:
            found = json.loads(line)
            self.records[Turn(**found.pop("turn"))] = found
        except (ValueError, TypeError, KeyError):
            return  # cut by a death in the middle of a line: that turn is taken again

    def add(self, turn: Turn, record: Record) -> None:
        self.records[turn] = record
        with self._path.open("a") as file:
            file.write(json.dumps({"turn": asdict(turn), **record}) + "\n")

    def left(self, turns: Sequence[Turn]) -> list[Turn]:
        """None of a part whose result stands."""
        return [] if self.result.exists() else [turn for turn in turns if turn not in self.records]

    def finish(self, part: Part | CrowdPart, setting: Mapping[str, Any]) -> None:
        """The result in place of the journal."""
        found = part.result({turn: record for turn, record in self.records.items() if "error" not in record})
        missing = {turn.name: record["error"] for turn, record in self.records.items() if "error" in record}
        setting = {**setting, "rounds": part.rounds, "seconds": part.seconds}
        write(self.result, {"setting": setting, **({"missing": missing} if missing else {}), **found})
        self._path.unlink(missing_ok=True)


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Compact, but a row is a line: what changed is then seen in a comparison of two versions."""
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in content["rows"])
    head = json.dumps({name: value for name, value in content.items() if name != "rows"}, separators=(",", ":"))
    path.write_text(f'{head[:-1]},"rows":[\n{rows}\n]}}\n')


def read(directory: Path, part: str) -> dict[str, Any]:
    path = directory / f"{part}.json"
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; virtio-crq bench study --out {directory} makes it") from None
    except ValueError:
        raise UsageError(f"{path} is no JSON") from None
    if not isinstance(found, dict) or not found.get("rows"):
        raise UsageError(f"{path} has no rows")
    return found
