# SPDX-License-Identifier: Apache-2.0
"""What a planner chose, in words that carry the numbers."""

from typing import Any

import pytest

from virtio_crq.dataplane import ways
from virtio_crq.vios.explain import REASONS, pays_from, render, why

ROW = {"bytes": 512, "reason": ways.DEARER, "copying_ns": 200, "redirecting_ns": 1300}


def cost(call: float, byte: float) -> dict[str, float]:
    return {"call_ns": call, "byte_ns": byte, "samples": 3}


def test_a_choice_names_its_numbers() -> None:
    assert why(ROW, 4096) == (
        "redirect not chosen: 512 bytes were expected to take 1.30 µs, store and copies 200 ns; "
        "it pays from 4,096 bytes on"
    )


def test_every_reason_has_words() -> None:
    numbers = {value for name, value in vars(ways).items() if name.isupper() and not name.endswith("_INLINE")}
    assert set(REASONS) <= numbers
    for reason in (ways.NO_DATA, ways.ONLY_COPIES, ways.ALWAYS, ways.CHEAPER, ways.DEARER, ways.TRIAL, ways.UNKNOWN):
        assert why({**ROW, "reason": reason}, None)
    assert len(REASONS) == 15


@pytest.mark.parametrize(
    ("redirect", "copy", "bound"),
    [
        (cost(1300, 0.1), cost(100, 0.1), 12288),  # 1300 - 600 ahead, 0.06 a byte gained
        (cost(100, 0.1), cost(100, 0.1), 4096),
        (cost(1300, 0.9), cost(100, 0.1), None),
        (cost(100, 0.9), cost(100, 0.1), None),  # only what is less than a page would gain, and is no page
    ],
)
def test_where_redirecting_pays(redirect: dict[str, float], copy: dict[str, float], bound: int | None) -> None:
    costs = {"redirect-read": redirect, "store-read": cost(500, 0.06), "copy": copy}
    assert pays_from(costs, "read") == bound


def shown(rows: list[dict[str, Any]], **fields: Any) -> list[str]:
    queue = {"queue": 0, "fetch": "push", "ring": "", "carrier": "sub-crq", "requests": 2, "vectors": 2}
    queue |= {"max_copy": 4096, "joining": True, "descriptors_ahead": 1, "ring_copies": 0, "recent": rows}
    costs = {name: cost(1000, 0.1) for name in ("copy", "redirect-read", "redirect-write")}
    return render(
        "web1/root", [queue | {"costs": costs, "redirect_from": {}, "never": {}, "tried": {}} | fields]
    ).splitlines()


def test_columns_stay_apart_however_much_is_said_of_what_was_chosen() -> None:
    row = {"number": 1, "head": 0, "kind": "flush", "bytes": 0, "segments": 2, "batch": 1, "copied": "1", "why": "so"}
    inline = row | {"chosen": "nothing", "inline": ["header", "status"]}
    lines = shown([row | {"chosen": "copy", "inline": []}, inline])[-3:]
    assert lines[2].endswith("  nothing, header and status inline  1; so")
    assert {line.index(word) for line, word in zip(lines, ("COPIES", "1; so", "1; so"), strict=True)} == {
        lines[0].index("COPIES")
    }


def test_what_can_never_be_redirected_is_said_so_ahead_and_has_no_price() -> None:
    lines = shown([], redirect_from={"read": 4096}, tried={"read": 16}, never={"write": "the file system always waits"})
    assert lines[0] == "web1/root, queue 0: fetch push, carrier sub-crq, 2 requests"
    assert "Redirecting   a read from 4,096 bytes on" in lines
    assert "Redirecting   no write: the file system always waits" in lines
    measured = [line for line in lines if line.startswith("Measured")]
    assert len(measured) == 2
    assert not any("write" in line for line in measured)


def test_that_nothing_is_decided_yet_is_said() -> None:
    lines = shown([], redirect_from={"read": None, "write": None}, tried={"read": 3, "write": 16})
    assert "Redirecting   a read every other time until both ways are known (3 of 16 batches)" in lines
    assert "Redirecting   no write: it would cost more at any size" in lines


def test_a_target_whose_queues_were_never_open_says_so() -> None:
    assert render("web1/root", []) == "web1/root: no queue has been open\n"
