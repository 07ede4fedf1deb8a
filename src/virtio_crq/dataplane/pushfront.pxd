# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.front cimport Front
from virtio_crq.dataplane.splitdrain cimport SplitDrain
from virtio_crq.platform.port cimport Port

cdef uint64_t MASK, DESCRIPTOR, DESC_NEXT, DESC_WRITE, REQUEST, MARKER, INLINED, INLINED_MOST, TAIL, WRITE, LIST, ADDRESS_BITS, LENGTH_BITS
cdef uint64_t LOW32
cdef int64_t FULL
cdef uint64_t COMPLETION_FORM, COMPLETION_TAIL, USED_UNKNOWN, USED_LENGTH, USED_AHEAD

cdef class PushFront(Front):
    cdef readonly Port port
    cdef readonly SplitDrain drain
    cdef readonly uint64_t size
    cdef readonly uint64_t requests
    cdef readonly uint64_t requests_bus
    cdef readonly uint64_t completions
    cdef readonly uint64_t lists
    cdef readonly uint64_t lists_bus
    cdef readonly uint64_t name
    cdef readonly uint64_t in_flight
    cdef readonly uint64_t made
    cdef readonly uint64_t delivered
    cdef readonly uint64_t stalled
    cdef uint64_t list_next
    cdef uint64_t list_used
    cdef uint64_t list_marked
    cdef uint64_t[::1] flying
    cdef uint64_t[::1] issues
    cdef uint64_t[::1] rooms
    cdef uint64_t[::1] tails
    cdef uint64_t[::1] inlines
    cdef uint64_t[::1] kept
    cdef uint64_t[::1] places
    cdef uint64_t first
    cdef uint64_t last
    cdef uint64_t listed
    cdef int64_t forward(self) except -2 nogil
    cdef int64_t _push(self, uint64_t head) except -2 nogil
    @cython.locals(flags=uint64_t, first=uint64_t, count=uint64_t, place=uint64_t)
    cdef int64_t _make(self, uint64_t head) except -2 nogil
    @cython.locals(flags=uint64_t, inlined=uint64_t, at=uint64_t)
    cdef int64_t _put(self, uint64_t head) except -2 nogil
    @cython.locals(flags=uint64_t, found=int64_t)
    cdef int64_t _look_inside(self, uint64_t head) except -2 nogil
    @cython.locals(wide=uint64_t)
    cdef int64_t _fits(self, uint64_t index) except -2 nogil
    @cython.locals(first=uint64_t, count=uint64_t)
    cdef int64_t _make_again(self, uint64_t head) except -2 nogil
    @cython.locals(value=uint64_t, index=uint64_t)
    cdef uint64_t _word(self, uint64_t at, uint64_t length) except? 0xbadc0ffee0ddf00d nogil
    @cython.locals(whole=uint64_t, skipped=uint64_t, start=uint64_t, at=uint64_t, index=uint64_t, flags=uint64_t)
    cdef int64_t _list(self, uint64_t first, uint64_t count) except -2 nogil
    cpdef int64_t inherit(self, PushFront other) except -2
    cdef int64_t sent(self) except -2 nogil
    cdef int64_t regained(self) except -2 nogil
    @cython.locals(moved=uint64_t, most=uint64_t)
    cdef int64_t confirm(self, uint64_t position) except -2 nogil
    @cython.locals(head=uint64_t, flags=uint64_t, written=uint64_t)
    cdef int64_t accept(self, uint64_t word, uint64_t value) except -2 nogil
    cdef int64_t _deny(self, uint64_t rule, uint64_t first, uint64_t second) except -2 with gil
