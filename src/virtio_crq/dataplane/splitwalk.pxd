# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from virtio_crq.dataplane.chains cimport Chains
from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.platform.port cimport Port

cdef uint64_t NEXT
cdef uint64_t INDIRECT
cdef uint64_t SEGMENTS
cdef uint64_t LANES
cdef uint64_t DESCRIPTOR
cdef uint64_t END
cdef uint64_t LOW32
cdef uint64_t WHOLE
cdef int64_t LACKING
cdef int64_t WALKED
cdef int64_t ASIDE

@cython.final
cdef class SplitWalk:
    cdef Port port
    cdef Chains chains
    cdef uint64_t size
    cdef uint64_t indirect
    cdef readonly uint64_t table
    cdef readonly uint64_t tables
    cdef uint64_t low
    cdef uint64_t high
    cdef uint32_t stamp
    cdef uint32_t[::1] marks
    cdef uint64_t[::1] heads
    cdef uint64_t[::1] cursors
    cdef uint64_t[::1] hops
    cdef uint64_t[::1] table_address
    cdef uint64_t[::1] table_length
    cdef int64_t window(self, uint64_t low, uint64_t high) except -1 nogil
    cdef int64_t mark(self, uint64_t index) except -1 nogil
    cdef int64_t begin(self, uint64_t lane, uint64_t head) except -1 nogil
    cdef int64_t in_hand(self, uint64_t index) except -1 nogil
    @cython.locals(head=uint64_t, index=uint64_t, at=uint64_t, address=uint64_t, word=uint64_t, length=uint64_t, flags=uint64_t)
    cdef int64_t go_on(self, uint64_t lane) except -1 nogil
    cdef int64_t _turn_aside(self, uint64_t lane, uint64_t address, uint64_t length, uint64_t flags) except -1 nogil
    @cython.locals(at=uint64_t)
    cdef int64_t go_through(self, uint64_t lane) except -1 nogil
    @cython.locals(index=uint64_t, hops=uint64_t, address=uint64_t, word=uint64_t, length=uint64_t, flags=uint64_t)
    cdef int64_t through(self, uint64_t head, uint64_t at, uint64_t count) except -1 nogil
