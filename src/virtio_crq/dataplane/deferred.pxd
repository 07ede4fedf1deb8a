# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.platform.port cimport Port

cdef class Deferred:
    cdef readonly uint64_t unsent
    cdef readonly uint64_t token
    cdef readonly int64_t failed
    cdef Port port
    cdef int64_t queue(self, uint64_t offset, uint64_t length, uint64_t position, int operation, uint64_t token) except -1 nogil
    cpdef int64_t submit(self) except -1
    cpdef int64_t reap(self) except -1
    cpdef int64_t expect(self) except -1
