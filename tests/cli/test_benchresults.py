# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq bench price` and `bench plot` as people call them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = [
    {
        "case": f"randread-4k-qd{depth}", "rung": rung, "notify": "polling", "backing": "file", "iops": 100_000 * depth,
        "p50_us": 5, "p99_us": 9, "hcalls_per_io": calls, "copies_per_io": 3, "bytes_copied_per_io": 4096,
        "bounce_copies_per_io": 0, "interrupts_per_io": 0, "cpu_us_per_io": 2,
    }
    for depth in (1, 8) for rung, calls in (("naive", 18), ("batched", 10))
]  # fmt: skip


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "virtio_crq.cli", "bench", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS))
    return path


def test_prices_are_a_table_for_people_and_a_file_for_programs(rows: Path, tmp_path: Path) -> None:
    done = bench("price", str(rows), "--json", str(tmp_path / "prices.json"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 GB/s" in done.stdout
    found = json.loads((tmp_path / "prices.json").read_text())
    assert len(found["prices"]) == 4
    assert found["overtakings"][0]["leads"][-1]["rung"] == "batched"


def test_pictures_are_named_as_they_are_drawn(rows: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = bench("plot", str(rows), "--out", str(tmp_path / "pictures"))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == sorted(str(path) for path in (tmp_path / "pictures").iterdir())


def test_only_what_was_asked_for_is_drawn(rows: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = bench("plot", str(rows), "--out", str(tmp_path / "pictures"), "--kind", "depths", "--svg")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["randread-4k-file-polling-by-depth.svg"]
    done = bench("plot", str(rows), "--out", str(tmp_path / "pictures"), "--kind", "colours")
    assert done.stderr == "virtio-crq: kind 'colours' is not one of rungs, prices, depths, sizes\n"


def test_crowds_are_drawn_over_the_number_of_clients(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    row = {
        "crowd": "x",
        "load": "randread-4k-qd32",
        "notify": "polling",
        "hcalls_per_io": 1,
        "interrupts_per_io": 1,
        "server_cpu": 1,
    }
    path = tmp_path / "clients.json"
    path.write_text(json.dumps([row | {"clients": number, "iops": 1e5 * number} for number in (1, 2)]))
    done = bench("plot", str(path), "--out", str(tmp_path / "pictures"))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/pictures/by-clients.png\n")


def test_what_cannot_be_read_or_written_is_one_line(rows: Path) -> None:
    for words, said in (
        (["price", "/no/rows.json"], "/no/rows.json: No such file or directory"),
        (["price", str(rows), "--json", "/no/where/x"], "/no/where/x: no such directory"),
        (["plot", str(rows), "--out", str(rows)], f"{rows}: File exists"),
    ):
        done = bench(*words)
        assert (done.returncode, done.stderr) == (2, f"virtio-crq: {said}\n")


def test_the_verbs_do_not_measure_first(rows: Path) -> None:
    assert "writing a file" not in bench("price", str(rows)).stdout
