# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.platform.port cimport Port

cdef uint64_t PAGE, DATA

cdef class SlotMapping:
    cdef readonly Port port
    cdef readonly uint64_t slots
    cdef readonly uint64_t memory
    cdef readonly uint64_t bus
    cdef readonly uint64_t head
    cdef readonly uint64_t room
    cdef readonly uint64_t stride
    cdef readonly uint64_t kept
    cdef int64_t place(self, uint64_t slot, uint64_t length) except -2 nogil
    cdef int64_t vacate(self, uint64_t slot) except -2 nogil
    cdef uint64_t at(self, uint64_t slot, uint64_t piece) noexcept nogil
    cdef uint64_t bus_at(self, uint64_t slot, uint64_t piece) noexcept nogil
    cdef int64_t show(self, uint64_t slot, uint64_t piece, uint64_t length, uint64_t access) except -99 nogil
    cdef int64_t hide(self, uint64_t slot) except -2 nogil
    cdef int64_t offset_of(self, uint64_t bus, uint64_t length) noexcept nogil
    cdef int64_t denied(self, int64_t code) except -2 with gil

cpdef uint64_t pages(uint64_t length) noexcept nogil
