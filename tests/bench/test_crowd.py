# SPDX-License-Identifier: Apache-2.0
"""Crowds are measured against one client, and one that does nothing is measured, too."""

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from virtio_crq.bench.case import RUNGS, Case
from virtio_crq.bench.crowd import CROWDS, Crowd, CrowdPlan, Presence, chosen, measure, medians
from virtio_crq.bench.row import Counts, Load
from virtio_crq.cli.crowdmachine import CrowdMachines, own_memory
from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.machinefile import parse_machine_file


class EvenStage:
    """Each client completes 1000 requests in 10 ms, however many there are; a request costs two copies."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.requests = 0

    def counts(self) -> Counts:
        return Counts({"H_COPY_RDMA": 2 * self.requests}, 2 * self.requests, 0, self.requests)

    def loads(self, case: Case, seconds: float) -> Sequence[Load]:
        self.requests += 1000 * self.crowd.clients
        return [Load(1000, 0.01, 9.0, 20.0, 0.0, 4.0)] * self.crowd.clients

    def presence(self, seconds: float) -> Presence:
        return Presence(seconds or 1.0, 0.25, self.crowd.clients << 20)


@contextmanager
def stages(crowd: Crowd) -> Iterator[EvenStage]:
    yield EvenStage(crowd)


def test_a_crowd_is_set_against_one_that_has_the_server_for_itself() -> None:
    plan = CrowdPlan(CROWDS, "batched", "sleeping", 0, 1.0)
    rows = {row.crowd: row for row in measure(plan, stages, lambda what: None)}
    assert list(rows) == [crowd.name for crowd in CROWDS]
    assert rows["1-qd32"].ratio is None
    assert (rows["16-qd32"].iops, rows["16-qd32"].ratio, rows["16-qd32"].slowest) == (1_600_000, 16.0, 1.0)
    assert (rows["16-qd32"].hcalls_per_io, rows["16-qd32"].interrupts_per_io) == (2.0, 1.0)
    assert rows["16-qd32"].server_mib_per_client == 1.0


def test_a_crowd_that_does_nothing_has_no_figures_of_requests() -> None:
    (row,) = measure(CrowdPlan(CROWDS[-1:], "batched", "sleeping", 0, 2.0), stages, lambda what: None)
    assert (row.iops, row.hcalls_per_io, row.copies_per_io, row.ratio) == (0, None, None, None)
    assert row.server_cpu == 0.125


def test_rounds_are_set_against_their_own_and_their_medians_are_told() -> None:
    paces = iter([1.0, 1.5, 3.0, 2.4, 2.0, 1.8])

    class Paced(EvenStage):
        def loads(self, case: Case, seconds: float) -> Sequence[Load]:
            each = super().loads(case, seconds)
            return each if seconds < 1.0 else [replace(load, requests=int(1000 * self.pace)) for load in each]

    @contextmanager
    def paced(crowd: Crowd) -> Iterator[Paced]:
        stage = Paced(crowd)
        stage.pace = next(paces)  # type: ignore[attr-defined]
        yield stage

    rows = list(measure(CrowdPlan(CROWDS[:2], "batched", "sleeping", 0, 1.0, rounds=3), paced, lambda what: None))
    assert [row.ratio for row in rows] == [None, 24.0, None, 12.8, None, 14.4]
    one, many = medians(rows)
    assert (one.crowd, one.iops, one.ratio) == ("1-qd32", 200_000, None)
    assert (many.crowd, many.iops, many.ratio) == ("16-qd32", 2_880_000, 14.4)


def test_who_is_asked_for_brings_what_it_is_measured_against() -> None:
    assert [crowd.name for crowd in chosen(["16-qd2"])] == ["1-qd32", "16-qd2"]
    assert chosen([]) == list(CROWDS)
    with pytest.raises(UsageError, match="crowd '17' is not one of 1-qd32, "):
        chosen(["17"])


def test_a_crowd_is_carried_as_its_rung_says() -> None:
    for rung in RUNGS:
        text = CrowdMachines(None, 1 << 30, rung, "sleeping", 0).text("crowd", CROWDS[0])
        machine = parse_machine_file(text, Path("machine.toml"))
        server = machine.partition("vios1")
        assert (server.fetch, server.ring, server.data, server.carrier) == (
            rung.fetch,
            rung.ring,
            rung.data,
            rung.carrier,
        )


@pytest.mark.parametrize("crowd", CROWDS, ids=lambda crowd: crowd.name)
def test_each_crowd_is_a_machine_that_can_be(crowd: Crowd, tmp_path) -> None:
    path = tmp_path / "machine.toml"
    text = CrowdMachines(None, 1 << 30, RUNGS[0], "sleeping", 0).text("crowd", crowd)
    path.write_text(text)
    machine = parse_machine_file(text, path)
    assert len(machine.adapters) == len(machine.maps_of("vios1")) == crowd.clients


def test_memory_of_a_server_is_its_own_and_not_its_files_pages(tmp_path: Path) -> None:
    size = 64 << 20
    before = own_memory(os.getpid())
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        assert sum(pages[at] for at in range(0, size, mmap.PAGESIZE)) == 0
        assert own_memory(os.getpid()) - before < size // 2
        kept = bytearray(b"x") * size
        assert own_memory(os.getpid()) - before > size // 2
        assert len(kept) == size
