# SPDX-License-Identifier: Apache-2.0
"""An end that a platform made give up comes back when it is asked to and the platform takes it."""

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
