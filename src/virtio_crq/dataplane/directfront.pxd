# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.front cimport Front

@cython.final
cdef class DirectFront(Front):
    @cython.locals(old=uint64_t)
    cpdef int64_t publish(self) except -2 nogil
    cpdef int64_t rearm(self) except -2 nogil
    cpdef int64_t deliver(self) except -2 nogil
    cpdef int64_t sent(self) except -2 nogil
    cpdef int64_t confirm(self, uint64_t position) except -2 nogil
