# SPDX-License-Identifier: Apache-2.0
"""The machine file, in TOML. Every refusal is one line: `FILE:LINE: what is wrong, what is allowed`.

[machine]           name, profile, weak_copies, prices         the console's view
[partition.NAME]    memory, number; how a server or a client of ours works; of a real kernel guest, vcpus, kernel, …
[[storage]]         server, slot, window: a storage adapter, for data = "redirect" or "planned"
[[adapter]]         client, slot, server, server_slot, window, node, boot
[[map]]             client, target, backing, readonly, device, ports, queues, server  the I/O server's view
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virtio_crq import axes
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.definition import NODE_TYPES, unit_address
from virtio_crq.hypervisor.machinerows import (
    AdapterRow,
    MachineFile,
    MapRow,
    PartitionRow,
    StorageRow,
)
from virtio_crq.hypervisor.machinetables import GIB, KEYS, MIB, TOP, MachineTables
from virtio_crq.hypervisor.tomllines import TomlLines, error_line
from virtio_crq.papr.profiles import DEFAULT, PROFILES

SMALLEST_MEMORY, LARGEST_MEMORY = 4 * MIB, 64 * GIB
SMALLEST_WINDOW, LARGEST_WINDOW = 1 * MIB, 4 * GIB  # a ring and the message area fit; I/O addresses have 32 bits
FIRST_SLOT, LAST_SLOT = 2, 4095  # slots 0 and 1 belong to the virtual terminals
SERVER_RANGES = {
    "workers": (1, LAST_SLOT - FIRST_SLOT + 1, ", one for each connection at most; without it one per processor"),
    "pin": (-1, 4095, "; -1: any processor"),  # which of them there are, the server knows that runs on them
    "polling": (-1, 1_000_000, " microseconds; -1: it never sleeps"),
    "gathering": (0, 10_000, " microseconds"),  # a driver would rather be interrupted
}
SERVER_KEYS = ("workers", "pin", "polling", "gathering", *axes.SERVER)
_GUEST_KEYS = ("vcpus", "kernel", "initrd", "command_line")
SMALLEST_GUEST = GUEST_BLOCK = 256 * MIB  # pseries firmware hands memory out in blocks of this
LARGEST_VCPUS = 16
LAST_PARTITION = (1 << 20) - 1


def read_machine_file(path: Path) -> MachineFile:
    """Read and check a machine file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a UTF-8 text") from None
    return parse_machine_file(text, path)


def parse_machine_file(text: str, path: Path) -> MachineFile:
    """Check the text of a machine file; `path` is for messages and relative image paths."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, message = error_line(error, text)
        raise UsageError(f"{path}:{line}: {message}") from None
    return _Reader(content, TomlLines(text), path).machine()


class _Reader(MachineTables):
    """One pass over the parsed content: shapes first, then the references between tables."""

    def machine(self) -> MachineFile:
        self.keys(self.content, TOP, (), "the file")
        if "machine" not in self.content:
            raise self.refuse("no [machine] table; it must at least say name")
        machine = self.table("machine", "machine")
        name = self.name(machine["name"], "machine", "name")
        profile = machine.get("profile", DEFAULT.name)
        if profile not in PROFILES:
            raise self.refuse(f"profile {profile!r} is not one of {', '.join(PROFILES)}", "machine", "profile")
        prices = machine.get("prices", {})
        self.keys(prices, KEYS["prices"], ("machine", "prices"), "prices")
        for table, place in ((prices, ("machine", "prices")), (machine, ("machine",))):
            for key, value in table.items():
                if isinstance(value, int) and value < 0:
                    raise self.refuse(f"{key} is {value}, but cannot be negative", *place, key)
        sizes = self._partitions()
        adapters = self._adapters(set(sizes))
        servers = {row.server for row in adapters}
        storage = self._storage(adapters)
        return MachineFile(
            path=self.path,
            name=name,
            profile=PROFILES[profile],
            call_ns=prices.get("call_ns", 0),
            kib_ns=prices.get("kib_ns", 0),
            weak_copies=machine.get("weak_copies"),
            partitions=tuple(self._partition(name, *sizes[name], name in servers) for name in sizes),
            adapters=adapters,
            maps=self._maps(adapters, set(sizes)),
            storage=storage,
        )

    def _partitions(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        taken: dict[int, str] = {}
        explicit = {t["number"] for t in self.content.get("partition", {}).values() if _is_numbered(t)}
        free = (number for number in range(1, LAST_PARTITION + 1) if number not in explicit)
        for name in self.content.get("partition", {}):
            self.name(name, "partition", name)
            table = self.table("partition", "partition", name)
            number = table["number"] if "number" in table else next(free)
            if not 1 <= number <= LAST_PARTITION:
                raise self.refuse(f"number {number} is not in 1 to {LAST_PARTITION}", "partition", name, "number")
            if number in taken:
                raise self.refuse(f"number {number} is already that of {taken[number]}", "partition", name, "number")
            taken[number] = name
            size = self.size(table["memory"], SMALLEST_MEMORY, LARGEST_MEMORY, "partition", name, "memory")
            found[name] = (number, size)
        if not found:
            raise self.refuse("no partition; add a table [partition.NAME]")
        return found

    def _partition(self, name: str, number: int, memory: int, server: bool) -> PartitionRow:
        table = self.content["partition"][name]
        options = {key: table[key] for key in SERVER_KEYS if key in table}
        if not server:
            return PartitionRow(name, number, memory, server, **self._client(name, table, memory))
        if "map" in table:
            raise self.refuse(f"map is for clients, but {name} is a server", "partition", name, "map")
        self._one_of(axes.SERVER, options, name)
        data = options.get("data", axes.COPY)
        if data != axes.COPY and not any(row.get("server") == name for row in self.content.get("storage", [])):
            wrong = (
                f'data = "{data}" needs a storage adapter; add [[storage]] with server = "{name}" and slot = a free one'
            )
            raise self.refuse(wrong, "partition", name, "data")
        for key, (least, most, what) in SERVER_RANGES.items():
            if not least <= options.get(key, most) <= most:
                wrong = f"{key} {options[key]} is not in {least} to {most}{what}"
                raise self.refuse(wrong, "partition", name, key)
        return PartitionRow(name, number, memory, server, **options, **self._guest(name, table, memory))

    def _client(self, name: str, table: dict[str, Any], memory: int) -> dict[str, Any]:
        """What is said of a partition that serves nobody."""
        guest = self._guest(name, table, memory)
        for key in SERVER_KEYS:
            if key in table and key not in axes.CLIENT:
                raise self.refuse(f"{key} is for servers, but {name} is no adapter's server", "partition", name, key)
        options = {key: table[key] for key in axes.CLIENT if key in table}
        self._one_of(axes.CLIENT, options, name)
        return options | guest

    def _one_of(self, known: Mapping[str, tuple[str, ...]], options: dict[str, Any], name: str) -> None:
        for key, values in known.items():
            if options.get(key, values[0]) not in values:
                raise self.refuse(f"{key} {options[key]!r} is not one of {', '.join(values)}", "partition", name, key)

    def _guest(self, name: str, table: dict[str, Any], memory: int) -> dict[str, Any]:
        """What is said of a real kernel; nothing of it is allowed for a partition that runs none."""
        said = {key: table[key] for key in _GUEST_KEYS if key in table}
        if not table.get("guest", False):
            if said:
                key = next(iter(said))
                raise self.refuse(f"{key} is for guests; say guest = true, or leave it out", "partition", name, key)
            return {}
        for key in (*SERVER_KEYS, "map"):
            if key in table:
                raise self.refuse(f"{key} is for partitions of ours, but {name} is a guest", "partition", name, key)
        if memory % GUEST_BLOCK:
            wrong = f"memory {table['memory']!r} of a guest is not a multiple of {GUEST_BLOCK // MIB} MiB"
            raise self.refuse(wrong, "partition", name, "memory")
        if not 1 <= said.get("vcpus", 1) <= LARGEST_VCPUS:
            raise self.refuse(f"vcpus {said['vcpus']} is not in 1 to {LARGEST_VCPUS}", "partition", name, "vcpus")
        if "initrd" in said:
            said["initrd"] = self.path.parent / said["initrd"]
        return {"guest": True, **said}

    def _adapters(self, partitions: set[str]) -> tuple[AdapterRow, ...]:
        tables = [self.table("adapter", "adapter", index) for index in range(len(self.content.get("adapter", [])))]
        used: dict[tuple[str, int], int] = {}
        for index, table in enumerate(tables):
            for end, slot_key in (("client", "slot"), ("server", "server_slot")):
                self.known(table[end], partitions, "adapter", index, end)
                if slot_key in table:
                    self._take_slot(used, table[end], table[slot_key], index, slot_key)
            if table["client"] == table["server"]:
                raise self.refuse(
                    f"{table['client']!r} is both client and server; name two", "adapter", index, "server"
                )
        pairs: set[tuple[str, str]] = set()
        return tuple(self._adapter(index, table, used, pairs) for index, table in enumerate(tables))

    def _take_slot(self, used: dict[tuple[str, int], int], owner: str, slot: int, index: int, key: str) -> None:
        if not FIRST_SLOT <= slot <= LAST_SLOT:
            raise self.refuse(f"{key} {slot} is not in {FIRST_SLOT} to {LAST_SLOT}", "adapter", index, key)
        if (owner, slot) in used:
            line = self.lines.of("adapter", used[owner, slot])
            unit = unit_address(slot)
            raise self.refuse(
                f"slot {slot} of {owner} (unit address {unit:#x}) is the adapter of line {line}; use a free one",
                *("adapter", index, key),
            )
        used[owner, slot] = index

    def _adapter(
        self, index: int, table: dict[str, Any], used: dict[tuple[str, int], int], pairs: set[tuple[str, str]]
    ) -> AdapterRow:
        client, server = table["client"], table["server"]
        if (client, server) in pairs:
            raise self.refuse(f"{client} has an adapter to {server} already; one carries many disks", "adapter", index)
        pairs.add((client, server))
        server_slot = table.get("server_slot")
        if server_slot is None:
            server_slot = next(slot for slot in range(FIRST_SLOT, LAST_SLOT + 1) if (server, slot) not in used)
            used[server, server_slot] = index
        window = self.size(table.get("window", "256MiB"), SMALLEST_WINDOW, LARGEST_WINDOW, "adapter", index, "window")
        node = table.get("node", NODE_TYPES[0])
        if node not in NODE_TYPES:
            raise self.refuse(f"node {node!r} is not one of {', '.join(NODE_TYPES)}", "adapter", index, "node")
        where = f"{self.path}:{self.lines.of('adapter', index)}"
        boot = table.get("boot", True)
        if not boot and not self.content["partition"][client].get("guest", False):
            raise self.refuse(f"boot is for guests, and {client} is none", "adapter", index, "boot")
        return AdapterRow(client, table["slot"], server, server_slot, window, node, where, boot)

    def _storage(self, adapters: tuple[AdapterRow, ...]) -> tuple[StorageRow, ...]:
        tables = [self.table("storage", "storage", index) for index in range(len(self.content.get("storage", [])))]
        servers = {row.server for row in adapters}
        used = {(owner, slot) for row in adapters for owner, slot in _ends(row)}
        found: list[StorageRow] = []
        for index, table in enumerate(tables):
            server, slot = table["server"], table["slot"]
            guests = {name for name, row in self.content["partition"].items() if row.get("guest", False)}
            if server not in servers - guests:
                wrong = f"{server!r} is no server of ours; a storage adapter is for one"
                raise self.refuse(wrong, "storage", index, "server")
            if any(row.server == server for row in found):
                raise self.refuse(f"{server} has a storage adapter already", "storage", index, "server")
            if not FIRST_SLOT <= slot <= LAST_SLOT:
                raise self.refuse(f"slot {slot} is not in {FIRST_SLOT} to {LAST_SLOT}", "storage", index, "slot")
            if (server, slot) in used:
                raise self.refuse(f"slot {slot} of {server} is taken; use a free one", "storage", index, "slot")
            window = self.size(
                table.get("window", "256MiB"), SMALLEST_WINDOW, LARGEST_WINDOW, "storage", index, "window"
            )
            found.append(StorageRow(server, slot, window))
        return tuple(found)

    def _maps(self, adapters: tuple[AdapterRow, ...], partitions: set[str]) -> tuple[MapRow, ...]:
        rows: list[MapRow] = []
        seen: dict[tuple[str, str], int] = {}
        for index in range(len(self.content.get("map", []))):
            table = self.table("map", "map", index)
            client, target = table["client"], table["target"]
            self.known(client, partitions, "map", index, "client")
            self.name(target, "map", index, "target")
            if (client, target) in seen:
                line = self.lines.of("map", seen[client, target])
                raise self.refuse(f"{client} has a target {target!r} already (line {line})", "map", index, "target")
            seen[client, target] = index
            server = self._server_of(table, adapters, index)
            where = f"{self.path}:{self.lines.of('map', index)}"
            rows.append(
                MapRow(
                    *(client, target, table["backing"], table.get("readonly", False), table.get("device", "block")),
                    *(server, where, self._ports(table.get("ports", []), index), table.get("queues")),
                    places={key: f"{self.path}:{self.lines.of('map', index, key)}" for key in table},
                )
            )
        return tuple(rows)

    def _ports(self, ports: list[Any], index: int) -> tuple[str, ...]:
        for port in ports:
            if not isinstance(port, str):
                raise self.refuse(f'ports are strings such as "agent=socket:PATH", not {port!r}', "map", index, "ports")
        return tuple(ports)

    def _server_of(self, table: dict[str, Any], adapters: tuple[AdapterRow, ...], index: int) -> str:
        client = table["client"]
        servers = [row.server for row in adapters if row.client == client]
        if not servers:
            raise self.refuse(f"{client} has no adapter; add [[adapter]] client={client!r}", "map", index, "client")
        if "server" in table:
            self.known(table["server"], set(servers), "map", index, "server")
            return str(table["server"])
        if len(servers) > 1:
            raise self.refuse(f"{client} has adapters to {', '.join(servers)}; say which with server=", "map", index)
        return servers[0]


def _ends(row: AdapterRow) -> tuple[tuple[str, int], tuple[str, int]]:
    return (row.client, row.slot), (row.server, row.server_slot)


def _is_numbered(table: Any) -> bool:
    return isinstance(table, dict) and isinstance(table.get("number"), int)
