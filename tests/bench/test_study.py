# SPDX-License-Identifier: Apache-2.0
"""A study is taken in turns that can be stopped after any, and keeps medians and the ratios within a round."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rows import fields

from virtio_crq.bench.case import RUNGS
from virtio_crq.bench.crowd import Crowd
from virtio_crq.bench.goals import GOALS, reached
from virtio_crq.bench.paper import paper
from virtio_crq.bench.peers import DEFAULT_POLL, POLLS, STORAGE_DAEMON
from virtio_crq.bench.results import read as read_points
from virtio_crq.bench.study import PARTS, CrowdPart, Part, Turn, quick
from virtio_crq.bench.studyfile import Journal, read
from virtio_crq.bench.studytables import by_paper, setting
from virtio_crq.errors import UsageError

PART = Part("small", ("randread-4k-qd32",), ("naive", "batched"), rounds=2)
OWN, PEER = RUNGS[1].name, STORAGE_DAEMON.name


def record(**words: Any) -> dict[str, Any]:
    return {"rows": [fields(**words)]}


def records() -> dict[Turn, dict[str, Any]]:
    """Two rounds, the second at half the speed; the peer at two polling times, the longer serves it better."""
    found: dict[Turn, dict[str, Any]] = {}
    for number, speed in ((1, 1.0), (2, 0.5)):
        found[Turn(number, "raw")] = {"raw": {PART.loads[0]: {"pread": 2e6 * speed, "io_uring": 4e6 * speed}}}
        found[Turn(number, OWN, "polling")] = record(
            iops=1e6 * speed, priced_iops=2e5 * speed, hcalls={"H_SEND_CRQ": 9}
        )
        for poll, rate in ((0, 1e5), (DEFAULT_POLL, 5e5)):
            found[Turn(number, PEER, "polling", poll)] = record(
                rung=PEER, iops=rate * speed, hcalls={}, hcalls_per_io=0.0
            )
    return found


def test_a_round_has_the_raw_file_and_every_rung_and_the_peer_in_every_mode() -> None:
    turns = PART.turns(peer=True)
    assert len(turns) == len(set(turns)) == 2 * (1 + 2 * 2 + len(POLLS) + 1)
    assert [turn.what for turn in turns if turn.notify == "polling" and turn.poll is None] == [
        "naive", "batched", "batched", "naive",
    ]  # fmt: skip
    assert {turn.poll for turn in turns if turn.what == PEER and turn.notify == "sleeping"} == {DEFAULT_POLL}
    assert PEER not in {turn.what for turn in PART.turns(peer=False)}


def test_a_disk_with_more_queues_is_set_against_one_with_one_and_against_a_peer_with_as_many() -> None:
    part = replace(PART, rungs=("batched",), notifies=("polling",), queues=(1, 4), polls=(0,))
    turns = part.turns(peer=True)
    assert len(turns) == len(set(turns)) == 2 * (1 + 2 + 2)
    assert [turn.queues for turn in turns if turn.what == OWN] == [1, 4, 4, 1]
    assert Turn(1, OWN, "polling", queues=4).name == "round 1 · batched ×4 · polling"
    found = part.result({
        turn: record(rung=turn.what, iops=rate * turn.round, queues=turn.queues)
        for turn in turns
        if (rate := {(OWN, 1): 100.0, (OWN, 4): 150.0, (PEER, 1): 50.0, (PEER, 4): 300.0}.get((turn.what, turn.queues)))
    })  # fmt: skip
    assert [(row["rung"], row["queues"], row["vs_one"], row["vs_peer"]) for row in found["rows"]] == [
        (OWN, 1, 1.0, 2.0), (OWN, 4, 1.5, 0.5), (PEER, 1, 1.0, 1.0), (PEER, 4, 6.0, 1.0),
    ]  # fmt: skip


def test_a_result_has_medians_and_ratios_of_a_round_and_the_peer_at_its_best() -> None:
    found = PART.result(records())
    ours, peer = found["rows"]
    assert (ours["rung"], ours["iops"], ours["lowest"], ours["highest"]) == (OWN, 750_000.0, 500_000.0, 1e6)
    assert (ours["vs_peer"], ours["priced_vs_peer"], ours["vs_raw"]) == (2.0, 0.4, 0.25)
    assert (peer["rung"], peer["iops"]) == (PEER, 375_000.0)
    assert found["poll_max_ns"] == {"randread-4k-qd32, polling": DEFAULT_POLL}
    assert found["raw"] == {"randread-4k-qd32": 3e6}
    assert ours["calls"] == {"H_SEND_CRQ": 10.0}  # a row says 10 a request, all of them of one name
    assert peer["calls"] == {}


def test_a_result_tells_which_carrier_ran_and_of_a_round_that_did_not_run_as_asked() -> None:
    rung = "push-sub"
    fallen = {"carrier": "window", "asked": {"carrier": "sub-crq"}}
    part = replace(PART, rungs=(rung,))
    for second, expected in (({"carrier": "sub-crq"}, {"carrier": "sub-crq"}), (fallen, fallen)):
        turns = {
            Turn(1, rung, "polling"): record(rung=rung, hcalls={"H_SEND_CRQ": 1}, carrier="sub-crq"),
            Turn(2, rung, "polling"): record(rung=rung, hcalls={"H_SEND_CRQ": 1}, **second),
        }
        (row,) = part.result(turns)["rows"]
        assert {name: row[name] for name in ("carrier", "asked") if name in row} == expected


def test_turns_and_results_from_before_there_were_carriers_are_read() -> None:
    old = fields(hcalls={"H_SEND_CRQ": 1})
    del old["carrier"], old["asked"]
    (row,) = PART.result({Turn(1, OWN, "polling"): {"rows": [old]}})["rows"]
    assert "carrier" not in row
    single = {"case": "randread-4k-qd1", "rung": "push-sub-pool", "fetch": "push", "map": "pool"}
    rows = [{**fields(), **single}, {**fields(), **single, "case": "randread-4k-qd32"}]
    told = [by_paper([{**each, "carrier": carrier} for each in rows]) for carrier in ("sub-crq", "window")]
    assert told[0] != told[1]
    for each in rows:
        del each["carrier"]
    assert by_paper(rows) == told[0]


def test_a_journal_goes_on_where_it_was_even_after_half_a_line(tmp_path: Path) -> None:
    turns = PART.turns(peer=True)
    journal = Journal(tmp_path, PART.name)
    for turn, found in records().items():
        journal.add(turn, found)
    with (tmp_path / "small.turns").open("a") as file:
        file.write('{"turn": {"round"')
    again = Journal(tmp_path, PART.name)
    assert again.records == records()
    assert len(again.left(turns)) == len(turns) - len(records())


def test_a_finished_part_is_one_compact_file_that_the_other_commands_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path, PART.name)
    for turn, found in records().items():
        journal.add(turn, found)
    journal.add(Turn(1, "naive", "sleeping"), {"error": "it ended without a word"})
    journal.finish(PART, {"kernel": "6.1"})
    assert not (tmp_path / "small.turns").exists()
    found = read(tmp_path, PART.name)
    assert found["setting"] == {"kernel": "6.1", "rounds": 2, "seconds": 0.4}
    assert found["missing"] == {"round 1 · naive · sleeping": "it ended without a word"}
    assert len((tmp_path / "small.json").read_text().splitlines()) == len(found["rows"]) + 2
    assert [point.rung for point in read_points([tmp_path / "small.json"])] == [OWN, PEER]
    assert Journal(tmp_path, PART.name).left(PART.turns(peer=True)) == []


def test_a_result_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory; virtio-crq bench study --out"):
        read(tmp_path, "rungs")
    (tmp_path / "rungs.json").write_text("no json")
    with pytest.raises(UsageError, match="is no JSON"):
        read(tmp_path, "rungs")
    (tmp_path / "rungs.json").write_text(json.dumps({"rows": []}))
    with pytest.raises(UsageError, match="has no rows"):
        read(tmp_path, "rungs")


def test_crowds_are_set_against_one_client_of_the_same_round_and_mode() -> None:
    part = next(part for part in PARTS if isinstance(part, CrowdPart))
    speeds = {("polling", 1): 2.0, ("polling", 2): 1.0, ("polling", 3): 8.0}
    found = {
        turn: {"rows": [fields_of(crowd, turn, speeds.get((turn.notify, turn.round), 1.0))]}
        for turn in part.turns(peer=True)
        for crowd in part.crowds
        if crowd.name == turn.what
    }
    rows = {(row["crowd"], row["notify"]): row for row in part.result(found)["rows"]}
    assert rows["16-qd2", "polling"]["iops"] == 3.2e6
    assert {row["ratio"] for (crowd, _), row in rows.items() if crowd == "16-qd2"} == {16.0}
    assert rows["1-qd32", "sleeping"]["ratio"] is None
    assert ("64-idle", "polling") not in rows


def fields_of(crowd: Crowd, turn: Turn, speed: float) -> dict[str, Any]:
    return {"crowd": crowd.name, "notify": turn.notify, "iops": 1e5 * crowd.clients * speed, "load": crowd.load}


def test_a_quick_study_takes_every_turn_once() -> None:
    for part, brief in zip(PARTS, quick(PARTS), strict=True):
        assert brief.rounds == 1
        assert {replace(turn, round=1) for turn in part.turns(True)} == set(brief.turns(True))


def test_all_goals_of_a_load_are_shown_of_one_row() -> None:
    plain = {"vs_peer": 1.5, "priced_vs_peer": 0.5, "vs_raw": 0.6}
    frugal = fields(rung="frugal", hcalls_per_io=1.1, copies_per_io=1.1) | plain
    quick = fields(rung="quick", hcalls_per_io=9.0) | plain | {"vs_peer": 3.0}
    asleep = fields(rung="asleep", notify="sleeping", interrupts_per_io=0.01) | plain
    found = reached([frugal, quick, asleep], lambda row: str(row["data"]))
    assert {each.rung for each in found if each.goal.notify == "polling"} == {"frugal"}
    verdicts = {(each.goal.field, each.goal.notify): each.verdict for each in found}
    assert verdicts["hcalls_per_io", "polling"] == "stretch"
    assert verdicts["vs_peer", "polling"] == "met"
    assert verdicts["vs_peer", "sleeping"] == "missed"
    assert len(found) < len(GOALS)  # other loads were not measured


def test_the_setting_names_the_platform_where_the_results_do() -> None:
    found: dict[str, Any] = {
        "date": "2026-01-01", "processor": "P", "processors": 2, "kernel": "6", "dataplane": "compiled", "rounds": 3,
        "peer": "",
    }  # fmt: skip
    assert setting({**found, "profile": "power9"}) == (
        "*2026-01-01, P, 2 processors, Linux 6; data plane compiled; platform profile power9; medians of 3 rounds.*\n"
    )
    assert "profile" not in setting(found)


def test_the_paper_knows_what_a_batch_shares() -> None:
    batched = paper("split", "batched", "pool", "copy")
    assert batched is not None
    assert (batched.words, batched.single, batched.deep) == ("3 + 6/B", 9, 3 + 4 / 32 + 2 / 8)
    redirected = paper("split", "push", "pool", "redirect")
    assert redirected is not None
    assert (redirected.words, redirected.single, redirected.deep) == ("2/B", 2, 0.125)
    carried = paper("split", "push", "pool", "copy", "sub-crq")
    assert carried is not None
    assert (carried.words, carried.single, carried.deep) == ("1/B", 1, 0.125)
    assert paper("split", "shared", "shared", "shared") is None
    listed = paper("split", "push", "per-request", "copy", "sub-crq")
    assert listed is not None
    assert (listed.words, listed.single, listed.deep) == ("3 + 1/B", 4, 3.0625)
    free = paper("split", "push", "pool", "redirect", "sub-crq")
    assert free is not None
    assert (free.words, free.single, free.deep) == ("0", 0, 0)
    assert paper("split", "push", "pool", "planned") is None  # it measures while it runs
