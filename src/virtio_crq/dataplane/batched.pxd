# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.splitdevice cimport SplitRing

cdef uint64_t LANES
cdef uint64_t WINDOW

cdef class BatchedRing(SplitRing):
    cdef readonly uint64_t brought
    @cython.locals(count=uint64_t, start=uint64_t, lane=uint64_t)
    cdef int64_t fetch(self) except -1 nogil
    @cython.locals(first=uint64_t)
    cdef int64_t _bring_entries(self, uint64_t start, uint64_t count) except -1 nogil
    @cython.locals(low=uint64_t, high=uint64_t, lane=uint64_t, head=uint64_t, end=uint64_t)
    cdef int64_t _bring_window(self, uint64_t count) except -1 nogil
    @cython.locals(hops=uint64_t)
    cdef int64_t reach(self, uint64_t lane) except -1 nogil
    @cython.locals(longest=uint64_t, lane=uint64_t)
    cdef int64_t _learn(self, uint64_t count) except -1 nogil
