# SPDX-License-Identifier: Apache-2.0
"""Looking after targets and connections goes on whatever one of them does, and says each thing once."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virtio_crq.vios import server
from virtio_crq.vios.inspection import Inspection
from virtio_crq.vios.server import Server, Settings

LOGGER = "virtio_crq.vios"


def fails() -> str:
    raise OSError("a test wants it")


def target(name: str, damage: Callable[[], str]) -> Any:
    entry = SimpleNamespace(client="web1", target=name, backing=f"file:{name}.img")
    return SimpleNamespace(entry=entry, backing=SimpleNamespace(damage=damage))


def adapter(name: str, tend: Callable[[], object], *targets: Any) -> Any:
    return SimpleNamespace(place=SimpleNamespace(adapter=name), tend=tend, targets=targets)


@pytest.mark.expects_warnings(LOGGER)
def test_who_cannot_be_looked_at_is_told_of_once_and_keeps_nobody_else_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tended: list[str] = []
    adapters = [
        adapter("vhost0", fails, target("root", fails), target("data", lambda: "it is gone")),
        adapter("vhost1", lambda: tended.append("vhost1")),
    ]
    inspection = Inspection()
    for _look in range(2):
        inspection.look(adapters)
    assert tended == ["vhost1", "vhost1"]
    assert caplog.messages == [
        "web1/root: looking at it failed; it is looked at again now and then",
        "web1/data: file:data.img: it is gone",
        "vhost0: looking at it failed; it is looked at again now and then",
    ]
    assert [record.exc_info is not None for record in caplog.records] == [True, False, True]


@pytest.mark.expects_warnings(LOGGER)
def test_damage_of_a_target_that_was_mapped_anew_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    inspection = Inspection()
    root = target("root", lambda: "it is gone")
    for targets in ([root], [], [root]):
        inspection.look([adapter("vhost0", lambda: None, *targets)])
    assert caplog.messages == ["web1/root: file:root.img: it is gone"] * 2


@pytest.mark.expects_warnings(LOGGER)
def test_balancing_does_not_end_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Server([], [], Settings(tmp_path, workers=1))
    made._workers *= 2  # nowhere to move to, and still two
    monkeypatch.setattr(made, "balance", lambda before: fails())
    monkeypatch.setattr(server, "BALANCE_SECONDS", 0.0)
    asyncio.run(made._balance())
    assert caplog.messages == ["balancing ends: from now on each connection stays with its worker"]
    made._workers = made._workers[:1]
    made.close()
