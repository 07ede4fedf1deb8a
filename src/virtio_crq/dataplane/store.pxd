# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.platform.port cimport Port

cdef class Store:
    cdef public uint64_t capacity
    cdef public uint64_t orphans
    cdef public uint64_t pending
    cdef readonly uint64_t unsent
    cdef readonly list owners
    cdef readonly uint64_t token
    cdef readonly int64_t result
    cdef int64_t read(self, Port port, uint64_t offset, uint64_t length, uint64_t position, uint64_t token) except -1 nogil
    cdef int64_t write(self, Port port, uint64_t offset, uint64_t length, uint64_t position, uint64_t stable, uint64_t token) except -1 nogil
    cdef int64_t sync(self, Port port, uint64_t token) except -1 nogil
    cpdef int64_t submit(self) except -1
    cpdef int64_t reap(self) except -1
    cpdef int64_t expect(self) except -1
