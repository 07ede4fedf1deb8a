# SPDX-License-Identifier: Apache-2.0
"""Figures between two looks at the view."""

from typing import Any

import pytest

from virtio_crq.vios.rates import rates, render_rates, wires


def look(requests: int, bytes_in: int) -> list[dict[str, Any]]:
    target = {
        "target": "root",
        "counters": {"requests": requests, "bytes_in": bytes_in, "bytes_out": 0, "errors": 0},
        "device": "block",
        "queues": [
            {"index": 0, "in_flight": 2, "requests": requests // 4},
            {"index": 1, "in_flight": 1, "requests": requests - requests // 4},
        ],
    }
    return [{"adapter": "vhost0", "client": "web1", "targets": [target]}]


def test_rates_are_differences_over_time() -> None:
    row = rates(look(100, 0), look(300, 4 << 20), 2.0)[0]
    assert row["iops"] == pytest.approx(100)
    assert row["in_mib_per_s"] == pytest.approx(2)
    assert row["in_flight"] == 3
    assert "web1/root" in render_rates([row])


def test_each_queue_of_several_has_a_line_of_its_own() -> None:
    row = rates(look(100, 0), look(300, 0), 2.0)[0]
    assert row["queues"] == [{"index": 0, "iops": 25.0, "in_flight": 2}, {"index": 1, "iops": 75.0, "in_flight": 1}]
    lines = [line.split() for line in render_rates([row]).splitlines()[2:]]
    assert lines == [["queue", "0", "25", "2"], ["queue", "1", "75", "1"]]
    alone = {**row, "queues": row["queues"][:1]}
    assert "queue 0" not in render_rates([alone])


def test_a_restarted_or_new_server_counts_from_zero() -> None:
    assert rates(look(500, 0), look(80, 0), 1.0)[0]["iops"] == pytest.approx(80)
    assert rates([], look(80, 0), 1.0)[0]["iops"] == pytest.approx(80)


def wire(calls: int, copies: int) -> dict[str, Any]:
    client = {"H_SEND_CRQ": calls, "interrupts": 9, "copies": 0, "bytes": 0}
    server = {"H_COPY_RDMA": copies, "copies": copies, "bytes": 4096 * copies}
    row = {"client": "web1", "server_unit_address": 0x30000002, "client_counters": client, "server_counters": server}
    return {"adapters": [row]}


def test_a_requests_cost_is_what_the_hypervisor_counted_on_its_connection() -> None:
    def at(requests: int) -> list[dict[str, Any]]:
        return [adapter | {"unit_address": 0x30000002} for adapter in look(requests, 0)]

    row = rates(at(100), at(300), 1.0, wires(wire(10, 50)), wires(wire(110, 850)))[0]
    assert row["hcalls_per_io"] == pytest.approx(4.5)
    assert row["copies_per_io"] == pytest.approx(4.0)
    assert "4.50" in render_rates([row])
    idle = rates(at(100), at(100), 1.0, wires(wire(10, 50)), wires(wire(12, 50)))[0]
    assert idle["hcalls_per_io"] is None
    assert render_rates([idle]).splitlines()[1].split()[-3:] == ["-", "-", "-"]
