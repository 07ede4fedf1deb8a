# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.mapping cimport SlotMapping, pages

cdef uint64_t DATA, FROM_DEVICE

cdef class Pool(SlotMapping):
    cdef readonly uint64_t near
    cdef readonly uint64_t far
    cdef readonly uint64_t standing
    cdef readonly uint64_t ending
    cdef uint64_t[::1] lengths
    cdef uint64_t bus_at(self, uint64_t slot, uint64_t piece) noexcept nogil
    @cython.locals(code=int64_t)
    cdef int64_t show(self, uint64_t slot, uint64_t piece, uint64_t length, uint64_t access) except -99 nogil
    @cython.locals(code=int64_t)
    cdef int64_t hide(self, uint64_t slot) except -2 nogil
    @cython.locals(code=int64_t)
    cpdef int64_t finish(self) except -2
    @cython.locals(slot=uint64_t, rest=uint64_t)
    cdef int64_t offset_of(self, uint64_t bus, uint64_t length) noexcept nogil
    @cython.locals(slot=uint64_t, rest=uint64_t)
    cdef int64_t _far_offset(self, uint64_t distance, uint64_t length) noexcept nogil
