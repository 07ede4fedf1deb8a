# SPDX-License-Identifier: Apache-2.0
"""Rows hold what was counted, divided by what was completed."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest
from rich.console import Console

from virtio_crq.bench.case import CASES, RUNGS, Case, chosen
from virtio_crq.bench.image import fill, pinned
from virtio_crq.bench.report import report
from virtio_crq.bench.row import Counts, Load, Row, bounced, per_request, priced
from virtio_crq.bench.run import Plan, Setting, measure
from virtio_crq.errors import UsageError

FIELDS = """case rung ring fetch map data carrier backing dataplane notify batch resident iops mib_per_s hcalls_per_io
tce_hcalls_per_io copies_per_io bytes_copied_per_io bounce_copies_per_io bounce_bytes_per_io
interrupts_per_io hcalls p50_us p99_us cpu_us_per_io raw_iops
raw_engine raw_ratio priced_iops queues asked"""


class ArithmeticStage:
    """Each request costs 2 copies, 6 mapping calls and half an interrupt."""

    def __init__(self) -> None:
        self.requests = 0

    def counts(self) -> Counts:
        n = self.requests
        return Counts({"H_COPY_RDMA": 2 * n, "H_PUT_TCE": 6 * n, "H_REG_CRQ": 1}, 2 * n, 4112 * n, n // 2)

    def load(self, case: Case, seconds: float) -> Load:
        self.requests += 1000
        return Load(requests=1000, seconds=0.01, p50_us=9.0, p99_us=20.0, cpu_seconds=0.02, batch=4.0)


def rows(tmp_path: Path) -> list[Row]:
    path = tmp_path / "image"
    fill(path, 1 << 20, lambda done: None)
    started = []

    @contextmanager
    def stages(setting: Setting) -> Iterator[ArithmeticStage]:
        started.append(setting)
        yield ArithmeticStage()

    plan = Plan(CASES[:1], RUNGS, ("file", "null"), ("polling",), 1.0, "compiled")
    with pytest.MonkeyPatch.context() as patch, pinned(path) as image:
        patch.setattr("virtio_crq.bench.run.RAW_SECONDS", 0.005)
        found = list(measure(plan, image, stages, lambda what: None))
    assert len(found) == len(started) == len(plan)
    return found


def test_a_row_has_exactly_the_published_fields() -> None:
    assert [field.name for field in fields(Row)] == FIELDS.split()


def test_counts_are_per_completed_request_and_leave_out_the_set_up(tmp_path: Path) -> None:
    for row in rows(tmp_path):
        assert (row.hcalls_per_io, row.tce_hcalls_per_io, row.copies_per_io) == (8.0, 6.0, 2.0)
        assert (row.bytes_copied_per_io, row.interrupts_per_io) == (4112.0, 0.5)
        assert row.hcalls == {"H_COPY_RDMA": 2000, "H_PUT_TCE": 6000}
        assert row.iops == 100_000.0


def test_rows_of_one_case_share_one_raw_figure_and_null_has_none(tmp_path: Path) -> None:
    found = rows(tmp_path)
    on_file = [row for row in found if row.backing == "file"]
    assert len({row.raw_iops for row in on_file}) == 1
    assert all(row.raw_engine in {"pread", "io_uring"} and row.resident == 1.0 for row in on_file)
    assert all(row.raw_iops is row.raw_ratio is row.resident is None for row in found if row.backing == "null")


def test_a_price_is_added_to_the_measured_time() -> None:
    assert priced(1e6, 0, 0) == pytest.approx(1e6)
    assert priced(1e6, 10, 0) == pytest.approx(1e6 / 4)
    assert priced(1e6, 0, 10_000) == pytest.approx(1e6 / 2)


def test_mapping_calls_are_counted_in_the_sum_and_beside_it() -> None:
    counts = Counts({"H_PUT_TCE": 30, "H_STUFF_TCE": 10, "H_VIO_SIGNAL": 10}, 0, 0, 0)
    costs = per_request(counts, 10)
    assert (costs["hcalls_per_io"], costs["tce_hcalls_per_io"]) == (5.0, 4.0)


def test_own_copies_are_counted_beside_those_of_the_hypervisor() -> None:
    load = Load(10, 1.0, 1.0, 1.0, 1.0, 1.0, bounces=10, bounce_bytes=40960)
    assert bounced(load) == {"bounce_copies_per_io": 1.0, "bounce_bytes_per_io": 4096.0}


def test_a_row_is_labelled_by_what_really_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Load(1000, 0.01, 9.0, 20.0, 0.02, 4.0, ran={"map": "pool"})
    monkeypatch.setattr(ArithmeticStage, "load", lambda *_: ran)
    assert {(row.rung, row.map) for row in rows(tmp_path)} == {(rung.name, "pool") for rung in RUNGS}


def fell_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **ran: str) -> dict[str, Row]:
    load = Load(1000, 0.01, 9.0, 20.0, 0.02, 4.0, ran=ran)
    monkeypatch.setattr(ArithmeticStage, "load", lambda *_: load)
    return {row.rung: row for row in rows(tmp_path)}


def test_a_row_says_what_carried_and_what_should_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fell_back(tmp_path, monkeypatch, fetch="push", carrier="window")
    assert (found["push-sub"].carrier, found["push-sub"].asked) == ("window", {"carrier": "sub-crq"})
    assert (found["push"].carrier, found["push"].asked) == ("window", {})


def test_where_rings_are_read_nothing_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fell_back(tmp_path, monkeypatch, ring="split", carrier="")
    assert (found["batched"].carrier, found["batched"].asked) == ("", {})
    pushed = found["push-sub"]
    assert (pushed.fetch, pushed.carrier) == ("batched", "")
    assert pushed.asked == {"fetch": "push", "carrier": "sub-crq"}
    assert found["packed"].asked == {"ring": "packed"}


def test_the_report_tells_once_of_what_did_not_run_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    found = fell_back(tmp_path, monkeypatch, fetch="push", carrier="window")
    report([found[rung] for rung in ("push", "push-sub", "push-sub")], Console(file=out, width=140))
    assert [line for line in out.getvalue().splitlines() if "instead" in line] == [
        "push-sub ran with carrier window instead of sub-crq"
    ]


def test_the_report_prints_counts_before_times_before_prices(tmp_path: Path) -> None:
    out = io.StringIO()
    report(rows(tmp_path), Console(file=out, width=140))
    text = out.getvalue()
    assert text.index("carries over to hardware") < text.index("in the emulator") < text.index("with prices")


def test_the_report_names_the_platform_it_was_taken_on(tmp_path: Path) -> None:
    out = io.StringIO()
    report(rows(tmp_path), Console(file=out, width=140), "power8")
    assert "data plane compiled · platform power8" in out.getvalue()


def test_an_unknown_case_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match="case 'randread' is not one of randread-4k-qd1, "):
        chosen(CASES, ["randread"], "case")
