# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq guests bench --rungs`: one disk of one guest in one boot, carried in each of the ways by turns."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from virtio_crq.bench.image import Image
from virtio_crq.cli.guestbenchstage import FIND_SECONDS, Bench, GuestStage
from virtio_crq.guests.comparison import Plan, compare, ratios, summarize
from virtio_crq.guests.rungs import BASE, RUNGS
from virtio_crq.guests.stockdisks import VIRTIO_CRQ

SYSFS = "/sys/bus/vio/drivers/virtio_crq/3*"
MODULE = "/lib/modules/*virtio_crq.ko"
_PARAMETERS = {rung.name: rung.parameters for rung in RUNGS}
_COSTS = (
    ("calls", "hcalls_per_io", "{:.2f}"),
    ("TCE", "tce_hcalls_per_io", "{:.2f}"),
    ("copies", "copies_per_io", "{:.2f}"),
    ("bounces", "bounce_copies_per_io", "{:.2f}"),
    ("bytes", "bytes_copied_per_io", "{:,.0f}"),
    ("intr", "interrupts_per_io", "{:.3f}"),
    ("in guest", "guest_interrupts_per_io", "{:.3f}"),
)


class RungStage(GuestStage):
    """`guests.comparison.Stage` whose disks are one and the same, under a module that is loaded anew."""

    _rung = BASE.name

    def ready(self, disk: str) -> bool:
        """The module with the parameters of this rung, and its disk."""
        if disk == self._rung:
            return False
        node = self.devices[BASE.name]
        there = f"for each in $(seq {FIND_SECONDS * 10}); do [ -b {node} ] && break; usleep 100000; done; [ -b {node} ]"
        self._agent.check(f"rmmod virtio_crq; insmod {MODULE} {_PARAMETERS[disk]}; {there}", FIND_SECONDS + 30)
        self._set_schedulers()
        self._rung = disk
        return True

    def counting(self, disk: str) -> Callable[[int], Mapping[str, float]]:
        """Beside what is counted outside: copies that the guest's processor makes."""
        costs, bounces = super().counting(disk), self._bounces()

        def all_costs(requests: int) -> Mapping[str, float]:
            copied = self._bounces() - bounces
            return {**costs(requests), "bounce_copies_per_io": round(copied / requests, 4)}

        return all_costs

    def _bounces(self) -> int:
        return int(self._agent.check(f"sed -n 's/^copies //p' {SYSFS}/pool").strip() or 0)

    def _is_ours(self, disk: str) -> bool:
        return disk in _PARAMETERS

    def _found(self) -> dict[str, str]:
        found = super()._found()
        return dict.fromkeys(_PARAMETERS, found[VIRTIO_CRQ.name])


def rungs_measured(setting: Bench, plan: Plan, image: Image, work: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Everything found, as `guests bench` writes it; `plan.disks` are names of rungs."""
    ours = replace(setting, disks=(VIRTIO_CRQ,))
    with ours.stage(image, work, RungStage) as stage:
        before = image.resident()
        samples = compare(plan, stage, tell)
        summaries = summarize(samples)
        by_base = {
            name: {load: beside[BASE.name] for load, beside in ratios(summaries, name).items()}
            for name in plan.disks
            if name != BASE.name
        }
        return {
            "setting": {**stage.setting(), "rounds": plan.rounds, "seconds": plan.seconds},
            "parameters": {name: _PARAMETERS[name] for name in plan.disks},
            "resident": {"before": round(before, 4), "after": round(image.resident(), 4)},
            "commands": {load.name: load.command("DEVICE", plan.seconds) for load in plan.loads},
            "summary": [row.to_json() for row in summaries],
            "ratios": by_base,
            "samples": [row.to_json() for row in samples],
        }


def report_rungs(found: Mapping[str, Any], console: Console) -> None:
    """A row for each way, under each load."""
    setting = found["setting"]
    console.print(
        f"\nLinux {setting['kernel']} · QEMU {setting['qemu']} (TCG) · medians of {setting['rounds']} interleaved "
        f"rounds of {setting['seconds']:g} s in one boot · per I/O, both partitions",
        soft_wrap=True,
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    for name in ("case", "rung"):
        table.add_column(name, no_wrap=True)
    for name in ("IOPS", f"/ {BASE.name}", *(name for name, _, _ in _COSTS)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found["summary"]:
        ratio = found["ratios"].get(row["disk"], {}).get(row["load"], 1.0)
        costs = (form.format(row["costs"][key]) for _, key, form in _COSTS)
        table.add_row(row["load"], row["disk"], f"{row['iops']:,.0f}", f"{ratio:.2f}", *costs)
    console.print(table)
