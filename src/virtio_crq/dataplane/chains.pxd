# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.platform.port cimport Port

cdef uint64_t WRITE
cdef uint64_t SEGMENTS
cdef uint64_t WHOLE

@cython.final
cdef class Chains:
    cdef Port port
    cdef readonly uint64_t size
    cdef readonly uint64_t in_flight
    cdef uint8_t[::1] busy
    cdef uint32_t[::1] segments
    cdef uint32_t[::1] readables
    cdef uint64_t[::1] readable
    cdef uint64_t[::1] writable
    cdef uint64_t[::1] addresses
    cdef uint32_t[::1] lengths
    cdef int64_t open(self, uint64_t head, uint64_t position) except -1 nogil
    cdef int64_t release(self, uint64_t head) except -1 nogil
    @cython.locals(count=uint64_t, at=uint64_t)
    cdef int64_t segment(self, uint64_t head, uint64_t address, uint64_t length, uint64_t flags) except -1 nogil
