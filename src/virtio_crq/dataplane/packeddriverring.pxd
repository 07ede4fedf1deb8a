# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.driverring cimport DriverRing

cdef uint64_t NEXT, WRITE, INDIRECT, AVAIL, USED, MARKS, MASK
cdef uint64_t DISABLE, AT_DESCRIPTOR, WRAP
cdef int64_t FULL, EMPTY
cdef uint64_t USED_ID, USED_LENGTH, USED_POSITION, USED_CLAIMED

@cython.final
cdef class PackedDriverRing(DriverRing):
    cdef readonly uint64_t in_order
    cdef readonly uint64_t descriptors
    cdef readonly uint64_t wish
    cdef readonly uint64_t device_wish
    cdef readonly uint64_t written
    cdef uint64_t room
    cdef uint64_t flags
    cdef uint64_t claimed
    cdef uint64_t line_head
    cdef uint64_t lined
    cdef uint64_t in_batch
    cdef uint64_t batch_end
    cdef uint64_t batch_length
    cdef uint64_t[::1] kept_bus
    cdef uint64_t[::1] kept_length
    cdef uint64_t[::1] kept_flags
    cdef uint64_t[::1] line

    cpdef int64_t segment(self, uint64_t bus, uint64_t length, uint64_t writable) except -2 nogil
    @cython.locals(through=uint64_t, need=uint64_t, head=uint64_t)
    cpdef int64_t submit(self, uint64_t token, uint64_t table, uint64_t table_bus) except -2 nogil
    @cython.locals(old=uint64_t)
    cpdef int64_t publish(self) except -2 nogil
    @cython.locals(at=uint64_t, head=uint64_t, length=uint64_t)
    cpdef int64_t collect(self) except -2 nogil
    @cython.locals(place=uint64_t)
    cpdef int64_t rearm(self) except -2 nogil
    @cython.locals(moved=uint64_t, flying=uint64_t, most=uint64_t, ahead=uint64_t)
    cpdef int64_t confirm(self, uint64_t told, uint64_t position) except -2 nogil
    @cython.locals(index=uint64_t, at=uint64_t)
    cdef int64_t _write_table(self, uint64_t table) except -2 nogil
    @cython.locals(index=uint64_t, node=uint64_t)
    cdef int64_t _keep_chain(self) except -2 nogil
    @cython.locals(first=uint64_t, node=uint64_t, span=uint64_t, index=uint64_t, place=uint64_t, at=uint64_t, flags=uint64_t)
    cdef int64_t _lay(self, uint64_t head, uint64_t position) except -2 nogil
    @cython.locals(word=uint64_t, flags=uint64_t, event=uint64_t, place=uint64_t, passed=uint64_t)
    cdef int64_t _wanted(self, uint64_t old) except -2 nogil
    @cython.locals(flags=uint64_t)
    cdef int64_t _is_used(self) except -2 nogil
    @cython.locals(token=uint64_t, span=uint64_t)
    cdef int64_t _take(self, uint64_t head, uint64_t length) except -2 nogil
