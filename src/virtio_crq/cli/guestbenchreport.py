# SPDX-License-Identifier: Apache-2.0
"""The comparison for people: rates beside each other, what one I/O of ours costs, and the bars."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from virtio_crq.guests.stockdisks import DISKS, VIRTIO_CRQ

_COSTS = (
    ("calls", "hcalls_per_io", "{:.2f}"),
    ("TCE", "tce_hcalls_per_io", "{:.2f}"),
    ("copies", "copies_per_io", "{:.2f}"),
    ("bytes", "bytes_copied_per_io", "{:,.0f}"),
    ("intr", "interrupts_per_io", "{:.3f}"),
    ("in guest", "guest_interrupts_per_io", "{:.3f}"),
)

# The same columns of `guests.witnesscounts.Cost`, which has no count of what a guest was presented.
_PAIR = (
    ("calls", "{:.2f}"),
    ("tce_calls", "{:.2f}"),
    ("copies", "{:.2f}"),
    ("bytes", "{:,.0f}"),
    ("interrupts", "{:.3f}"),
)


def report(found: Mapping[str, Any], console: Console) -> None:
    """Two tables and a line for each bar."""
    setting = found["setting"]
    console.print(
        f"\nLinux {setting['kernel']} · QEMU {setting['qemu']} (TCG, {setting['vcpus']} vCPU, {setting['firmware']}) · "
        f"{setting['fio']} · {setting['aio']} · data plane {setting['dataplane']}",
        soft_wrap=True,
        highlight=False,
    )
    console.print(
        f"\nIOPS, medians of {setting['rounds']} interleaved rounds of {setting['seconds']:g} s", style="bold"
    )
    console.print(_rates(found))
    console.print("\nPer I/O, both partitions: hypercalls (of these TCE), copies, bytes, interrupts", style="bold")
    console.print(_counts(found))
    for bar in found["bars"]:
        met = "met" if bar["met"] else "MISSED"
        console.print(
            f"{bar['load']}: virtio-crq is {bar['found']:.2f} × {bar['beside']}, asked for {bar['least']:g}: {met}",
            highlight=False,
        )
    resident = found["resident"]
    if min(resident["before"], resident["after"]) < 1:
        console.print(
            f"[bold]The file was not all in memory (before {resident['before']:.4f}, after {resident['after']:.4f} of "
            "it): compare with care.[/bold]",
            soft_wrap=True,
        )


def _rates(found: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("case", no_wrap=True)
    names = [disk.name for disk in DISKS]
    others = [name for name in names if name != VIRTIO_CRQ.name]
    for name in (*names, *(f"/ {name}" for name in others)):
        table.add_column(name, justify="right", no_wrap=True)
    for load, beside in found["ratios"].items():
        rates = {row["disk"]: row["iops"] for row in found["summary"] if row["load"] == load}
        table.add_row(load, *(f"{rates[name]:,.0f}" for name in names), *(f"{beside[name]:.2f}" for name in others))
    return table


def _counts(found: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("case", no_wrap=True)
    table.add_column("disk", no_wrap=True)
    for name, _, _ in _COSTS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in found["summary"]:
        if row["disk"] == VIRTIO_CRQ.name:
            table.add_row(row["load"], row["disk"], *(form.format(row["costs"][key]) for _, key, form in _COSTS))
    for row in found["stock_pair"]:
        cells = [form.format(row[key]) for key, form in _PAIR]
        table.add_row(row["load"], "ibmvscsi over our hypervisor", *cells, "–")
    return table
