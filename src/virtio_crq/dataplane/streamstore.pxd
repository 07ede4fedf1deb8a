# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.store cimport Store

cdef class StreamStore(Store):
    cdef int event
    cdef uint64_t cursor
    cdef uint64_t knocked
    @cython.locals(tag=uint64_t)
    cpdef int64_t reap(self) except -1
