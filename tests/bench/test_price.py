# SPDX-License-Identifier: Apache-2.0
"""Prices reorder rungs where the arithmetic says so, and a file that holds no rows is one clear line."""

import io
import json
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rows import fields

from virtio_crq.bench.grammar import case
from virtio_crq.bench.peers import STORAGE_DAEMON
from virtio_crq.bench.plot import MISSING, plot
from virtio_crq.bench.price import COPIES, HYPERCALLS, fastest, iops, lead_ends, seconds
from virtio_crq.bench.pricereport import overtakings, prices, report
from virtio_crq.bench.results import Point, read
from virtio_crq.bench.row import COPY_BYTES_PER_SECOND, HYPERCALL_SECONDS, priced
from virtio_crq.errors import UsageError

POINT = Point(case("randread-4k-qd8"), "batched", "polling", "file", 1e6, 5.0, 9.0, 2.0, 10.0, 3.0, 4096.0, 0.0, 0.0)


def point(rung: str, rate: float, calls: float, copied: float = 0.0) -> Point:
    return replace(POINT, rung=rung, iops=rate, hcalls_per_io=calls, bytes_copied_per_io=copied)


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_rows_of_both_commands_become_points_of_medians(tmp_path: Path) -> None:
    plain = written(tmp_path / "bench.json", [fields(iops=100.0), fields(rung="naive", notify="sleeping")])
    peers = written(tmp_path / "peers.json", {"rows": [fields(iops=300.0), fields(iops=200.0)], "summary": []})
    batched, naive = read([plain, peers])
    assert (batched.rung, batched.iops, batched.case.depth) == ("batched", 200.0, 32)
    assert (naive.rung, naive.notify) == ("naive", "sleeping")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no json", "is no JSON"),
        ("[]", "has no rows"),
        ('{"summary": []}', "has no rows"),
        ("3", "has no rows"),
        ("[3]", "row 0 is not an object"),
        (json.dumps([fields(), {}]), "row 1: case is not a text"),
        (json.dumps([fields() | {"iops": "much"}]), "iops is not a number"),
        (json.dumps([fields() | {"hcalls_per_io": -1}]), "hcalls_per_io is not a number of 0 or more"),
        (json.dumps([fields() | {"p99_us": float("nan")}]), "p99_us is not a number"),
        (json.dumps([fields() | {"iops": 0}]), "iops is 0"),
        (json.dumps([fields() | {"case": "fast"}]), "case 'fast' is not KIND-SIZE-qdDEPTH"),
    ],
)
def test_a_file_that_holds_something_else_is_one_clear_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=words):
        read([path])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="absent: No such file"):
        read([tmp_path / "absent"])


def test_prices_are_those_that_a_row_has() -> None:
    found = iops(POINT, HYPERCALL_SECONDS, COPY_BYTES_PER_SECOND)
    assert found == pytest.approx(priced(POINT.iops, POINT.hcalls_per_io, POINT.bytes_copied_per_io))


def test_a_peer_pays_nothing() -> None:
    peer = replace(POINT, rung=STORAGE_DAEMON.name)
    assert all(iops(peer, call, copy) == pytest.approx(1e6) for call in HYPERCALLS for copy in COPIES)


def test_whoever_calls_less_overtakes_where_the_lines_meet() -> None:
    quick, frugal = point("quick", 1e6, 10), point("frugal", 0.5e6, 5)  # 1 µs more, 5 calls fewer: at 0.2 µs
    first, second = fastest([frugal, quick], COPIES[0])
    assert (first.ahead.rung, first.behind) == ("quick", None)
    assert (second.ahead.rung, second.behind) == ("frugal", quick)
    assert second.hypercall == pytest.approx(0.2e-6)


def test_the_price_of_copying_moves_the_meeting() -> None:
    copying, calling = point("copying", 1e6, 5, 8192), point("calling", 1e6, 10, 0)
    assert [step.ahead.rung for step in fastest([copying, calling], 5e9)] == ["calling", "copying"]
    assert fastest([copying, calling], 5e9)[1].hypercall == pytest.approx(8192 / 5e9 / 5)
    assert fastest([copying, calling], 20e9)[1].hypercall == pytest.approx(8192 / 20e9 / 5)


POINTS = st.builds(
    point, st.text("abc", min_size=1), st.floats(1e3, 1e7), st.integers(0, 30).map(float), st.floats(0, 1e6)
)


@given(st.lists(POINTS, min_size=1, max_size=6), st.floats(0, 20e-6), st.sampled_from(COPIES))
def test_at_any_price_the_leader_is_the_fastest(points: list[Point], price: float, copy: float) -> None:
    leads = fastest(points, copy)
    leader = [step for step in leads if step.hypercall <= price][-1].ahead
    assert seconds(leader, price, copy) <= min(seconds(each, price, copy) for each in points) * (1 + 1e-9)
    assert [step.hypercall for step in leads] == sorted(step.hypercall for step in leads)


def test_a_lead_over_a_peer_ends_where_ours_has_paid_it_away() -> None:
    peer = replace(point("", 0.5e6, 0), rung=STORAGE_DAEMON.name)
    assert lead_ends(point("ours", 1e6, 10), peer, COPIES[0]) == pytest.approx(0.1e-6)
    assert lead_ends(point("slow", 0.4e6, 10), peer, COPIES[0]) < 0
    assert lead_ends(point("free", 1e6, 0), peer, COPIES[0]) == inf
    assert lead_ends(point("slow", 0.4e6, 0), peer, COPIES[0]) < 0


def three() -> list[Point]:
    peer = replace(point("", 0.5e6, 0), rung=STORAGE_DAEMON.name)
    return [point("quick", 1e6, 10), point("frugal", 0.8e6, 5), peer]


def test_the_report_names_who_leads_from_when() -> None:
    out = io.StringIO()
    report(three(), Console(file=out, width=160))
    assert "quick; frugal from 0.05 µs" in out.getvalue()
    assert "up to 0.15 µs (qemu-storage-daemon)" in out.getvalue()
    assert len(prices(three())[0]["priced"]) == len(HYPERCALLS) * len(COPIES)
    (steps, *_) = overtakings(three())
    assert [step["rung"] for step in steps["leads"]] == ["quick", "frugal"]
    assert steps["ahead_of_peers_to_us"] == {"qemu-storage-daemon": 0.15}


def loads() -> list[Point]:
    deep = [replace(each, case=case("randread-4k-qd32")) for each in three()]
    large = [replace(each, case=case("randread-64k-qd8")) for each in three()]
    return [*three(), *deep, *large]


def test_pictures_are_drawn_of_rungs_prices_depths_and_sizes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = [path.name for path in plot(loads(), tmp_path / "new" / "pictures")]
    assert set(names) == {
        *(f"{load}-file{kind}.png" for load in ("randread-4k-qd8", "randread-4k-qd32", "randread-64k-qd8")
          for kind in ("", "-polling-priced")),
        "randread-4k-file-polling-by-depth.png", "randread-qd8-file-polling-by-size.png",
    }  # fmt: skip
    for name in names:
        assert (tmp_path / "new" / "pictures" / name).read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_lines_is_the_same_file_each_time_and_small(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = (list(plot(loads(), tmp_path / name, ["sizes"], "svg")) for name in ("one", "two"))
    assert [path.name for path in first] == ["randread-qd8-file-polling-by-size.svg"]
    assert first[0].read_bytes() == second[0].read_bytes()
    assert first[0].stat().st_size < 150_000


def test_without_matplotlib_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(UsageError) as caught:
        list(plot(three(), tmp_path / "pictures"))
    assert str(caught.value) == MISSING
    assert not (tmp_path / "pictures").exists()
