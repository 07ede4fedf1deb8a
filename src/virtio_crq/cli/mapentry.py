# SPDX-License-Identifier: Apache-2.0
"""A `[[map]]` row of the machine file, as the I/O server takes it."""

from virtio_crq.hypervisor.machinerows import MapRow
from virtio_crq.vios.mapping import DEFAULT_QUEUES, MapEntry


def map_entry(row: MapRow) -> MapEntry:
    asked = (row.ports, DEFAULT_QUEUES if row.queues is None else row.queues, row.places)
    return MapEntry(row.client, row.target, row.backing, row.readonly, row.device, row.where, *asked)
