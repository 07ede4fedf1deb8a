# SPDX-License-Identifier: Apache-2.0
"""A trace for people: each call on one line, with what an entry says; long runs of one call folded."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from virtio_crq.cli.anatomy import sent
from virtio_crq.papr import virtualscsi
from virtio_crq.papr.entry import from_registers

Entry = dict[str, Any]
Say = Callable[[Entry], str]
VIRTUAL_SCSI = "vscsi"  # the node of adapters that speak it


def words(adapters: Iterable[dict[str, Any]]) -> Say:
    """What sent entries say, by the protocol of the adapter: virtual SCSI on its nodes, ours elsewhere."""
    clients: dict[tuple[str, int], bool] = {}
    for row in adapters:
        if row["node"] == VIRTUAL_SCSI:
            clients[row["client"], row["unit_address"]] = True
            clients[row["server"], row["server_unit_address"]] = False

    def say(call: Entry) -> str:
        end = call["partition"], call["unit_address"]
        if end not in clients or call["call"] != "H_SEND_CRQ":
            return sent(call)
        entry = from_registers(call["inputs"]["high"], call["inputs"]["low"])
        return virtualscsi.describe(entry, clients[end])

    return say


def render(entry: Entry, begun: int, say: Say) -> str:
    """One call on one line: microseconds since `begun`, who, what, with which arguments, and the answer."""
    arguments = ", ".join(f"{name}={value:#x}" for name, value in entry["inputs"].items())
    outputs = ", ".join(f"{name}={value:#x}" for name, value in _given(entry))
    answer = entry["code"] + (f" {outputs}" if outputs else "")
    said = say(entry)
    time = f"{(entry['time_ns'] - begun) / 1000:>10.1f}"
    line = f"{time} µs  {entry['partition']:<10} {entry['call']}({arguments}) = {answer}"
    return f"{line}  {said}" if said else line


def _given(entry: Entry) -> Iterator[tuple[str, int]]:
    """Outputs; a register that the call left as it was is none."""
    before = [*entry["inputs"].values()]
    for place, (name, value) in enumerate(entry["outputs"].items()):
        if place >= len(before) or before[place] != value:
            yield name, value


class Fold:
    """Of a run of the same call by the same partition with the same answer the first line, a count, and the last."""

    def __init__(self) -> None:
        self._kind: tuple[str, ...] = ()
        self._held: list[str] = []  # the last line of the run, which is not shown yet
        self._more = 0  # calls between the first and the last

    def add(self, entry: Entry, line: str) -> list[str]:
        """What is to be shown now."""
        kind = (entry["partition"], entry["call"], entry["code"])
        if kind != self._kind:
            shown = [*self.end(), line]
            self._kind = kind
            return shown
        self._more += bool(self._held)
        self._held = [line]
        return []

    def end(self) -> list[str]:
        """What is left of the run."""
        shown = [f"{'…':>10}     {self._more} more {self._kind[1]}"] if self._more else []
        shown += self._held
        self._kind, self._held, self._more = (), [], 0
        return shown
