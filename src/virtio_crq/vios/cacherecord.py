# SPDX-License-Identifier: Apache-2.0
"""Which drivers turned their disk's write cache off: remembered beyond the server's death.

A driver that turned the cache off (CONFIG_WCE) relies on every completed write being stable. It does not say so again
when it resumes with a server that was restarted, so the next server must know.
"""

from virtio_crq.vios.namerecord import NameRecord


class CacheRecord(NameRecord):
    """Where the disk is full, "off" is refused, since the next server would not know; "on" is not believed."""

    def is_off(self, target: str) -> bool:
        return self.has(target)

    def put(self, target: str, *, off: bool) -> None:
        self.keep(target, off)
