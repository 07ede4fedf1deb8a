# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.platform.port cimport Port

# Constants that code without the interpreter's lock reads; Python code has them under the same names interpreted only.
cdef int64_t FULL, EMPTY
cdef uint64_t USED_ID, USED_LENGTH, USED_INDEX, USED_POSITION, USED_AHEAD, USED_CLAIMED

cdef class DriverRing:
    cdef readonly Port port
    cdef readonly uint64_t size
    cdef readonly uint64_t indirect
    cdef readonly uint64_t event_idx
    cdef readonly uint64_t device
    cdef readonly uint64_t queue
    cdef readonly dict refusals
    cdef readonly uint64_t in_flight
    cdef readonly uint64_t length
    cdef readonly uint64_t published
    cdef readonly uint64_t last_used
    cdef readonly uint64_t issued
    cdef readonly uint64_t shown
    cdef readonly uint64_t free_count
    cdef uint64_t free_head
    cdef uint64_t staged
    cdef uint64_t staged_writable
    cdef uint64_t[::1] follow
    cdef uint64_t[::1] tokens
    cdef uint64_t[::1] allowed
    cdef uint64_t[::1] spans
    cdef uint64_t[::1] issues
    cdef uint64_t[::1] segment_bus
    cdef uint64_t[::1] segment_length
    cdef uint64_t[::1] segment_writable

    cdef int64_t segment(self, uint64_t bus, uint64_t length, uint64_t writable) except -2 nogil
    cdef int64_t submit(self, uint64_t token, uint64_t table, uint64_t table_bus) except -2 nogil
    cdef int64_t publish(self) except -2 nogil
    cdef int64_t collect(self) except -2 nogil
    cdef int64_t rearm(self) except -2 nogil
    cdef int64_t confirm(self, uint64_t told, uint64_t position) except -2 nogil
    cdef int64_t _stage(self, uint64_t bus, uint64_t length, uint64_t writable) except -2 nogil
    cdef int64_t _unstage(self) except -2 nogil
    cdef int64_t _record(self, uint64_t head, uint64_t token, uint64_t span) except -2 nogil
    @cython.locals(token=uint64_t)
    cdef int64_t _used(self, uint64_t head, uint64_t length) except -2 nogil
    @cython.locals(_count=uint64_t, last=uint64_t)
    cdef int64_t _release(self, uint64_t head) except -2 nogil
    cdef int64_t _refuse(self, uint64_t rule, uint64_t first, uint64_t second) except -2 with gil
