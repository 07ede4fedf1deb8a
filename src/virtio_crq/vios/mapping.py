# SPDX-License-Identifier: Apache-2.0
"""A map entry: this target of this client is backed by that. VIOS calls the target a virtual target device (VTD)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NewType

from virtio_crq.errors import UsageError
from virtio_crq.virtio.console import queue_count

BLOCK = "block"
ENTROPY = "entropy"
CONSOLE = "console"
DEVICE_TYPES = (BLOCK, ENTROPY, CONSOLE)
# Every queue has its credits in both rings (2 entries, and 1 for each device, and 16: CRQ-F-18), and the ring of our
# client is one page: 256 entries.
MOST_TARGETS = 64
MOST_ENTRIES = 256
SPARE_ENTRIES = 16
DEFAULT_QUEUES = 1  # of a disk: one worker serves all of a client, so that more are for clients with processors to use
MOST_QUEUES = 16  # as many as a platform has sub-CRQs for an adapter, at most
LONGEST_TARGET = 20  # a disk tells its name by GET_ID, which has 20 bytes (virtio 1.4 §5.2.6)

DeviceNumber = NewType("DeviceNumber", int)


@dataclass(frozen=True)
class MapEntry:
    """One `[[map]]` of the machine file.

    `where` is the place to name in an error, e.g. `machine.toml:12`; `places` are those of its keys.
    """

    client: str
    target: str
    backing: str
    readonly: bool = False
    device: str = BLOCK
    where: str = ""
    ports: tuple[str, ...] = ()  # of a console, beyond its first: NAME=BACKING
    request_queues: int = DEFAULT_QUEUES  # of a disk
    places: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def queues(self) -> int:
        """How many queues the device has."""
        return queue_count(1 + len(self.ports)) if self.device == CONSOLE else self.request_queues

    def refuse(self, why: str, key: str = "") -> UsageError:
        """The one-line error for this entry, or for what one of its keys says."""
        where = self.places.get(key, self.where)
        place = f"{where}: " if where else ""
        return UsageError(f"{place}map {self.client}/{self.target}: {why}")


@dataclass(frozen=True)
class ClientMap:
    """All targets of one client, in the order of the machine file: the position is the device number on the bus."""

    client: str
    entries: tuple[MapEntry, ...]


def numbered(entries: Iterable[MapEntry]) -> list[tuple[int, MapEntry]]:
    """Device numbers for the entries of a machine file: the position among those of the same client."""
    counts: dict[str, int] = {}
    found = []
    for entry in entries:
        found.append((counts.setdefault(entry.client, 0), entry))
        counts[entry.client] += 1
    return found


def by_client(entries: Iterable[MapEntry]) -> Mapping[str, ClientMap]:
    """Group the entries, refusing what no server could serve."""
    grouped: dict[str, list[MapEntry]] = {}
    for entry in entries:
        _check(entry)
        mine = grouped.setdefault(entry.client, [])
        if any(other.target == entry.target for other in mine):
            raise entry.refuse("the target name is mapped twice", "target")
        mine.append(entry)
        if len(mine) > MOST_TARGETS:
            raise entry.refuse(f"a client has at most {MOST_TARGETS} targets")
        queues = sum(other.queues for other in mine)
        if 2 * queues + len(mine) + SPARE_ENTRIES > MOST_ENTRIES:
            what = f"{queues} queues are more than a client's ring has room for"
            raise entry.refuse(f"{what}; give disks fewer queues, or consoles fewer ports")
    return {client: ClientMap(client, tuple(mine)) for client, mine in grouped.items()}


def _check(entry: MapEntry) -> None:
    if not entry.client or not entry.target:
        raise entry.refuse("client and target must be named")
    # What is printable can be encoded, moves no cursor, and stays on its line in what lsmap prints.
    if not entry.target.isprintable() or "/" in entry.target or len(entry.target.encode()) > LONGEST_TARGET:
        raise entry.refuse(f"a target name has at most {LONGEST_TARGET} bytes, all printable, and no '/'", "target")
    if entry.device not in DEVICE_TYPES:
        raise entry.refuse(f"device {entry.device!r} is not one of {', '.join(DEVICE_TYPES)}", "device")
    if entry.device == ENTROPY and entry.readonly:
        raise entry.refuse("an entropy device cannot be read-only", "readonly")
    if entry.device == CONSOLE and entry.readonly:
        raise entry.refuse("a console cannot be read-only", "readonly")
    if entry.device != CONSOLE and entry.ports:
        raise entry.refuse("only a console has ports", "ports")
    if not 1 <= entry.request_queues <= MOST_QUEUES:
        raise entry.refuse(f"queues = {entry.request_queues} is not in 1 to {MOST_QUEUES}", "queues")
    if entry.device != BLOCK and entry.request_queues != DEFAULT_QUEUES:
        raise entry.refuse("only a disk is given queues", "queues")
