# SPDX-License-Identifier: Apache-2.0
"""Rows for tests of what is made of rows."""

from typing import Any

from virtio_crq.bench.row import Row

PLAIN: dict[str, Any] = {
    "case": "randread-4k-qd32", "rung": "batched", "ring": "split", "fetch": "batched", "map": "per-request",
    "data": "copy", "carrier": "", "backing": "file", "dataplane": "compiled", "notify": "polling", "batch": 8.0,
    "resident": 1.0, "iops": 1e6, "mib_per_s": 1.0, "hcalls_per_io": 10.0, "tce_hcalls_per_io": 6.0,
    "copies_per_io": 3.0, "bytes_copied_per_io": 4096.0, "bounce_copies_per_io": 0.0, "bounce_bytes_per_io": 0.0,
    "interrupts_per_io": 0.0, "hcalls": {}, "p50_us": 10.0, "p99_us": 20.0, "cpu_us_per_io": 2.0, "raw_iops": 2e6,
    "raw_engine": "io_uring", "raw_ratio": 0.5, "priced_iops": 2e5,
}  # fmt: skip


def row(**words: Any) -> Row:
    known = {name: value for name, value in PLAIN.items() if name in Row.__dataclass_fields__}
    return Row(**known | words)


def fields(**words: Any) -> dict[str, Any]:
    """A row as a result file has it."""
    return row(**words).to_json()
