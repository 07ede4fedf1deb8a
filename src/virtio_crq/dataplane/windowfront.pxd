# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.pushfront cimport PushFront

cdef uint64_t MASK, COMPLETION

@cython.final
cdef class WindowFront(PushFront):
    cpdef int64_t publish(self) except -2 nogil
    cpdef int64_t rearm(self) except -2 nogil
    @cython.locals(moved=uint64_t, at=uint64_t)
    cpdef int64_t deliver(self) except -2 nogil
