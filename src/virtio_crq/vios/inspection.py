# SPDX-License-Identifier: Apache-2.0
"""Looks at what nothing tells of: whether images are still whole, and whether the platform takes a connection again.

What is wrong is said once; one that cannot be looked at keeps nobody from looking at all others.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial

from virtio_crq.vios.adapter import Adapter, Target

log = logging.getLogger("virtio_crq.vios")


class Inspection:
    """Remembers of the last look only what was told, and of that only what is still there."""

    def __init__(self) -> None:
        self._damaged: set[str] = set()  # targets whose image's damage was told of
        self._failed: set[str] = set()  # what could not be looked at, and was told of

    def look(self, adapters: Iterable[Adapter]) -> None:
        """At all targets and connections of these."""
        damaged: set[str] = set()
        failed: set[str] = set()
        for adapter in adapters:
            for target in adapter.targets:
                name = f"{target.entry.client}/{target.entry.target}"
                self._attempt(name, partial(self._image, name, target, damaged), failed)
            self._attempt(adapter.place.adapter, adapter.tend, failed)
        self._damaged, self._failed = damaged, failed

    def _image(self, name: str, target: Target, damaged: set[str]) -> None:
        """Requests alone would not tell, or tell nobody but the client."""
        damage = target.backing.damage() if target.backing else ""
        if not damage:
            return
        if name not in self._damaged:
            log.error("%s: %s: %s", name, target.entry.backing, damage)
        damaged.add(name)

    def _attempt(self, name: str, look: Callable[[], None], failed: set[str]) -> None:
        try:
            look()
        except Exception:
            if name not in self._failed:
                log.exception("%s: looking at it failed; it is looked at again now and then", name)
            failed.add(name)
