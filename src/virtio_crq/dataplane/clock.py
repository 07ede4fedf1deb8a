# SPDX-License-Identifier: Apache-2.0
"""The time, for who measures what things cost."""

from virtio_crq.dataplane.kernel import now


class Clock:
    """Nanoseconds of the kernel's clock, or what a test `held` it at."""

    def __init__(self) -> None:
        self.held = -1

    def now(self) -> int:
        return now() if self.held < 0 else self.held
