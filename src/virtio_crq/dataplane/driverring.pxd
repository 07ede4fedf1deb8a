# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.platform.channel cimport Channel
from virtio_crq.platform.port cimport Port

# Constants that code without the interpreter's lock reads; Python code has them under the same names interpreted only.
cdef uint64_t NEXT, WRITE, INDIRECT, NO_NOTIFY, MASK
cdef int64_t FULL, EMPTY
cdef uint64_t USED_ID, USED_LENGTH, USED_INDEX, USED_POSITION, USED_AHEAD, CREDIT_OVERRUN, CREDIT_UNOWED

@cython.final
cdef class DriverRing:
    cdef readonly Port port
    cdef readonly uint64_t size
    cdef readonly uint64_t descriptors
    cdef readonly uint64_t available
    cdef readonly uint64_t used
    cdef readonly uint64_t indirect
    cdef readonly uint64_t event_idx
    cdef readonly uint64_t device
    cdef readonly uint64_t queue
    cdef readonly uint64_t in_flight
    cdef readonly uint64_t length
    cdef readonly uint64_t written
    cdef readonly uint64_t published
    cdef readonly uint64_t last_used
    cdef readonly uint64_t credit
    cdef readonly uint64_t owed
    cdef readonly uint64_t pending
    cdef uint64_t unasked
    cdef readonly uint64_t announced
    cdef readonly uint64_t told
    cdef readonly dict refusals
    cdef uint64_t seen
    cdef uint64_t issued
    cdef uint64_t free_head
    cdef readonly uint64_t free_count
    cdef uint64_t staged
    cdef uint64_t staged_writable
    cdef uint64_t[::1] follow
    cdef uint64_t[::1] tokens
    cdef uint64_t[::1] allowed
    cdef uint64_t[::1] spans
    cdef uint64_t[::1] issues
    cdef uint64_t[::1] segment_bus
    cdef uint64_t[::1] segment_length
    cdef uint64_t[::1] segment_flags

    cpdef int64_t segment(self, uint64_t bus, uint64_t length, uint64_t writable) except -2 nogil
    @cython.locals(through=uint64_t, need=uint64_t, head=uint64_t)
    cpdef int64_t submit(self, uint64_t token, uint64_t table, uint64_t table_bus) except -2 nogil
    @cython.locals(old=uint64_t)
    cpdef int64_t publish(self) except -2 nogil
    @cython.locals(index=uint64_t, moved=uint64_t, entry=uint64_t, head=uint64_t, length=uint64_t, token=uint64_t)
    cpdef int64_t collect(self) except -2 nogil
    cpdef int64_t rearm(self) except -2 nogil
    @cython.locals(code=int64_t)
    cpdef int64_t announce(self, Channel channel) except? -99
    @cython.locals(code=int64_t)
    cpdef int64_t settle(self, Channel channel) except? -99
    @cython.locals(moved=uint64_t, most=uint64_t, index=uint64_t)
    cpdef int64_t used_told(self, uint64_t position, uint64_t credit) except -2 nogil
    cpdef int64_t credit_returned(self) except -2 nogil
    @cython.locals(address=uint64_t)
    cdef int64_t _describe(self, uint64_t table, uint64_t index, uint64_t bus, uint64_t length, uint64_t flags, uint64_t follower) except -2 nogil
    @cython.locals(index=uint64_t, flags=uint64_t)
    cdef int64_t _write_table(self, uint64_t table) except -2 nogil
    @cython.locals(index=uint64_t, slot=uint64_t, flags=uint64_t)
    cdef int64_t _write_chain(self) except -2 nogil
    @cython.locals(event=uint64_t)
    cdef int64_t _wanted(self, uint64_t old) except -2 nogil
    @cython.locals(_count=uint64_t, last=uint64_t)
    cdef int64_t _release(self, uint64_t head) except -2 nogil
    cdef int64_t _refuse(self, uint64_t rule, uint64_t first, uint64_t second) except -2 with gil
