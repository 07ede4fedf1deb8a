# SPDX-License-Identifier: Apache-2.0
"""Starting a guest when it cannot be: each refusal one line, nothing left behind."""

import socket
import struct
import tempfile
from pathlib import Path

import pytest
from guestlab import machine_of

from virtio_crq.errors import UsageError
from virtio_crq.guests import guest as guest_module
from virtio_crq.guests.guest import Guest, GuestPlan
from virtio_crq.guests.qemu import Qemu
from virtio_crq.hypervisor.conversation import ask

MACHINE = """\
[machine]
name = "gm"
[partition.plain]
memory = "256M"
[partition.web1]
memory = "256M"
guest = true
[[adapter]]
client = "web1"
server = "plain"
slot = 2
"""


@pytest.fixture
def plan(tmp_path: Path) -> GuestPlan:
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(struct.pack("<4s3B9xHHIQ", b"\x7fELF", 2, 1, 1, 2, 21, 1, 0) + bytes(64))
    return GuestPlan(kernel)


def qemu(tmp_path: Path, script: str) -> Qemu:
    path = tmp_path / "qemu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Qemu([str(path)], "11.1.3")


def test_what_the_plugin_says_after_the_runner_is_left_to_the_tree_service() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as errors:
        theirs.sendall(b'{"ok": {"name": "web1"}}\ntree 40\n')
        assert guest_module._description(ours, errors) == {"name": "web1"}
        assert ours.recv(64) == b"tree 40\n"


def test_a_guest_without_a_machine_or_of_no_guest_is_refused(tmp_path: Path, plan: GuestPlan) -> None:
    none = qemu(tmp_path, "exit 0")
    with pytest.raises(UsageError, match="the hypervisor of machine gm does not run"):
        Guest.start(tmp_path / "gm", "web1", plan, none)
    with machine_of(MACHINE) as directory:
        with pytest.raises(UsageError, match="machine gm has no partition 'web9'"):
            Guest.start(directory, "web9", plan, none)
        with pytest.raises(UsageError, match=r"plain is no guest; say guest = true in its \[partition.plain\]"):
            Guest.start(directory, "plain", plan, none)


def test_a_qemu_that_fails_is_an_ending_with_its_last_word(tmp_path: Path, plan: GuestPlan) -> None:
    broken = qemu(tmp_path, "echo qemu: warning: TCG lacks this >&2; echo qemu: no such device >&2; exit 1")
    with machine_of(MACHINE) as directory:
        with Guest.start(directory, "web1", plan, broken) as guest:
            ending = guest.wait(20)
        assert ending is not None
        assert (ending.why, ending.detail) == ("killed", "qemu: no such device")
        with Guest.start(directory, "web1", plan, qemu(tmp_path, "exec sleep 60")) as guest:
            assert guest.running
            rows = {row["name"]: row for row in ask(directory, "show")["partitions"]}
            assert (rows["web1"]["state"], rows["web1"]["pid"]) == ("running", guest.pid)
            assert guest.wait(0) is None
            assert guest.kill().detail == "signal SIGKILL"
