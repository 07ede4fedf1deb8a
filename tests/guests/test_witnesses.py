# SPDX-License-Identifier: Apache-2.0
"""IBM's own drivers over our hypervisor: one run of the pair for all checks, counted in between."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from virtio_crq.cli.guestplan import find_qemu
from virtio_crq.cli.guestwitness import own_pair
from virtio_crq.guests.cache import KERNELS, Lab
from virtio_crq.guests.modules import ModuleTree
from virtio_crq.guests.witnesschecks import CHECKS, WitnessCheck, healthy
from virtio_crq.guests.witnesscounts import LOADS, TCE_CALLS, counted, one_read
from virtio_crq.guests.witnesses import CLIENT, SERVER, Pair, Parts, make_parts

pytestmark = pytest.mark.guest


@dataclass
class Run:
    kernel: str
    parts: Parts
    state: Path
    pair: Pair


Step = Callable[[Run], None]


class Booted:
    """The pair of one kernel at a time; asked for another, it ends the one and boots the other."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._stack = ExitStack()
        self._run: Run | None = None

    def run(self, kernel: str) -> Run:
        if self._run is None or self._run.kernel != kernel:
            self.close()
            work = self._work / kernel
            work.mkdir()
            parts = make_parts(Lab.open(), kernel, work)
            state, pair = self._stack.enter_context(own_pair(work, parts, find_qemu(None)))
            pair.boot()
            self._run = Run(kernel, parts, state, pair)
        return self._run

    def close(self) -> None:
        self._run = None
        self._stack.close()


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    made = Booted(tmp_path_factory.mktemp("witness"))
    yield made
    made.close()


def plays(check: WitnessCheck) -> Step:
    def play(run: Run) -> None:
        check.run(run.pair)
        healthy(run.pair)

    return play


def nothing_but_the_packages_own_modules(run: Run) -> None:
    tree = ModuleTree(Lab.open().kernel(run.kernel).modules)
    for side in (run.pair.server, run.pair.client):
        loaded = {line.split()[0] for line in side.run("cat /proc/modules").splitlines()}
        assert loaded
        for name in loaded:
            module = tree.find(name)
            assert module is not None, f"{name} is not of the package"
            assert run.parts.modules[name] == module.sha256


def thirteen_calls_and_three_copies_alone_and_less_in_company(run: Run) -> None:
    """Map and unmap on both sides, command and response, unit and data and response, interrupts off and on."""
    for load in LOADS:
        cost = counted(run.state, run.pair, load)
        assert cost.copies == pytest.approx(3, abs=0.05)
        assert cost.tce_calls == pytest.approx(4, abs=0.05)
        assert cost.bytes == pytest.approx(256 + 4096 + 36, rel=0.02)
        if load.depth == 1:
            assert cost.calls == pytest.approx(13, abs=0.3)
            assert cost.signal_calls == pytest.approx(4, abs=0.3)
        else:
            assert 9 <= cost.calls < 13


def one_read_call_by_call(run: Run) -> None:
    entries = one_read(run.state, run.pair)
    called = {side: [e["call"] for e in entries if e["partition"] == side] for side in (CLIENT, SERVER)}
    assert [call for call in called[CLIENT] if call not in TCE_CALLS and call != "H_VIO_SIGNAL"] == ["H_SEND_CRQ"]
    assert called[SERVER].count("H_COPY_RDMA") == 3
    assert called[SERVER].count("H_SEND_CRQ") == 1
    assert {e["code"] for e in entries} == {"H_SUCCESS"}


# In this order, each on what the one before left. All lives and deaths on the oldest kernel, on the newer ones the
# hardest; `virtio-crq guests witness --kernel` plays all on any.
STEPS: dict[str, Step] = {
    "modules": nothing_but_the_packages_own_modules,
    **{check.name: plays(check) for check in CHECKS[:2]},
    "counts": thirteen_calls_and_three_copies_alone_and_less_in_company,
    "one-read": one_read_call_by_call,
    **{check.name: plays(check) for check in CHECKS[2:]},
}
ONLY_OLDEST = {check.name for check in CHECKS[2:]} - {"client-killed"}
CASES = [
    pytest.param(kernel, step, id=f"{kernel}-{name}")
    for kernel in KERNELS
    for name, step in STEPS.items()
    if kernel == KERNELS[0] or name not in ONLY_OLDEST
]


@pytest.mark.parametrize(("kernel", "step"), CASES)
def test_the_pair(booted: Booted, kernel: str, step: Step) -> None:
    step(booted.run(kernel))
