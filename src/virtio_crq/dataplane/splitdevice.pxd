# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.dataplane.ring cimport DeviceRing
from virtio_crq.dataplane.splitwalk cimport SplitWalk

cdef uint64_t MASK, LACKING, WALKED, ASIDE
cdef uint64_t LANES
cdef uint64_t SEGMENT_ROOM
cdef uint64_t NO_INTERRUPT

cdef class SplitRing(DeviceRing):
    cdef readonly uint64_t descriptors
    cdef readonly uint64_t available
    cdef readonly uint64_t used
    cdef readonly uint64_t scratch
    cdef readonly uint64_t entries
    cdef readonly uint64_t elements
    cdef readonly SplitWalk walk
    cdef uint16_t[::1] replay
    cdef uint8_t[::1] states
    cpdef int64_t take_over(self) except -1
    @cython.locals(count=uint64_t, lane=uint64_t)
    cdef int64_t _begin_replay(self) except -1 nogil
    @cython.locals(lane=uint64_t, missing=uint64_t)
    cdef int64_t _walk_all(self, uint64_t count) except -1 nogil
    @cython.locals(last=uint64_t)
    cdef int64_t _bring_run(self, uint64_t first, uint64_t most) except -1 nogil
    cdef int64_t reach(self, uint64_t lane) except -1 nogil
    cdef int64_t _bring_table(self, uint64_t lane) except -1 nogil
    @cython.locals(lane=uint64_t)
    cdef int64_t _enqueue(self, uint64_t count) except -1 nogil
    cdef int64_t use(self, uint64_t head, uint64_t written) except -1 nogil
    @cython.locals(count=uint64_t, start=uint64_t, first=uint64_t)
    cdef int64_t _publish_elements(self) except -1 nogil
    @cython.locals(moved=uint64_t)
    cdef int64_t publish(self) except -1 nogil
    @cython.locals(event=uint64_t)
    cdef int64_t _judge(self) except -1 nogil
