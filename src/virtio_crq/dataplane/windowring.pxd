# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.pushring cimport PushRing

cdef uint64_t REQUEST, COMPLETION

cdef class WindowRing(PushRing):
    cdef readonly uint64_t requests
    cdef readonly uint64_t answers
    @cython.locals(start=uint64_t, first=uint64_t)
    cdef int64_t receive(self, uint64_t count) except -1 nogil
    cdef int64_t send(self, uint64_t start, uint64_t count) except -1 nogil
