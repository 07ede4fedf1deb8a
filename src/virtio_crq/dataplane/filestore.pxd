# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.deferred cimport Deferred
from virtio_crq.dataplane.kernel cimport ResidentPages, transfer
from virtio_crq.dataplane.store cimport Store
from virtio_crq.dataplane.writer cimport Writer
from virtio_crq.platform.port cimport Port

cdef int64_t DONE, FAILED, PENDING
cdef int READ, WRITE, WRITE_STABLE, SYNC
cdef int64_t EAGAIN, EINTR, EOPNOTSUPP

cdef class FileStore(Store):
    cdef int descriptor
    cdef readonly uint64_t misses
    cdef uint64_t read_now
    cdef uint64_t write_now
    cdef int nowait
    cdef int turn
    cdef Deferred deferred
    cdef readonly ResidentPages resident
    cdef readonly Writer writer
    cdef int64_t lent
    cdef Port lent_to
    @cython.locals(done=int64_t)
    cdef int64_t read(self, Port port, uint64_t offset, uint64_t length, uint64_t position, uint64_t token) except -1 nogil
    @cython.locals(done=int64_t, operation=int)
    cdef int64_t write(self, Port port, uint64_t offset, uint64_t length, uint64_t position, uint64_t stable, uint64_t token) except -1 nogil
    cdef int64_t sync(self, Port port, uint64_t token) except -1 nogil
    cdef int64_t _count(self, int64_t answer) except -1 nogil
    cdef int64_t _defer(self, uint64_t offset, uint64_t length, uint64_t position, int operation, uint64_t token) except -1 nogil
    cpdef int64_t submit(self) except -1
    cpdef int64_t reap(self) except -1
    cdef int64_t _reap(self, Deferred deferred) except -1
    @cython.locals(found=int64_t)
    cpdef int64_t expect(self) except -1
