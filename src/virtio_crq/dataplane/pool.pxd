# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.mapping cimport SlotMapping, pages
from virtio_crq.dataplane.staging cimport Staging

cdef uint64_t DATA, FROM_DEVICE

cdef class Pool(SlotMapping):
    cdef readonly uint64_t step
    cdef readonly uint64_t near
    cdef readonly uint64_t standing
    cdef readonly uint64_t ending
    cdef readonly Staging short
    cdef uint64_t[::1] places
    cdef uint64_t[::1] taken
    cdef uint64_t[::1] lengths
    @cython.locals(at=int64_t)
    cdef int64_t place(self, uint64_t slot, uint64_t length) except -2 nogil
    cdef int64_t vacate(self, uint64_t slot) except -2 nogil
    cdef uint64_t at(self, uint64_t slot, uint64_t piece) noexcept nogil
    cdef uint64_t bus_at(self, uint64_t slot, uint64_t piece) noexcept nogil
    @cython.locals(code=int64_t)
    cdef int64_t show(self, uint64_t slot, uint64_t piece, uint64_t length, uint64_t access) except -99 nogil
    @cython.locals(code=int64_t)
    cdef int64_t hide(self, uint64_t slot) except -2 nogil
    @cython.locals(code=int64_t)
    cpdef int64_t finish(self) except -2
    @cython.locals(distance=uint64_t)
    cdef int64_t offset_of(self, uint64_t bus, uint64_t length) noexcept nogil
    @cython.locals(slot=uint64_t, rest=uint64_t)
    cdef int64_t _far_offset(self, uint64_t distance, uint64_t length) noexcept nogil
