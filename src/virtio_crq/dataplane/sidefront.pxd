# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.pushfront cimport PushFront
from virtio_crq.dataplane.sidequeue cimport SideQueue

cdef uint64_t MASK, RECORD, NAME_SHIFT, WITHOUT_SESSION, COMPLETION_FORM, FULL_CARRIER, ANNOUNCED, GONE_CARRIER
cdef int64_t NO_ROOM, ENDED

@cython.final
cdef class SideFront(PushFront):
    cdef readonly SideQueue side
    cdef readonly uint64_t posted
    cdef readonly uint64_t stale
    cdef readonly uint64_t denied
    cdef readonly uint64_t trusted
    cdef uint64_t strays
    cdef uint64_t list_left
    cdef uint64_t list_before
    cpdef int64_t publish(self) except -2 nogil
    @cython.locals(start=uint64_t, count=uint64_t, code=int64_t)
    cpdef int64_t _post(self) except -2 nogil
    cpdef int64_t _mark_lists(self) except -2 nogil
    cpdef int64_t rearm(self) except -2 nogil
    cpdef int64_t confirm(self, uint64_t position) except -2 nogil
    cpdef int64_t arrived(self) except -2 nogil
    cpdef int64_t listen(self, uint64_t enabled) except -2 nogil
    @cython.locals(moved=uint64_t, at=uint64_t, word=uint64_t, value=uint64_t, other=uint64_t, head=uint64_t, issue=uint64_t)
    cpdef int64_t deliver(self) except -2 nogil
