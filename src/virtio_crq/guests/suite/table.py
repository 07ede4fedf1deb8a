# SPDX-License-Identifier: Apache-2.0
"""The whole suite, in the order in which it runs."""

from virtio_crq.guests.suite import changes, consoles, disks, endurance, identity, memory
from virtio_crq.guests.suite.check import CHECKS, Check

__all__ = ["TABLE"]

_SOURCES = (changes, consoles, disks, endurance, identity, memory)  # importing them fills the table
# With root on a disk first, then from memory; what ends its guest ends each.
ORDER = (
    "boot",
    "devices",
    "filesystem",
    "entropy",
    "processors",
    "console",
    "resize",
    "narrow",
    "hotplug",
    "dlpar",
    "beside",
    "kills",
    "suspended",
    "shutdown",
    "identical",
    "reload",
    "hostile",
    "away",
)
TABLE: tuple[Check, ...] = tuple(sorted(CHECKS, key=lambda row: ORDER.index(row.name)))
