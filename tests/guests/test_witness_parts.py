# SPDX-License-Identifier: Apache-2.0
"""What the witnesses' guests are told and how their calls are divided, without booting any."""

import shutil
import subprocess
from pathlib import Path

import pytest

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.stocktarget import Target
from virtio_crq.guests.witnesschecks import CHECKS, COMPLAINTS
from virtio_crq.guests.witnesscounts import LOADS, cost, purpose
from virtio_crq.guests.witnesses import CLIENT, MACHINE, SERVER, UNIT
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.hypervisor.machinefile import read_machine_file


def test_the_machine_shows_ibms_nodes_and_nothing_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "witness.toml"
    file.write_text(MACHINE.format(name="w", profile="power9"))
    with Machine(read_machine_file(file).definition()) as machine:
        nodes = {name: machine.attach(name).adapters()[0] for name in (CLIENT, SERVER)}
    assert [f"{node.unit_address:x}" for node in nodes.values()] == [UNIT, UNIT]
    assert nodes[CLIENT].properties["compatible"] == b"IBM,v-scsi\0"
    assert nodes[SERVER].properties["compatible"] == b"IBM,v-scsi-host\0"
    assert not any(b"virtio" in value for node in nodes.values() for value in node.properties.values())


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
@pytest.mark.parametrize("text", [Target(UNIT).prepare(), Target(UNIT, buffered=True).prepare(), Target(UNIT).enable()])
def test_the_targets_commands_are_shell(text: str) -> None:
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


def test_the_store_is_enabled_before_it_is_linked_and_the_target_last() -> None:
    """A LUN whose store is not configured is refused; a target that is enabled must be complete (one session, once)."""
    lines = Target(UNIT).prepare().splitlines()
    order = [next(i for i, line in enumerate(lines) if word in line) for word in ("control", "disk0/enable", "ln -s")]
    assert order == sorted(order)
    assert "tpgt_1/enable" not in Target(UNIT).prepare()
    assert Target(UNIT).enable().endswith("ibmvscsis/30000002/tpgt_1/enable")


def test_calls_of_both_sides_are_divided_by_requests() -> None:
    client = {"H_PUT_TCE": 10, "H_SEND_CRQ": 10, "H_VIO_SIGNAL": 5, "copies": 0, "bytes": 0, "interrupts": 5}
    server = {"H_SEND_CRQ": 10, "H_COPY_RDMA": 30, "H_STUFF_TCE": 10, "copies": 30, "bytes": 43880, "interrupts": 10}
    found = cost("load", 10, {CLIENT: client, SERVER: server})
    assert (found.calls, found.tce_calls, found.signal_calls) == (7.5, 2.0, 0.5)
    assert (found.copies, found.bytes, found.interrupts) == (3.0, 4388.0, 1.5)
    assert found.by_call[SERVER] == {"H_SEND_CRQ": 1.0, "H_COPY_RDMA": 3.0, "H_STUFF_TCE": 1.0}
    with pytest.raises(VirtioCrqError, match="no request was completed"):
        cost("load", 0, {CLIENT: client})


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("[    0.1] WARNING: nvram corruption detected: 0-length partition", False),
        ("[    2.1] WARNING: CPU: 0 PID: 1 at drivers/scsi/ibmvscsi_tgt/ibmvscsi_tgt.c:100", True),
        ("[    2.1] WARNING: drivers/scsi/x.c:100 at f+0x1, CPU#0: y/1", True),
        ("[    2.1] BUG: sleeping function called from invalid context", True),
        ("[    2.1] tce_freemulti_pSeriesLP: plpar_tce_stuff failed", True),
        ("[    2.1] Rounding down aligned max_sectors from 4294967295 to 4294967168", False),
    ],
)
def test_what_counts_as_a_complaint_of_a_kernel(line: str, bad: bool) -> None:
    assert bool(COMPLAINTS.search(line)) == bad


def test_names_of_checks_and_loads_are_unique() -> None:
    for names in ([check.name for check in CHECKS], [load.name for load in LOADS]):
        assert len(names) == len(set(names))


def test_each_call_of_one_read_has_a_purpose() -> None:
    def said(partition: str, call: str, **inputs: int) -> str:
        return purpose({"partition": partition, "call": call, "inputs": inputs})

    assert said(CLIENT, "H_SEND_CRQ", high=0x8001000000780100, low=0xC0109) == "a command: 120 s, 256 bytes at 0xc0109"
    assert said(SERVER, "H_SEND_CRQ", high=0x8001000000000024, low=5) == "a response: 36 bytes for the tag 0x5"
    assert [said(SERVER, "H_COPY_RDMA", length=length) for length in (256, 4096, 36)] == [
        "fetch the information unit (an SRP command)",
        "the data",
        "store the SRP response",
    ]
    assert said(CLIENT, "H_STUFF_TCE") == "take the buffer back"
    assert said(SERVER, "H_VIO_SIGNAL", mode=0) == "interrupt off"
