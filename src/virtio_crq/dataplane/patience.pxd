# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t

cdef int64_t FIRST

@cython.final
cdef class Patience:
    cdef readonly int64_t most
    cdef readonly int64_t granted
    cpdef int64_t waited(self, int64_t nanoseconds) noexcept nogil
