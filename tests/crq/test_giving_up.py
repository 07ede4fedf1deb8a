# SPDX-License-Identifier: Apache-2.0
"""An end that a platform made give up comes back when it is asked to and the platform takes it."""

import pytest

from virtio_crq.crq import ring
from virtio_crq.crq.connection import Phase
from virtio_crq.errors import PlatformError
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.returncodes import ReturnCode

from .test_connection import Bench, bench, phases

__all__ = ["bench"]  # the fixture


def test_an_end_that_gave_up_is_back_when_the_platform_takes_it(bench: Bench) -> None:
    bench.begin()
    assert not bench.server.retry(), "it has not given up"
    assert phases(bench) == (Phase.INITIALIZED, Phase.INITIALIZED)
    bench.s.script[Hypercall.H_FREE_CRQ] = [ReturnCode.H_BUSY] * 202
    bench.server.reset("a test wants it")
    bench.server.pump()
    waited = bench.clock.waited
    assert not bench.server.retry()
    assert bench.clock.waited == waited, "one attempt, at once"
    assert isinstance(bench.server.failure, PlatformError)
    bench.s.script[Hypercall.H_REG_CRQ] = [ReturnCode.H_HARDWARE]
    assert not bench.server.retry()
    assert "H_REG_CRQ" in str(bench.server.failure)
    assert bench.server.retry()
    assert bench.server.failure is None
    bench.settle()
    assert phases(bench) == (Phase.INITIALIZED, Phase.INITIALIZED)


def test_a_retry_that_fails_loses_nothing_and_counts_its_own_calls(bench: Bench) -> None:
    bench.begin()
    losses: list[str] = []
    bench.server.on_lost = losses.append
    bench.s.script[Hypercall.H_FREE_CRQ] = [ReturnCode.H_BUSY] * 204
    bench.server.reset("a test wants it")
    bench.server.pump()
    assert str(bench.server.failure).endswith("H_BUSY to the last of 201 calls")
    before = list(losses)
    for _attempt in range(3):
        assert not bench.server.retry()
        assert str(bench.server.failure).endswith("H_BUSY to the only call")
    assert losses == before
    assert bench.server.retry()
    bench.settle()
    bench.s.script[Hypercall.H_FREE_CRQ] = [ReturnCode.H_BUSY] * 201
    bench.server.reset("a test wants it again")
    bench.server.pump()
    assert len(losses) == 2 * len(before), "what came back can be lost again"
    assert str(bench.server.failure).endswith("H_BUSY to the last of 201 calls")


def test_an_error_in_a_retry_leaves_an_end_that_can_be_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.begin()
    bench.s.script[Hypercall.H_FREE_CRQ] = [ReturnCode.H_HARDWARE]
    bench.server.reset("a test wants it")
    bench.server.pump()
    with monkeypatch.context() as broken:
        broken.setattr(ring, "free", _raise)
        with pytest.raises(OSError, match="a test wants it"):
            bench.server.retry()
    assert bench.server.failure is not None
    assert bench.server.retry()
    bench.settle()
    assert phases(bench) == (Phase.INITIALIZED, Phase.INITIALIZED)


def _raise(*_: object) -> int:
    raise OSError("a test wants it")
