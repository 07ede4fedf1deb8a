# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

cdef double FADE, PULL, OUTLIER, LEAST

@cython.final
cdef class Cost:
    cdef readonly double call_ns
    cdef readonly double byte_ns
    cdef readonly uint64_t samples
    cdef double first_call_ns
    cdef double first_byte_ns
    cdef double calls2
    cdef double both
    cdef double bytes2
    cdef double calls_time
    cdef double bytes_time
    cpdef int64_t of(self, uint64_t calls, uint64_t length) except -1 nogil
    @cython.locals(most=double, guess=double, fade=double, time=double, by_call=double, by_byte=double)
    cpdef int64_t learn(self, uint64_t calls, uint64_t length, int64_t elapsed) except -1 nogil
    @cython.locals(calls2=double, bytes2=double, calls_time=double, bytes_time=double, determinant=double, call=double, byte=double)
    cdef int64_t _fit(self) except -1 nogil
