# SPDX-License-Identifier: Apache-2.0
"""Who is to blame for a refused copy: a client that took its memory away, not one that died. And who gave up."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from virtio_crq.errors import PlatformError
from virtio_crq.message.backend import BackEnd
from virtio_crq.message.bus import Bus
from virtio_crq.message.device import DeviceModel
from virtio_crq.vios.adapter import Adapter, AdapterPlace, Target
from virtio_crq.vios.entropydevice import EntropyDevice
from virtio_crq.vios.mapping import ENTROPY, MapEntry
from virtio_crq.vios.ringdevice import OnFault


class Wire:
    """Stands for the connection and its link."""

    session = 1
    failure: Exception | None = None
    accepted = False
    window = 1 << 20
    going = False
    on_fault: OnFault

    def __init__(self) -> None:
        self.refusals: Counter[str] = Counter()

    def partner_going(self) -> bool:
        return self.going

    def control(self, kind: int, entry: bytes) -> None: ...
    def start(self) -> None: ...

    def retry(self) -> bool:
        self.failure = None if self.accepted else self.failure
        return self.accepted

    def close(self) -> None: ...

    def connect(self, back_end: Callable[[Bus], BackEnd], queues: int, devices: int) -> tuple[Any, Any]:
        back_end(self)  # type: ignore[arg-type]
        return self, self.link

    def link(self, on_control: object, on_fault: OnFault) -> Any:
        self.on_fault = on_fault
        return self


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def adapter(wire: Wire) -> Adapter:
    device: DeviceModel = EntropyDevice(bytes(16))
    target = Target(MapEntry("web1", "rng", "kernel", False, ENTROPY, "here"), device, None)  # type: ignore[arg-type]
    place = AdapterPlace("vhost0", "V1-C2", 0x30000002, "web1", 2)
    return Adapter(place, {0: target}, wire.connect, "batched", "split", "window")


def refused(adapter: Adapter) -> dict[str, int]:
    return dict(adapter.view().targets[0].refused)


@pytest.mark.clause("CRQ-D-43")
def test_a_living_clients_refused_copy_counts_against_it(adapter: Adapter, wire: Wire) -> None:
    wire.on_fault(0, 0, "copy-refused", "answered -11")
    assert refused(adapter) == {"copy-refused": 1}
    assert adapter.view().counters["copies_cut_off"] == 0


@pytest.mark.clause("CRQ-D-43")
def test_a_dead_clients_refused_copy_does_not(adapter: Adapter, wire: Wire) -> None:
    wire.going = True
    wire.on_fault(0, 0, "copy-refused", "answered -11")
    assert refused(adapter) == {}
    assert adapter.view().refused == {}
    assert adapter.view().counters["copies_cut_off"] == 1
    wire.on_fault(0, 0, "chain-loop", "at head 3")
    assert refused(adapter) == {"chain-loop": 1}, "what it did before it died it did"


@pytest.mark.expects_warnings("virtio_crq.vios")
def test_a_connection_that_gave_up_is_told_of_once_shown_and_tried_again(
    adapter: Adapter, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    adapter._worker = Here(wire)  # type: ignore[assignment]
    for _look in range(2):
        wire.accepted, wire.failure = False, PlatformError("H_FREE_CRQ", 1, "H_BUSY to the last of 201 calls")
        for _turn in range(3):
            adapter.tend()
            assert adapter.view().state == "failed"
        wire.accepted = True
        adapter.tend()
        assert adapter.view().state == "open"
    assert (
        caplog.messages
        == [
            "vhost0, client web1: the connection was given up: H_FREE_CRQ answered 1: H_BUSY to the last of 201 calls; "
            "it is tried again now and then",
            "vhost0, client web1: the connection is back",
        ]
        * 2
    )


@pytest.mark.expects_warnings("virtio_crq.vios")
def test_a_connection_whose_retry_fails_by_an_error_is_served_on(
    adapter: Adapter, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> bool:
        raise OSError("a test wants it")

    worker = Here(wire)
    adapter._worker = worker  # type: ignore[assignment]
    wire.failure = PlatformError("H_FREE_CRQ", 1, "H_BUSY")
    monkeypatch.setattr(wire, "retry", broken)
    with pytest.raises(OSError, match="a test wants it"):
        adapter.tend()
    assert worker.links == [wire]


class Here:
    """A worker whose thread this is."""

    def __init__(self, *links: object) -> None:
        self.links = list(links)

    def add(self, link: object) -> None:
        self.links.append(link)

    def remove(self, link: object) -> None:
        self.links.remove(link)

    def call(self, work: Callable[[], bool]) -> bool:
        return work()


class Meanwhile(int):
    """A count; the worker counts something new just when this one is looked at."""

    counter: Counter[str]

    def __gt__(self, other: int) -> bool:
        self.counter[f"another {len(self.counter)}"] = 1
        return int(self) > other

    def __lt__(self, other: int) -> bool:
        self.counter[f"another {len(self.counter)}"] = 1
        return int(self) < other


def test_a_view_is_taken_while_the_worker_counts(adapter: Adapter, wire: Wire) -> None:
    for counter in (wire.refusals, adapter._faults):
        count = Meanwhile(1)
        count.counter = counter
        counter["one"] = count
    assert adapter.view().refused["one"] == 1
