# SPDX-License-Identifier: Apache-2.0
"""A `[[map]]` row of the machine file, as the I/O server takes it."""

from virtio_crq.hypervisor.machinefile import MapRow
from virtio_crq.vios.mapping import MapEntry


def map_entry(row: MapRow) -> MapEntry:
    return MapEntry(row.client, row.target, row.backing, row.readonly, row.device, row.where, row.ports)
