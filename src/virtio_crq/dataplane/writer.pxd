# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.deferred cimport Deferred
from virtio_crq.dataplane.kernel cimport WriterRing

cdef int64_t BUSY, FAILED
cdef int64_t EAGAIN

cdef class Writer(Deferred):
    cdef int event
    cdef WriterRing ring
    cdef object processors
    cdef object thread
    cdef int begun
    cdef int runs(self) except -1 nogil
    cdef int64_t _begin(self) except -1 with gil
    @cython.locals(refused=int64_t)
    cdef int64_t queue(self, uint64_t offset, uint64_t length, uint64_t position, int operation, uint64_t token) except -1 nogil
    cpdef int64_t submit(self) except -1
    cpdef int64_t reap(self) except -1
    cpdef int64_t expect(self) except -1
