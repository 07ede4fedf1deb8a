# SPDX-License-Identifier: Apache-2.0
"""A store that finishes in any order, under any strategy: each request ends once, with its own data."""

import random
from typing import Any

import pytest
from disk import IN, OUT, Disk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import Rig
from test_packeddevice import image as image
from test_stores import Gate

from combinations import strategies
from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.dataplane.threads import Threads

SECTORS = 64


@pytest.mark.clause("CRQ-D-120", "CRQ-D-128")
@pytest.mark.parametrize("fetch", strategies())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), in_order=st.booleans(), event_idx=st.booleans())
def test_requests_that_end_in_any_order_end_once_and_whole(
    image: int, fetch: str, seed: int, in_order: bool, event_idx: bool
) -> None:
    draw = random.Random(seed)
    gate = Gate()
    store = FileStore(image, SECTORS * 512, Threads(image, gate), write_now=False)
    rig = Rig()
    disk = Disk(rig, fetch=fetch, size=32, store=store, sectors=SECTORS, in_order=in_order, event_idx=event_idx)
    content = {sector: bytes([draw.randrange(256)]) * 512 for sector in range(SECTORS)}
    busy: dict[int, int] = {}  # by tag, the sector: a sector is in one request at a time
    ended: list[Any] = []
    _fill(disk, content, gate)
    disk.results.clear()
    for tag in range(120):
        free = [sector for sector in range(SECTORS) if sector not in busy.values()]
        if len(busy) < 8 and draw.random() < 0.7:
            sector = draw.choice(free)
            busy[tag] = sector
            if draw.random() < 0.5:
                content[sector] = draw.randbytes(512)
                disk.submit(OUT, sector, content[sector], tag=tag, pieces=draw.randrange(1, 3))
            else:
                disk.submit(IN, sector, length=512, tag=tag, table=draw.random() < 0.3)
            _announce(disk)
        elif gate.jobs:
            gate.open(draw.randrange(len(gate.jobs)))
        rig.run()
        ended += _collected(disk, busy, content)
    for _ in range(400):
        if not busy:
            break
        _announce(disk)
        rig.run()
        if gate.jobs:
            gate.open(draw.randrange(len(gate.jobs)))
        rig.run()
        ended += _collected(disk, busy, content)
    assert not busy
    assert len(set(ended)) == len(ended)
    assert not in_order or ended == sorted(ended)
    assert rig.faults == []
    store.close()


def _announce(disk: Disk) -> None:
    """If the right to is here."""
    service = disk.rig.link.service(0, 0)
    assert service is not None
    if not service.ring.avail_held:
        disk.announce(credit=1 - int(service.ring.used_credit))


def _collected(disk: Disk, busy: dict[int, int], content: dict[int, bytes]) -> list[Any]:
    """Tags of what ended, each checked."""
    found = []
    for tag, status, data in disk.collect():
        sector = busy.pop(tag)  # type: ignore[call-overload]
        assert status == 0
        assert not data or data == content[sector]
        found.append(tag)
    return found


def _fill(disk: Disk, content: dict[int, bytes], gate: Gate) -> None:
    for sector, data in content.items():
        disk.submit(OUT, sector, data)
        _announce(disk)
        disk.rig.run()
        while gate.jobs:
            gate.open()
        disk.rig.run()
        assert len(disk.collect()) == 1
