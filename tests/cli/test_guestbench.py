# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq guests bench`: what it refuses, how it reports, and one short run in a real guest.

How fast the disks are is not judged here: other tests run beside this one. `--strict` is for a machine of one's own.
"""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from virtio_crq.cli.guestbenchreport import report
from virtio_crq.cli.guests import app
from virtio_crq.errors import UsageError

COSTS = {
    "hcalls_per_io": 11.64,
    "tce_hcalls_per_io": 6.0,
    "copies_per_io": 4.4,
    "bytes_copied_per_io": 4202.0,
    "interrupts_per_io": 0.414,
    "guest_interrupts_per_io": 0.208,
}


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["bench", *words])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--aio", "slow"), "aio 'slow' is not one of io_uring, threads"),
        (("--case", "fast"), "case 'fast' is not one of"),
        (("--firmware", "bios"), "firmware 'bios' is not one of vof, slof"),
        (("--json", "/no/such/place.json"), "no such directory"),
        (("--file", "disk.img", "--case", "randwrite-4k-qd16"), "not run on a file of yours"),
    ],
)
def test_bad_words_are_refused_before_anything_is_started(words: tuple[str, ...], why: str) -> None:
    error = run(*words).exception
    assert isinstance(error, UsageError)
    assert why in str(error)


def found() -> dict[str, Any]:
    rates = {"ibmvscsi": 10476.0, "virtio-blk-pci": 13886.0, "virtio-crq": 16708.0}
    load = "randread-4k-qd16"
    return {
        "setting": {
            "kernel": "6.1.0-50-powerpc64le", "qemu": "11.1.3", "vcpus": 1, "firmware": "vof", "fio": "fio-3.41",
            "aio": "io_uring", "dataplane": "compiled", "rounds": 2, "seconds": 1.5,
        },
        "resident": {"before": 1.0, "after": 0.5},
        "summary": [
            {"load": load, "disk": disk, "iops": iops, "costs": COSTS if disk == "virtio-crq" else {}}
            for disk, iops in rates.items()
        ],
        "ratios": {load: {"ibmvscsi": 1.595, "virtio-blk-pci": 1.203}},
        "bars": [
            {"load": load, "beside": "ibmvscsi", "least": 1.5, "found": 1.595, "met": True},
            {"load": load, "beside": "virtio-blk-pci", "least": 1.3, "found": 1.203, "met": False},
        ],
        "stock_pair": [
            {"load": load, "calls": 9.73, "tce_calls": 4.0, "copies": 3.0, "bytes": 4388.0, "interrupts": 1.9}
        ],
    }  # fmt: skip


def test_the_report_has_rates_ratios_costs_of_both_and_each_bar() -> None:
    output = io.StringIO()
    report(found(), Console(width=132, file=output))
    text = output.getvalue()
    lines = {line.split()[0]: line.split() for line in reversed(text.splitlines()) if line.strip()}
    assert lines["randread-4k-qd16"][1:] == ["10,476", "13,886", "16,708", "1.59", "1.20"]
    assert "virtio-crq  " in text
    assert "11.64  6.00    4.40  4,202  0.414     0.208" in text
    assert " 9.73  4.00    3.00  4,388  1.900         –" in text
    assert "virtio-crq is 1.59 × ibmvscsi, asked for 1.5: met" in text
    assert "virtio-crq is 1.20 × virtio-blk-pci, asked for 1.3: MISSED" in text
    assert "not all in memory" in text


@pytest.mark.guest
def test_three_disks_of_one_boot_are_measured_on_one_pinned_file(tmp_path: Path) -> None:
    result = tmp_path / "disks.json"
    done = run("--case", "randread-4k-qd16", "--rounds", "1", "--seconds", "1", "--json", str(result), "--no-pair")
    assert done.exit_code == 0, done.output
    said = json.loads(result.read_text())
    assert set(said["setting"]["devices"]) == {"ibmvscsi", "virtio-blk-pci", "virtio-crq"}
    assert said["resident"] == {"before": 1.0, "after": 1.0}
    assert [bar["beside"] for bar in said["bars"]] == ["ibmvscsi", "virtio-blk-pci"]
    costs = next(row["costs"] for row in said["summary"] if row["disk"] == "virtio-crq")
    assert 0 < costs["tce_hcalls_per_io"] < 1  # the module lends pages unless told otherwise
    assert 0.5 < costs["hcalls_per_io"] < 8  # pushed and lent: calls of a batch, divided by as few as it has here
    assert 4096 < costs["bytes_copied_per_io"] < 4400
