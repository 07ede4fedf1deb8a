# SPDX-License-Identifier: Apache-2.0
"""The whole suite, in the order in which it runs."""

from virtio_crq.guests.suite import changes, consoles, disks, endurance, identity, memory
from virtio_crq.guests.suite.check import Check

# With root on a disk first, then from memory; what ends its guest ends each.
TABLE: tuple[Check, ...] = (
    identity.boot,
    identity.devices,
    disks.filesystem,
    disks.entropy,
    disks.processors,
    consoles.console,
    disks.resize,
    disks.narrow,
    changes.hotplug,
    changes.dlpar,
    changes.beside,
    endurance.kills,
    endurance.suspended,
    endurance.shutdown,
    identity.identical,
    memory.reload,
    memory.hostile,
    endurance.away,
)
