# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.deferred cimport Deferred
from virtio_crq.dataplane.kernel cimport transfer
from virtio_crq.platform.port cimport Port

cdef int64_t FAILED

cdef class Threads(Deferred):
    cdef int descriptor
    cdef int event
    cdef object run
    cdef object ended
    cdef object jobs
    cdef list pool
    cdef int64_t queue(self, uint64_t offset, uint64_t length, uint64_t position, int operation, uint64_t token) except -1 with gil
    @cython.locals(port=Port, fd=int, offset=uint64_t, length=uint64_t, position=uint64_t, operation=int, done=int64_t)
    cpdef int64_t perform(self, tuple job) except -1
    cpdef int64_t reap(self) except -1
