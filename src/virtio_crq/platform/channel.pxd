# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport int64_t, uint64_t

cdef class Channel:
    cdef public uint64_t device
    cdef public uint64_t queue
    cdef public uint64_t position
    cdef public uint64_t credit
    cdef public uint64_t stalled
    cpdef int64_t poll(self) except -2
    cpdef int64_t announce(self, uint64_t kind, uint64_t device, uint64_t queue, uint64_t position, uint64_t credit) except? -99
    cpdef bytes entry(self)
