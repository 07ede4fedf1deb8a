# SPDX-License-Identifier: Apache-2.0
"""Which QEMU is taken, what is said about one that is not, and how it is called."""

import os
from pathlib import Path
from typing import Any

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.guests import qemu
from virtio_crq.guests.qemu import Qemu, arguments

OLD = "TCG plugin plugin.so requires API version 7, but this QEMU supports at most 4"


def program(directory: Path, version: str, said: str, name: str = qemu.BINARY) -> Path:
    """Something that answers like a QEMU that is asked."""
    path = directory / name
    path.write_text(
        f'#!/bin/sh\ncase "$*" in\n*--version*) echo "QEMU emulator version {version} (Debian 1:{version})";;\n'
        f'*) echo "{said}" >&2; exit 1;;\nesac\n'
    )
    path.chmod(0o755)
    return path


def test_a_qemu_that_loads_the_plugin_is_fit(tmp_path: Path) -> None:
    path = program(tmp_path, "11.1.3", "virtio-crq: fit")
    assert Qemu.ask([str(path)]) == Qemu([str(path)], "11.1.3")


def test_an_older_plugin_api_is_one_line_that_says_what_is_needed(tmp_path: Path) -> None:
    path = program(tmp_path, "10.0.2", OLD)
    with pytest.raises(UsageError) as refused:
        Qemu.ask([str(path)])
    message = str(refused.value)
    assert message.startswith(f"{path} is QEMU 10.0.2, but guests need QEMU 11.1 or newer with TCG plugins of API 7")
    assert "requires API version 7" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [("#!/bin/sh\necho hello\n", "does not answer as a QEMU: hello"), ("", "does not answer|Exec format")],
)
def test_what_is_no_qemu_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "thing"
    path.write_text(text)
    path.chmod(0o755)
    with pytest.raises(UsageError, match=message):
        Qemu.ask([str(path)])
    with pytest.raises(UsageError, match=r"nowhere: No such file"):
        Qemu.ask([str(tmp_path / "nowhere")])


def test_the_hosts_own_is_taken_when_fit_else_the_labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = program(tmp_path, "11.1.3", "virtio-crq: fit", "lab-qemu")
    host = tmp_path / "bin"
    host.mkdir()
    monkeypatch.setenv("PATH", f"{host}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("shutil.which", lambda name: str(host / name) if (host / name).exists() else None)
    with pytest.raises(UsageError, match=r"no qemu-system-ppc64 on this host; run ./lab to fetch one"):
        Qemu.find()
    assert Qemu.find(lab=[str(lab)]).command == [str(lab)]
    old = program(host, "10.0.2", OLD)
    assert Qemu.find(lab=[str(lab)]).command == [str(lab)]
    with pytest.raises(UsageError, match=r"QEMU 10\.0\.2"):
        Qemu.find()
    with pytest.raises(UsageError, match=r"QEMU 10\.0\.2"):
        Qemu.find(chosen=str(old), lab=[str(lab)])
    fit = program(host, "11.2.0", "virtio-crq: fit")
    assert Qemu.find(lab=[str(lab)]) == Qemu([str(fit)], "11.2.0")


DESCRIPTION: dict[str, Any] = {
    "name": "web1",
    "uuid": "00000000-0000-0000-0000-000000000001",
    "index": 1,
    "memory": 512 << 20,
    "adapters": [{"index": 4}, {"index": 7}],
    "descriptors": [
        {"what": "state"},
        {"what": "ram", "partition": 0},
        {"what": "ram", "partition": 1},
        {"what": "doorbell", "adapter": 4, "kind": 1},
        {"what": "doorbell", "adapter": 0, "kind": 0},
        {"what": "receiver", "adapter": 4},
        {"what": "receiver", "adapter": 7},
    ],
}
PLAN: dict[str, Any] = {
    "firmware": "vof",
    "vcpus": 2,
    "kernel": "/k",
    "initrd": "/i",
    "command_line": "quiet root=/dev/vda",
    "extra": ["-device", "x"],
    "entry": 0x400000,
}
SOCKETS = {"hypervisor": 9, "control": 3, "console": 4, "agent": 5, "monitor": 6}


def value_of(words: list[str], option: str) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words) if word == option]


def test_the_command_line_is_made_from_what_the_partition_was_given() -> None:
    words = arguments(PLAN, DESCRIPTION, SOCKETS, [10, 11, 12, 13, 14, 15, 16])
    assert value_of(words, "-machine") == ["pseries,x-vof=on,memory-backend=ram"]
    assert value_of(words, "-object") == [
        f"memory-backend-file,id=ram,size={512 << 20},mem-path=/proc/self/fd/12,share=on"
    ]
    assert value_of(words, "-smp") == ["2"]
    assert value_of(words, "-append") == ["quiet root=/dev/vda"]
    assert value_of(words, "-kernel") == ["/k"]
    assert value_of(words, "-initrd") == ["/i"]
    assert words[-2:] == ["-device", "x"]
    assert value_of(words, "-device")[:4] == [
        "spapr-vty,chardev=console,reg=0x71000001",
        "spapr-vty,chardev=agent,reg=0x71000002",
        "spapr-vty,chardev=bell0,reg=0x72000010",
        "spapr-vty,chardev=bell1,reg=0x72000011",
    ]
    assert "socket,id=bell1,fd=16" in value_of(words, "-chardev")
    given = value_of(words, "-plugin")[0].split(",")[1:]
    assert given[:5] == ["control=3", "hypervisor=9", "partition=1", "entry=0x400000", "bells=0x72000010"]
    assert given[5:] == ["state=10", "ram=0:11", "ram=1:12", "bell=4:1:13", "bell=0:0:14", "heard=4:15", "heard=7:16"]


def test_slof_is_the_machines_own_default() -> None:
    words = arguments({**PLAN, "firmware": "slof", "initrd": None}, DESCRIPTION, SOCKETS, [10, 11, 12, 13, 14, 15, 16])
    assert value_of(words, "-machine") == ["pseries,memory-backend=ram"]
    assert "-initrd" not in words
