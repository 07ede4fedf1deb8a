# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.clock cimport Clock
from virtio_crq.dataplane.cost cimport Cost
from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.dataplane.journal cimport Journal
from virtio_crq.dataplane.staging cimport Staging
from virtio_crq.platform.port cimport Port

cdef uint64_t EVERY, LOW32, DEEPEST, AGE
cdef double FADE

@cython.final
cdef class Planner:
    cdef Port port
    cdef uint64_t shift
    cdef readonly uint64_t max_copy
    cdef public uint64_t joining
    cdef readonly Clock clock
    cdef readonly Cost copying
    cdef readonly Journal journal
    cdef readonly uint64_t vectors
    cdef readonly uint64_t until
    cdef uint64_t staged
    cdef uint64_t pieces
    cdef uint64_t staged_bytes
    cdef readonly double share
    cdef double many_copies
    cdef double many_pieces
    cdef readonly uint64_t depth
    cdef uint64_t deepest
    cdef uint64_t age
    @cython.locals(joined=uint64_t)
    cpdef int64_t copy(self, uint64_t owner, uint64_t remote, uint64_t at, uint64_t length, uint64_t outward) except -1 nogil
    cdef int64_t _stage(self, uint64_t owner, uint64_t remote, uint64_t at, uint64_t length, uint64_t outward) except -1 nogil
    @cython.locals(count=uint64_t, pieces=uint64_t, length=uint64_t, begun=int64_t, code=int64_t)
    cpdef int64_t flush(self) except -1 nogil
    cpdef int64_t of(self, uint64_t pieces, uint64_t length) except -1 nogil
    cpdef int64_t time_next(self) except -1 nogil
    cpdef int64_t went(self, uint64_t depth) except -1 nogil
