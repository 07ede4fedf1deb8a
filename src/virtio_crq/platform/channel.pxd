# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport int64_t, uint64_t

cdef int64_t UNKNOWN

cdef class Channel:
    cdef public uint64_t device
    cdef public uint64_t queue
    cdef public uint64_t position
    cdef public uint64_t credit
    cdef public uint64_t stalled
    cpdef int64_t poll(self) except -2
    cpdef int64_t announce(self, uint64_t kind, uint64_t device, uint64_t queue, uint64_t position, uint64_t credit) except? -99
    cpdef bytes entry(self)
    cdef int64_t waits(self) except -2 nogil
    cdef int64_t take(self) except -2 nogil
    cdef int64_t tell(self, uint64_t kind, uint64_t device, uint64_t queue, uint64_t position, uint64_t credit) except? -99 nogil

cpdef int64_t entry_waits(Channel channel) except -2 nogil
cpdef int64_t take_from(Channel channel) except -2 nogil
cpdef int64_t tell_through(Channel channel, uint64_t kind, uint64_t device, uint64_t queue, uint64_t position, uint64_t credit) except? -99 nogil
