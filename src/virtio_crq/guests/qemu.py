# SPDX-License-Identifier: Apache-2.0
"""Which QEMU runs guests, and how it is called. Only what a distribution ships, and only with plugin API 7."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from virtio_crq.errors import UsageError

BINARY = "qemu-system-ppc64"
PLUGIN_API = 7
NEEDED = f"QEMU 11.1 or newer with TCG plugins of API {PLUGIN_API}"
FIRMWARE = {"vof": "pseries,x-vof=on", "slof": "pseries"}
CONSOLE, AGENT = 0x7100_0001, 0x7100_0002  # unit addresses of the terminals; the lowest is the kernel's console
BELLS = 0x7200_0010  # of the terminals whose interrupts our adapters have: + the adapter's place in its partition
ASK_SECONDS = 20.0


def check_firmware(name: str) -> None:
    """Refuse what no guest boots by."""
    if name not in FIRMWARE:
        raise UsageError(f"firmware {name!r} is not one of {', '.join(FIRMWARE)}")


def plugin_path() -> Path:
    """The shared object that QEMU loads."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name("qemuplugin" + suffix)
        if path.exists():
            return path
    raise UsageError("the QEMU plugin is not built; install the project with its extensions")


@dataclass(frozen=True)
class Qemu:
    """A QEMU that was asked and is fit. `command` is its beginning: the binary, and what it needs to find its files."""

    command: list[str]
    version: str

    @classmethod
    def ask(cls, command: Sequence[str]) -> "Qemu":
        """Refused, in one line, unless it takes our plugin."""
        version = _version(command)
        said = _run([*command, "-M", "none", "-display", "none", "-plugin", f"{plugin_path()},probe=on"])
        if "virtio-crq: fit" not in said:
            reason = next((line for line in said.splitlines() if "plugin" in line.lower()), "").strip()
            raise UsageError(f"{command[0]} is QEMU {version}, but guests need {NEEDED}" + _in_brackets(reason))
        return cls(list(command), version)

    @classmethod
    def find(cls, chosen: str | None = None, lab: Sequence[str] | None = None) -> "Qemu":
        """The one that was chosen, or the host's own when it is fit, or that of the lab's cache."""
        if chosen is not None:
            return cls.ask([chosen])
        found = shutil.which(BINARY)
        if found:
            try:
                return cls.ask([found])
            except UsageError:
                if not lab:
                    raise
        if lab:
            return cls.ask(lab)
        raise UsageError(f"no {BINARY} on this host; run ./lab to fetch one, or say --qemu PATH of {NEEDED}")


def _in_brackets(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _version(command: Sequence[str]) -> str:
    said = _run([*command, "--version"])
    match = re.search(r"QEMU emulator version (\S+)", said)
    if not match:
        raise UsageError(f"{command[0]} does not answer as a QEMU: {(said.strip().splitlines() or ['no word'])[-1]}")
    return match[1]


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=ASK_SECONDS,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise UsageError(f"{command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"{command[0]} did not answer within {ASK_SECONDS:.0f} s") from None
    return done.stdout


def arguments(
    plan: Mapping[str, Any], description: Mapping[str, Any], sockets: Mapping[str, int], descriptors: Sequence[int]
) -> list[str]:
    """All of a guest's command line behind the binary. `descriptors` are those that `description` lists, in order."""
    rows = list(zip(description["descriptors"], descriptors, strict=True))
    own = description["index"]
    ram = next(fd for row, fd in rows if row["what"] == "ram" and row["partition"] == own)
    size = description["memory"]
    words = [
        *("-machine", f"{FIRMWARE[plan['firmware']]},memory-backend=ram"),
        *("-object", f"memory-backend-file,id=ram,size={size},mem-path=/proc/self/fd/{ram},share=on"),
        *("-m", f"{size}B", "-smp", str(plan["vcpus"]), "-accel", "tcg,thread=multi"),
        *("-nodefaults", "-display", "none", "-vga", "none", "-no-reboot", "-name", description["name"]),
        *("-uuid", description["uuid"]),
        *_terminal("console", sockets["console"], CONSOLE),
        *_terminal("agent", sockets["agent"], AGENT),
        *("-chardev", f"socket,id=monitor,fd={sockets['monitor']}", "-mon", "chardev=monitor,mode=control"),
    ]
    locals_ = {adapter["index"]: place for place, adapter in enumerate(description["adapters"])}
    for row, descriptor in rows:
        if row["what"] == "receiver":
            place = locals_[row["adapter"]]
            words += _terminal(f"bell{place}", descriptor, BELLS + place)
    words += ["-plugin", _plugin(plan, sockets, own, rows)]
    words += ["-kernel", plan["kernel"], "-append", plan["command_line"]]
    if plan["initrd"]:
        words += ["-initrd", plan["initrd"]]
    return [*words, *plan["extra"]]


def _terminal(name: str, descriptor: int, unit: int) -> list[str]:
    return [*("-chardev", f"socket,id={name},fd={descriptor}"), *("-device", f"spapr-vty,chardev={name},reg={unit:#x}")]


def _plugin(
    plan: Mapping[str, Any], sockets: Mapping[str, int], own: int, rows: Sequence[tuple[Mapping[str, Any], int]]
) -> str:
    """What the plugin is told: numbers of inherited descriptors, and where the kernel is entered."""
    words = [
        str(plugin_path()),
        f"control={sockets['control']}",
        f"hypervisor={sockets['hypervisor']}",
        f"partition={own}",
        f"entry={plan['entry']:#x}",
        f"bells={BELLS:#x}",
    ]
    for row, descriptor in rows:
        if row["what"] == "state":
            words.append(f"state={descriptor}")
        elif row["what"] == "ram":
            words.append(f"ram={row['partition']}:{descriptor}")
        elif row["what"] == "doorbell":
            words.append(f"bell={row['adapter']}:{row['kind']}:{descriptor}")
        else:
            words.append(f"heard={row['adapter']}:{descriptor}")
    return ",".join(words)
