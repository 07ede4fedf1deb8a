# SPDX-License-Identifier: Apache-2.0
"""The table of hostile acts against the user-space client: each ends as its clause says, and all else goes on."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from clientsubject import ClientSubject

from combinations import ways
from virtio_crq.conformance.checkout import SPECIFICATION, find_checkout
from virtio_crq.conformance.hostile.act import Act
from virtio_crq.conformance.hostile.model import Disk
from virtio_crq.conformance.hostile.server import HostileServer
from virtio_crq.conformance.hostile.table import PACKED_TABLE, PAIRED_TABLE, PUSHED_TABLE, TABLE
from virtio_crq.conformance.hostile.trial import Trial
from virtio_crq.dataplane.pool import Pool
from virtio_crq.dataplane.sidefront import SideFront
from virtio_crq.hypervisor.definition import AdapterDefinition, MachineDefinition, PartitionDefinition
from virtio_crq.hypervisor.machine import Machine
from virtio_crq.message.session import PAIR, PUSH

ALL = TABLE + PACKED_TABLE
MEBIBYTE = 1 << 20
DEFINITION = MachineDefinition(
    "hostile",
    partitions=[
        PartitionDefinition("victim", 1, 16 * MEBIBYTE),
        PartitionDefinition("mallory", 2, 16 * MEBIBYTE),
        PartitionDefinition("honest", 3, 16 * MEBIBYTE),
    ],
    adapters=[AdapterDefinition("victim", "mallory", 2, 2), AdapterDefinition("victim", "honest", 3, 2)],
)


@contextmanager
def facing(mapping: str, features: int = 0) -> Iterator[tuple[Trial, ClientSubject]]:
    """A client that maps in this way, before a server that offers these features of the transport."""
    machine = Machine(DEFINITION)
    with machine.attach("victim") as victim, machine.attach("mallory") as mallory, machine.attach("honest") as honest:
        subject = ClientSubject(victim, mapping)
        with HostileServer(honest) as kind:
            kind.plug(Disk(0), quietly=True)
            with HostileServer(mallory, features=features) as server:
                yield Trial(server, subject), subject
                subject.close()
    machine.close()


def each_act(table: Iterable[Act]) -> list[Any]:
    return [pytest.param(act, marks=pytest.mark.clause(*act.clauses), id=str(act)) for act in table]


MAPPED = sorted({mapping for _ring, mapping, _pushed in ways()})
mapped = pytest.mark.parametrize("mapping", MAPPED)


@pytest.mark.clause("CRQ-F-19")
@mapped
@pytest.mark.parametrize("act", each_act(ALL))
def test_each_act_ends_as_its_clause_says(mapping: str, act: Act) -> None:
    with facing(mapping) as (trial, _):
        trial.run(act)


# Of a pool, each request has its last byte in its completion: a server has no tail to give unasked.
ASKED = {(Pool.name, act.name) for act in PUSHED_TABLE if "completion-tail" in act.rules}


@pytest.mark.parametrize(
    ("mapping", "act"),
    [
        pytest.param(mapping, *row.values, marks=row.marks, id=f"{mapping}-{row.id}")
        for mapping, row in product(MAPPED, each_act(PUSHED_TABLE))
        if (mapping, row.values[0].name) not in ASKED
    ],
)
def test_each_act_on_a_pushed_queue_ends_as_its_clause_says(mapping: str, act: Act) -> None:
    with facing(mapping, PUSH) as (trial, subject):
        trial.run(act)
        assert all(device.pushed for device in subject.faced.devices.values())


@pytest.mark.clause("CRQ-F-19")
@mapped
@pytest.mark.parametrize("act", each_act(PAIRED_TABLE))
def test_each_act_on_a_paired_queue_ends_as_its_clause_says(mapping: str, act: Act) -> None:
    with facing(mapping, PUSH | PAIR) as (trial, subject):
        trial.run(act)
        fronts = [front for device in subject.faced.devices.values() for front, _ in device.queues.values()]
        if "CRQ-F-87" in act.clauses:
            assert not any(isinstance(front, SideFront) for front in fronts), "paired again"


def test_every_clause_of_the_front_end_that_names_a_rule_has_a_row() -> None:
    covered = {clause for act in ALL + PUSHED_TABLE + PAIRED_TABLE for clause in act.clauses}
    wanted = set()
    for line in (find_checkout(Path(__file__).parent) / SPECIFICATION).read_text().splitlines():
        found = re.match(r"- \*\*(CRQ-F-\d+)\*\* .*\(`", line)
        if found and found[1] not in ELSEWHERE:
            wanted.add(found[1])
    assert wanted - covered == set()


def test_every_rule_of_the_front_end_is_provoked() -> None:
    provoked = {rule for act in ALL + PUSHED_TABLE + PAIRED_TABLE for rule in act.rules}
    text = (find_checkout(Path(__file__).parent) / SPECIFICATION).read_text()
    lines = [line for line in text.splitlines() if line.startswith("- **CRQ-F-")]
    named = {rule for line in lines for rule in re.findall(r"`([a-z0-9-]+)`", line.rpartition("(`")[1] and line)}
    assert named - provoked == set(RULES_ELSEWHERE)


# What no server can provoke from outside, with where it is tested instead.
ELSEWHERE = {
    "CRQ-F-45": "of consoles, whose messages travel in a ring (tests/client)",
    "CRQ-F-69": "of two servers that agree to different things (tests/client)",
    "CRQ-F-35": "a device type that may not be repeated (tests/message)",
}
RULES_ELSEWHERE = {
    "resume-type": "of CRQ-F-35",
    "resume-push": "of CRQ-F-69",
    "console-control": "of CRQ-F-45",
    "ping-answer": "no front-end in use asks by PING (tests/message)",
    "config-generation": "the user-space client reads its configuration in one message (tests/message)",
}
