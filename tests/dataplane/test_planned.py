# SPDX-License-Identifier: Apache-2.0
"""`data=planned`: whole pages go the way that costs less, by a clock that the test holds; and it changes its mind."""

from collections.abc import Iterator
from errno import EOPNOTSUPP

import pytest
from disk import IN, OUT
from redirecting import CONTENT, PAGE, PAGES, RedirectingPlatform, Scene

from virtio_crq.dataplane import ways
from virtio_crq.dataplane.planned import PlannedBlockService
from virtio_crq.dataplane.planner import Planner

TRIAL_EVERY = 64  # a constant of the compiled module, which only it sees


class Market(RedirectingPlatform):
    """A copy costs `copy`, a transfer `move`; each as (nanoseconds a call, nanoseconds a byte)."""

    def __init__(self) -> None:
        super().__init__()
        self.copy_price = (200.0, 0.1)
        self.move_price = (2000.0, 0.01)
        self.service: PlannedBlockService | None = None
        self.planner: Planner | None = None

    def spend(self, price: tuple[float, float], lengths: list[int]) -> None:
        spent = round(sum(price[0] + price[1] * length for length in lengths))
        if self.service is not None and self.planner is not None:
            self.service.clock.held += spent
            self.planner.clock.held += spent

    def copy(self, vector: list[tuple[int, int, int, int]]) -> tuple[int, int]:
        self.spend(self.copy_price, [length for _, _, length, _ in vector])
        return super().copy(vector)

    def transfer(self, file: int, remote: int, length: int, position: int, write: bool) -> int:
        self.spend(self.move_price, [length])
        return super().transfer(file, remote, length, position, write)


class Fair(Scene):
    """Reads of the store cost nothing here: the clock stands still while the file is read."""

    def __init__(self) -> None:
        super().__init__(service=PlannedBlockService, platform=Market(), size=64)
        assert isinstance(self.service, PlannedBlockService)
        assert isinstance(self.platform, Market)
        self.planned = self.service
        self.market = self.platform
        self.planned.clock.held = self.planned.ring.planner.clock.held = 0
        self.market.service, self.market.planner = self.planned, self.planned.ring.planner

    def read(self, pages: int, times: int = 1) -> list[tuple[int, int]]:
        """So many reads, one batch each; (way, reason) of all."""
        found = []
        for _ in range(times):
            self.made = 0
            at = self.request(IN, 8, [(PAGES, pages * PAGE)])
            self.platform.guest[PAGES : PAGES + pages * PAGE] = bytes(pages * PAGE)
            self.served(at)
            assert self.guest(PAGES, pages * PAGE) == CONTENT[8 * 512 :][: pages * PAGE]
            (row,) = self.planned.ring.planner.journal.recent(1)
            found.append((row["way"], row["reason"]))
        return found

    def write(self, pages: int, data: bytes | None = None) -> None:
        """One batch with one write, of what is at block 8 already when no data are given."""
        self.made = 0
        data = CONTENT[8 * 512 :][: pages * PAGE] if data is None else data
        at = self.request(OUT, 8, [(PAGES, pages * PAGE)], data)
        self.served(at)

    def served(self, at: int) -> None:
        """The request there is announced, and done without an error."""
        self.disk.announce(credit=1 if self.disk.rig.said() else 0)
        self.rig.run()
        while self.store.pending:
            self.rig.run()
        self.disk.ring.collect()
        assert self.status(at) == 0


@pytest.fixture
def fair() -> Iterator[Fair]:
    made = Fair()
    yield made
    made.close()


def test_small_requests_are_copied_and_large_ones_redirected_by_what_was_measured(fair: Fair) -> None:
    for _ in range(40):
        fair.read(1, 20)
        fair.read(12, 30)
    assert fair.planned.fetching.of(1, PAGE) == pytest.approx(2041, rel=0.1)
    assert set(fair.read(1, TRIAL_EVERY)) == {(ways.COPIED, ways.DEARER), (ways.REDIRECTED, ways.TRIAL)}
    assert set(fair.read(12, TRIAL_EVERY)) >= {(ways.REDIRECTED, ways.CHEAPER)}


def test_when_prices_change_it_changes_its_mind(fair: Fair) -> None:
    fair.market.copy_price = (5000.0, 1.0)
    for _ in range(10):
        fair.read(1, TRIAL_EVERY)
    ways_gone = [way for way, _ in fair.read(1, TRIAL_EVERY)]
    assert ways_gone.count(ways.REDIRECTED) == TRIAL_EVERY - 1
    fair.market.copy_price, fair.market.move_price = (100.0, 0.05), (50000.0, 1.0)
    for _ in range(10):
        fair.read(1, TRIAL_EVERY)
    ways_gone = [way for way, _ in fair.read(1, TRIAL_EVERY)]
    assert ways_gone.count(ways.COPIED) == TRIAL_EVERY - 1


def test_one_batch_in_so_many_goes_the_other_way_so_that_both_costs_stay_known(fair: Fair) -> None:
    fair.market.copy_price, fair.market.move_price = (100.0, 0.05), (50000.0, 1.0)
    fair.read(1, 10 * TRIAL_EVERY)
    reasons = [reason for _, reason in fair.read(1, 2 * TRIAL_EVERY)]
    assert reasons.count(ways.TRIAL) == 2
    before = fair.planned.fetching.samples, fair.planned.reading.samples
    fair.read(1, 2 * TRIAL_EVERY)
    assert fair.planned.fetching.samples == before[0] + 2
    assert fair.planned.reading.samples > before[1]


def test_what_cannot_be_redirected_is_copied_and_the_journal_says_why(fair: Fair) -> None:
    def reason(parts: list[tuple[int, int]], kind: int = IN) -> int:
        fair.request(kind, 0, parts)
        fair.disk.announce(credit=1 if fair.disk.rig.said() else 0)
        fair.rig.run()
        while fair.store.pending:
            fair.rig.run()
        fair.disk.ring.collect()
        (row,) = fair.planned.ring.planner.journal.recent(1)
        assert row["way"] == ways.COPIED
        return int(row["reason"])

    assert reason([(PAGES, 512)]) == ways.PIECES
    fair.service.writethrough = 1
    assert reason([(PAGES, PAGE)], OUT) == ways.STABLE
    fair.service.writethrough = 0
    fair.market.move_price = (0.0, 0.0)
    for _ in range(400):
        fair.read(4)
    fair.platform.answers = [0]
    assert reason([(PAGES, 4 * PAGE)]) == ways.NOT_WHOLE


def test_nothing_is_decided_before_both_ways_were_timed_as_often_as_it_takes(fair: Fair) -> None:
    """The first transfer is as dear as cold caches make it; nobody is to remember that."""
    fair.market.move_price = (13000.0, 0.1)
    fair.read(1, 2)
    fair.market.move_price = (100.0, 0.01)
    reasons = fair.read(1, 14)
    assert reasons == [(ways.COPIED, ways.UNKNOWN), (ways.REDIRECTED, ways.UNKNOWN)] * 7
    assert (fair.planned.fetching.samples, fair.planned.reading.samples) == (8, 8)
    assert fair.planned.ring.planner.copying.samples >= 8
    assert fair.planned.fetching.of(1, PAGE) == pytest.approx(141, rel=0.2)
    assert set(fair.read(1, 10)) == {(ways.REDIRECTED, ways.CHEAPER)}


def test_reads_are_tried_the_other_way_also_where_each_other_batch_is_a_write(fair: Fair) -> None:
    fair.market.move_price = (50000.0, 1.0)
    reasons = []
    for _ in range(2 * TRIAL_EVERY):
        reasons += fair.read(1)
        fair.write(1)
    assert [reason for _, reason in reasons].count(ways.TRIAL) == 1
    assert fair.planned.tried() == {IN: 2 * TRIAL_EVERY, OUT: 2 * TRIAL_EVERY}
    assert fair.planned.sinking.samples == 8 + 1


def test_transfers_that_were_refused_are_not_taken_for_cheap_ones(fair: Fair) -> None:
    """As ext4 answers a write that must not wait: at once, and for ever."""
    for _ in range(TRIAL_EVERY):
        fair.platform.answers = [-EOPNOTSUPP]
        fair.read(8)
    assert fair.planned.fetching.samples == 0
    assert fair.planned.never() == {IN: ways.WAITS}


def test_writes_have_costs_of_their_own(fair: Fair) -> None:
    fair.market.move_price = (100.0, 0.01)
    for turn in range(3 * TRIAL_EVERY):
        fair.write(8, bytes([turn % 251]) * 8 * PAGE)
    assert fair.planned.sinking.samples > 0
    assert fair.planned.fetching.samples == 0
    fair.file.seek(8 * 512)
    assert fair.file.read(8 * PAGE) == bytes([(3 * TRIAL_EVERY - 1) % 251]) * 8 * PAGE
