# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.dataplane.ring cimport DeviceRing
from virtio_crq.dataplane.splitwalk cimport SplitWalk

cdef uint64_t MASK, LANES, SEGMENTS, DESCRIPTOR, SEGMENT_WRITE, REQUEST
cdef uint64_t HEADER_INLINE, STATUS_INLINE
cdef uint64_t MARKER, INLINED, INLINED_MOST, TAIL, WRITE, LIST, ADDRESS_BITS, ADDRESS, LIST_ROOM, ASKED, WRITTEN

cdef class PushRing(DeviceRing):
    cdef readonly uint64_t records
    cdef readonly uint64_t completion
    cdef uint64_t enough
    cdef readonly uint64_t completions
    cdef readonly uint64_t lists
    cdef readonly uint64_t name
    cdef readonly SplitWalk walk
    cdef uint8_t[::1] flags
    cdef uint16_t[::1] heads
    cdef uint64_t[::1] places
    cdef uint8_t[::1] inlined
    cdef uint64_t[::1] inlines
    cdef uint16_t[::1] tails
    cdef uint16_t[::1] replay
    cdef int64_t receive(self, uint64_t count) except -1 nogil
    cdef int64_t send(self, uint64_t start, uint64_t count) except -1 nogil
    @cython.locals(count=uint64_t, lane=uint64_t, listed=uint64_t)
    cdef int64_t fetch(self) except -1 nogil
    @cython.locals(at=uint64_t, word=uint64_t, place=uint64_t, flags=uint64_t, head=uint64_t, inlined=uint64_t, length=uint64_t)
    cdef int64_t _read(self, uint64_t lane) except -1 nogil
    @cython.locals(at=uint64_t, start=uint64_t, run=uint64_t, lane=uint64_t, address=uint64_t, length=uint64_t)
    cdef int64_t _bring_lists(self, uint64_t count) except -1 nogil
    @cython.locals(head=uint64_t)
    cdef int64_t _finish(self, uint64_t lane) except -1 nogil
    @cython.locals(have=uint64_t, first=uint64_t)
    cdef int64_t pull(self, uint64_t head, uint64_t skip, uint64_t length, uint64_t at) except -1 nogil
    @cython.locals(first=uint64_t, last=uint64_t)
    cdef int64_t push(self, uint64_t head, uint64_t skip, uint64_t length, uint64_t at) except -1 nogil
    @cython.locals(found=int64_t)
    cdef int64_t carried(self, uint64_t head) except -1 nogil
    @cython.locals(at=uint64_t, tail=uint64_t, flags=uint64_t)
    cdef int64_t use(self, uint64_t head, uint64_t written) except -1 nogil
    cdef int64_t take(self) except -2 nogil
    @cython.locals(count=uint64_t)
    cdef int64_t _due(self) except -1 nogil
    cdef int64_t publish(self) except -1 nogil
    @cython.locals(count=uint64_t, start=uint64_t, first=uint64_t, went=uint64_t)
    cdef int64_t show(self) except -1 nogil
