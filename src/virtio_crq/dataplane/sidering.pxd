# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.dataplane.pushring cimport PushRing
from virtio_crq.dataplane.sidequeue cimport SideQueue

cdef uint64_t MASK, LANES, ENOUGH, RECORD, NAME_SHIFT, WITHOUT_SESSION, LOW32
cdef int64_t GONE, FULL

cdef class SideRing(PushRing):
    cdef readonly SideQueue side
    cdef int64_t hear_avail(self, uint64_t position) except -1 nogil
    cdef int64_t hear_credit(self) except -1 nogil
    cdef int64_t arrived(self) except -1 nogil
    cdef int64_t behind(self) noexcept nogil
    @cython.locals(slots=uint64_t, count=uint64_t, at=uint64_t, to=uint64_t, other=uint64_t)
    cdef int64_t fetch(self) except -1 nogil
    cdef int64_t publish(self) except -1 nogil
    @cython.locals(at=uint64_t, code=int64_t)
    cdef int64_t send(self, uint64_t start, uint64_t count) except -1 nogil
