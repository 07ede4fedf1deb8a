# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint16_t, uint64_t

from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.dataplane.ring cimport DeviceRing

cdef uint64_t MASK, LANES, TABLE_ROOM
cdef uint64_t NEXT, WRITE, INDIRECT, AVAIL, USED, MARKS
cdef uint64_t DISABLE, AT_DESCRIPTOR, WRAP
cdef uint64_t LOW16, LOW32, WHOLE

cdef class PackedRing(DeviceRing):
    cdef readonly uint64_t indirect
    cdef readonly uint64_t descriptors
    cdef readonly uint64_t wish
    cdef readonly uint64_t own_wish
    cdef readonly uint64_t scratch
    cdef readonly uint64_t snapshot
    cdef readonly uint64_t tables
    cdef readonly uint64_t brought
    cdef uint64_t group
    cdef uint64_t extends
    cdef uint64_t first_flags
    cdef uint16_t[::1] counts
    cdef uint16_t[::1] heads
    cdef uint16_t[::1] table_length
    cpdef int64_t take_over(self) except -1
    @cython.locals(index=uint64_t, at=uint64_t)
    cpdef _count_replays(self)
    @cython.locals(start=uint64_t, count=uint64_t, first=uint64_t)
    cdef int64_t bring_ring(self, uint64_t until) except -1 nogil
    cdef int64_t check_mark(self, uint64_t position, uint64_t flags) except -1 nogil
    @cython.locals(count=uint64_t, position=uint64_t, word=uint64_t, flags=uint64_t, head=uint64_t, aside=uint64_t)
    cdef int64_t next_chain(self, uint64_t lane) except -1 nogil
    @cython.locals(index=uint64_t, at=uint64_t, word=uint64_t)
    cdef int64_t _take_segments(self, uint64_t head, uint64_t count) except -1 nogil
    @cython.locals(at=uint64_t, address=uint64_t, length=uint64_t)
    cdef int64_t _turn_aside(self, uint64_t lane) except -1 nogil
    @cython.locals(head=uint64_t, index=uint64_t, at=uint64_t, word=uint64_t)
    cdef int64_t go_through(self, uint64_t lane) except -1 nogil
    @cython.locals(flags=uint64_t, at=uint64_t)
    cdef int64_t use(self, uint64_t head, uint64_t written) except -1 nogil
    @cython.locals(start=uint64_t, last=uint64_t, place=uint64_t)
    cdef int64_t _publish_bodies(self) except -1 nogil
    @cython.locals(moved=uint64_t, slot=uint64_t)
    cdef int64_t publish(self) except -1 nogil
    @cython.locals(event=uint64_t, flags=uint64_t, moved=uint64_t, place=uint64_t)
    cdef int64_t _judge(self) except -1 nogil
