# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint16_t, uint64_t

from virtio_crq.dataplane.deferred cimport Deferred
from virtio_crq.dataplane.kernel cimport Submission

cdef int64_t BUSY, FAILED

cdef class Uring(Deferred):
    cdef int descriptor
    cdef int event
    cdef Submission submission
    cdef uint64_t room
    cdef uint16_t[::1] free
    cdef uint64_t[::1] offsets
    cdef uint64_t[::1] lengths
    cdef uint64_t[::1] positions
    cdef uint64_t[::1] tokens
    cdef uint64_t[::1] operations
    @cython.locals(slot=uint64_t)
    cdef int64_t queue(self, uint64_t offset, uint64_t length, uint64_t position, int operation, uint64_t token) except -1 nogil
    @cython.locals(refused=int64_t)
    cdef int64_t _push(self, uint64_t slot) except -1 nogil
    @cython.locals(left=int64_t)
    cpdef int64_t submit(self) except -1
    @cython.locals(slot=uint64_t, result=int64_t)
    cpdef int64_t reap(self) except -1
