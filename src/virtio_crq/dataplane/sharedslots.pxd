# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport uint64_t

from virtio_crq.dataplane.mapping cimport SlotMapping, pages

cdef uint64_t DATA

cdef class SharedSlots(SlotMapping):
    cdef uint64_t bus_at(self, uint64_t slot, uint64_t piece) noexcept nogil
