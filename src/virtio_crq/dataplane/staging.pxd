# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef uint64_t PAGE
cdef int64_t NONE

@cython.final
cdef class Staging:
    cdef readonly uint64_t offset
    cdef readonly uint64_t bus
    cdef readonly uint64_t count
    cdef readonly uint64_t free
    cdef uint64_t hint
    cdef uint8_t[::1] pages
    @cython.locals(need=uint64_t, run=uint64_t, index=uint64_t, _=uint64_t)
    cpdef int64_t take(self, uint64_t length) except -2 nogil
    @cython.locals(first=uint64_t, need=uint64_t, index=uint64_t)
    cpdef int64_t give(self, uint64_t at, uint64_t length) except -2 nogil
    cpdef uint64_t address(self, uint64_t at) noexcept nogil
