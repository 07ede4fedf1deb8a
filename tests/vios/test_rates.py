# SPDX-License-Identifier: Apache-2.0
"""Figures between two looks at the view."""

from typing import Any

import pytest

from virtio_crq.vios.rates import rates, render_rates


def look(requests: int, bytes_in: int) -> list[dict[str, Any]]:
    target = {
        "target": "root",
        "counters": {"requests": requests, "bytes_in": bytes_in, "bytes_out": 0, "errors": 0},
        "queues": [{"in_flight": 2}, {"in_flight": 1}],
    }
    return [{"adapter": "vhost0", "client": "web1", "targets": [target]}]


def test_rates_are_differences_over_time() -> None:
    row = rates(look(100, 0), look(300, 4 << 20), 2.0)[0]
    assert row["iops"] == pytest.approx(100)
    assert row["in_mib_per_s"] == pytest.approx(2)
    assert row["in_flight"] == 3
    assert "web1/root" in render_rates([row])


def test_a_restarted_or_new_server_counts_from_zero() -> None:
    assert rates(look(500, 0), look(80, 0), 1.0)[0]["iops"] == pytest.approx(80)
    assert rates([], look(80, 0), 1.0)[0]["iops"] == pytest.approx(80)
