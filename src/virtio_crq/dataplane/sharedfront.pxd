# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.front cimport Front

@cython.final
cdef class SharedFront(Front):
    cdef readonly uint64_t asks
    cpdef int64_t publish(self) except -2 nogil
    cpdef int64_t rearm(self) except -2 nogil
