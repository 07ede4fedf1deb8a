# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.platform.channel cimport Channel
from virtio_crq.platform.port cimport Port

cdef class CrqChannel(Channel):
    cdef Port port
    cdef uint64_t ring
    cdef uint64_t size
    cdef uint64_t cursor
    cdef uint64_t high
    cdef uint64_t low
    cdef uint64_t incoming
    cdef uint64_t outgoing
    cdef public uint64_t session
    cdef readonly uint64_t taken
    cpdef int64_t poll(self) except -2
    cdef int64_t waits(self) except -2 nogil
    @cython.locals(at=uint64_t)
    cdef int64_t take(self) except -2 nogil
    @cython.locals(first=uint64_t, position=uint64_t)
    cdef int64_t classify(self) except -2 nogil
    cpdef int64_t announce(self, uint64_t kind, uint64_t device, uint64_t queue, uint64_t position, uint64_t credit) except? -99
    @cython.locals(first=uint64_t, high=uint64_t, low=uint64_t, code=int64_t)
    cdef int64_t tell(self, uint64_t kind, uint64_t device, uint64_t queue, uint64_t position, uint64_t credit) except? -99 nogil
    cpdef bytes entry(self)
    cpdef bint has_entry(self) except -1
    @cython.locals(at=uint64_t, header=uint64_t)
    cpdef bint loss_waits(self) except -1
    cpdef int64_t rewind(self) except -1

cdef uint64_t swap32(uint64_t value) noexcept nogil

cdef int64_t AN_ENTRY, AVAIL, CONTROL, CREDIT, LOST, NO_ENTRY, NOTHING, USED
cdef int64_t CLOSED, DROPPED
cdef uint64_t AVAIL_WORD, USED_WORD, CREDIT_WORD, LOW32
