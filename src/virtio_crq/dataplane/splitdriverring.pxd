# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.driverring cimport DriverRing

cdef uint64_t NEXT, WRITE, INDIRECT, NO_NOTIFY, MASK
cdef int64_t FULL, EMPTY
cdef uint64_t USED_INDEX, USED_POSITION, USED_AHEAD

@cython.final
cdef class SplitDriverRing(DriverRing):
    cdef readonly uint64_t descriptors
    cdef readonly uint64_t available
    cdef readonly uint64_t used
    cdef readonly uint64_t written
    cdef uint64_t seen

    cpdef int64_t segment(self, uint64_t bus, uint64_t length, uint64_t writable) except -2 nogil
    @cython.locals(through=uint64_t, need=uint64_t, head=uint64_t)
    cpdef int64_t submit(self, uint64_t token, uint64_t table, uint64_t table_bus) except -2 nogil
    @cython.locals(old=uint64_t)
    cpdef int64_t publish(self) except -2 nogil
    @cython.locals(index=uint64_t, moved=uint64_t, entry=uint64_t, head=uint64_t, token=uint64_t)
    cpdef int64_t collect(self) except -2 nogil
    cpdef int64_t rearm(self) except -2 nogil
    @cython.locals(moved=uint64_t, most=uint64_t, index=uint64_t)
    cpdef int64_t confirm(self, uint64_t told, uint64_t position) except -2 nogil
    @cython.locals(address=uint64_t)
    cdef int64_t _describe(self, uint64_t table, uint64_t index, uint64_t bus, uint64_t length, uint64_t flags, uint64_t follower) except -2 nogil
    @cython.locals(index=uint64_t, flags=uint64_t)
    cdef int64_t _write_table(self, uint64_t table) except -2 nogil
    @cython.locals(index=uint64_t, slot=uint64_t, flags=uint64_t)
    cdef int64_t _write_chain(self) except -2 nogil
    @cython.locals(event=uint64_t)
    cdef int64_t _wanted(self, uint64_t old) except -2 nogil
