# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq up`, `down`, `start` and `show`."""

import contextlib
import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from virtio_crq.cli.axes import write_note
from virtio_crq.cli.interruption import terminated_as_interrupted
from virtio_crq.cli.mapentry import map_entry
from virtio_crq.cli.processes import ProcessTable, Running
from virtio_crq.cli.roles import HYPERVISOR, roles
from virtio_crq.cli.room import check_room
from virtio_crq.cli.selection import MachineOption, select
from virtio_crq.cli.tables import table
from virtio_crq.cli.teardown import take_down
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.conversation import ask
from virtio_crq.hypervisor.machinefile import read_machine_file
from virtio_crq.hypervisor.machinerows import MachineFile
from virtio_crq.hypervisor.statedirectory import (
    ATTACH_SOCKET,
    answers,
    machines_up,
    make_state_directory,
    state_directory,
)
from virtio_crq.vios.backing import parse_backing
from virtio_crq.vios.consolebacking import parse_ports
from virtio_crq.vios.control import ask as ask_server
from virtio_crq.vios.lsmap import carried
from virtio_crq.vios.mapping import BLOCK, CONSOLE, by_client

FILE_NOTE = "machine-file"  # in the state directory: which file the machine was made from
ANSWER_SECONDS = 1  # that `show` waits for a server, which may be stopped
RETURN_SECONDS = 0.5  # between looks for a server that was started again by hand
STOP_SECONDS = 1.0  # between looks for a Ctrl-C that came just before a wait, which it then does not end

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The machine file (TOML).")]
JsonOption = Annotated[bool, typer.Option("--json", help="As one JSON object.")]


def up(
    file: FileArgument,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it is up; stop it with down.")] = False,
) -> None:
    """Start a machine: its hypervisor and its servers, each a process of its own.

    In the foreground, Ctrl-C stops all of it.

    Examples:
      virtio-crq up machine.toml
      virtio-crq up machine.toml --detach
    """
    machine = read_machine_file(file)
    check_maps(machine)
    check_room(machine)
    directory = make_state_directory(machine.name)
    processes = ProcessTable(directory)
    with contextlib.ExitStack() as starting, terminated_as_interrupted():
        starting.enter_context(processes.starting())
        if answers(directory / ATTACH_SOCKET):
            raise UsageError(f"machine {machine.name} is up already; stop it with: virtio-crq down -m {machine.name}")
        clear(directory, processes)
        (directory / FILE_NOTE).write_text(str(machine.path.resolve()))
        write_note(directory, machine)
        try:
            started = [processes.start(role) for role in roles(machine, directory)]
            starting.close()
            print(f"machine {machine.name} is up: " + ", ".join(f"{run.name} ({run.pid})" for run in started))
            if not detach:
                print("Ctrl-C stops it", flush=True)
                watch(processes, {run.name: run for run in started}, machine.name)
        except KeyboardInterrupt:
            print(f"stopping machine {machine.name}")
            processes.stop_mine(HYPERVISOR)
            starting.close()
            with processes.starting():
                if not answers(directory / ATTACH_SOCKET) and not processes.running():
                    shutil.rmtree(directory, ignore_errors=True)
        except BaseException:
            processes.stop_mine(HYPERVISOR)
            raise


def clear(directory: Path, processes: ProcessTable) -> None:
    """What a machine of this name left whose hypervisor was killed: servers that are no use, and logs."""
    processes.stop_all(HYPERVISOR)
    for log in directory.glob("*.log"):
        log.unlink()


def down(machine: MachineOption = None) -> None:
    """Stop a machine: its servers, then its hypervisor. Nothing of it remains, nor of one whose hypervisor was killed.

    Examples:
      virtio-crq down
      virtio-crq down --machine demo
    """
    if machine is not None and machine not in machines_up() and state_directory(machine).is_dir():
        stopped = take_down(make_state_directory(machine))  # which refuses a directory that is somebody else's
        print(f"machine {machine} was not up; cleared what was left of it" + (stopped and f": stopped {stopped}"))
        return
    directory = select(machine)
    print(f"machine {directory.name} is down: stopped {take_down(directory)}")


def start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The server to start again.")],
    machine: MachineOption = None,
) -> None:
    """Start a server of a running machine again, after it ended or was killed.

    Example:
      virtio-crq start vios1
    """
    directory = select(machine)
    try:
        file = Path((directory / FILE_NOTE).read_text())
    except OSError:
        raise UsageError(f"{directory / FILE_NOTE} is gone, which names the machine file") from None
    made_from = read_machine_file(file)
    known = {role.name: role for role in roles(made_from, directory) if role.name != HYPERVISOR}
    if name not in known:
        raise UsageError(f"no server {name!r} in machine {directory.name}; there are {', '.join(known)}")
    running = ProcessTable(directory).start(known[name])
    print(f"{running.name} runs as process {running.pid}")


def show(machine: MachineOption = None, as_json: JsonOption = False) -> None:
    """Show partitions, adapters, connections and counters, and how each device's requests are carried.

    What was counted is since the machine came up: calls, copies, copied bytes and interrupts of both ends.

    Examples:
      virtio-crq show
      virtio-crq show --json
    """
    directory = select(machine)
    view = ask(directory, "show")
    if as_json:
        print(json.dumps(view))
        return
    print(f"machine {view['name']}, profile {view['profile']}\n")
    rows = [
        (
            *(row["name"], row["number"], "server" if row["server"] else "client", f"{row['memory'] >> 20} MiB"),
            *(row["state"], row["pid"] or "-"),
        )
        for row in view["partitions"]
    ]
    print(table(("partition", "number", "kind", "memory", "state", "process"), rows))
    print()
    header = ("client", "unit", "server", "unit", "queues", "window", "calls", "copies", "bytes", "interrupts")
    print(table(header, _wires(view)))
    if view["storage"]:
        print()
        print(table(("storage of", "unit", "window", "transfers", "bytes"), _storage(view)))
    if carried := _carried(directory):
        print()
        print(table(("device", "state", "carried"), carried))


def _carried(directory: Path) -> list[tuple[object, ...]]:
    """What was negotiated for each device in use, as the servers that answer say."""
    rows: list[tuple[object, ...]] = []
    for path in sorted(directory.glob("vios-*.sock")):
        try:
            adapters = ask_server(path, "lsmap", patience=ANSWER_SECONDS)
        except UsageError as error:
            print(f"virtio-crq: {error}", file=sys.stderr)
        else:
            targets = [(adapter["client"], target) for adapter in adapters for target in adapter["targets"]]
            rows += [
                (f"{client}/{target['target']}", target["state"], carried(target))
                for client, target in targets
                if target.get("carried")
            ]
    return rows


def check_maps(machine: MachineFile) -> None:
    """Refuse mappings that the server would refuse, before anything is started."""
    for server in machine.servers():
        entries = [map_entry(row) for row in machine.maps_of(server.name)]
        by_client(entries)
        for entry in entries:
            try:
                if entry.device == BLOCK:
                    parse_backing(entry.backing, machine.path.parent)
                elif entry.device == CONSOLE:
                    parse_ports(entry.backing, entry.ports, machine.path.parent)
            except UsageError as error:
                raise entry.refuse(str(error), "backing") from None


def _wires(view: dict[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for wire in view["adapters"]:
        both = [wire["client_counters"], wire["server_counters"]]
        counted = [sum(side.get(key, 0) for side in both) for key in ("copies", "bytes", "interrupts")]
        calls = sum(value for side in both for key, value in side.items() if key.startswith("H_"))
        ends = (wire["client"], f"{wire['unit_address']:#x}", wire["server"], f"{wire['server_unit_address']:#x}")
        queues = f"{wire['client_queue']}/{wire['server_queue']}"
        rows.append((*ends, queues, f"{wire['window'] >> 20} MiB", calls, *counted))
    return rows


def _storage(view: dict[str, Any]) -> list[tuple[object, ...]]:
    """What servers redirect through."""
    rows: list[tuple[object, ...]] = []
    for row in view["storage"]:
        counted = (row["counters"]["transfers"], row["counters"]["transferred"])
        rows.append((row["server"], f"{row['unit_address']:#x}", f"{row['window'] >> 20} MiB", *counted))
    return rows


def watch(processes: ProcessTable, expected: dict[str, Running], machine: str) -> None:
    """Tell when a process ends, or is back; without the hypervisor there is nothing to watch."""
    missing: set[str] = set()
    while True:
        running = processes.running()
        gone = [name for name in expected if name not in missing and running.get(name) != expected[name]]
        for name in gone:
            missing.add(name)
            pid = expected[name].pid
            print(f"{name} (process {pid}) {processes.ended(pid)}; its log: {processes.log(name)}")
            if name == HYPERVISOR:  # the first of them: what runs here now may be another machine already
                raise UsageError(f"machine {machine} lost its hypervisor and was stopped")
            print(f"start it again with: virtio-crq start {name}", flush=True)
        for name in missing & running.keys():
            missing.remove(name)
            expected[name] = running[name]
            print(f"{name} (process {running[name].pid}) is back", flush=True)
        watched = [each for name, each in expected.items() if name not in missing]
        processes.wait(RETURN_SECONDS if missing else STOP_SECONDS, watched)
