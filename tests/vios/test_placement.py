# SPDX-License-Identifier: Apache-2.0
"""Connections go where there is least to do, and stay where moving would win nothing."""

from hypothesis import given
from hypothesis import strategies as st

from virtio_crq.vios.placement import FEW, better


def test_of_two_busy_connections_on_one_worker_one_moves_to_the_idle_worker() -> None:
    assert better({"one": [("a", 50_000), ("b", 40_000), ("idle", 0)], "two": [("c", 10)]}) == ("b", "two")


def test_a_single_busy_connection_stays() -> None:
    assert better({"one": [("a", 50_000), ("idle", 3)], "two": [("c", 10)]}) is None


def test_what_is_even_stays() -> None:
    assert better({"one": [("a", 50_000)], "two": [("b", 50_000)]}) is None
    assert better({"one": [("a", 50_000), ("b", 9_000)], "two": [("c", 50_000)]}) is None


def test_little_to_do_moves_nothing() -> None:
    assert better({"one": [("a", FEW - 1), ("b", FEW - 1)], "two": []}) is None


@given(st.lists(st.lists(st.integers(0, 100_000), max_size=5), min_size=1, max_size=4))
def test_every_move_brings_the_two_closer_and_moving_ends(shares: list[list[int]]) -> None:
    loads = {number: [((number, at), heard) for at, heard in enumerate(each)] for number, each in enumerate(shares)}
    for _move in range(100):
        move = better(loads)
        if move is None:
            return
        link, goal = move
        before = {worker: sum(heard for _, heard in links) for worker, links in loads.items()}
        source = next(worker for worker, links in loads.items() if link in dict(links))
        heard = dict(loads[source])[link]
        loads[source].remove((link, heard))
        loads[goal].append((link, heard))
        after = {worker: sum(heard for _, heard in links) for worker, links in loads.items()}
        assert max(after[source], after[goal]) < max(before[source], before[goal])
    raise AssertionError("it never came to rest")
