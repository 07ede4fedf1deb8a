# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.dataplane.splitdevice cimport SplitRing

cdef class NaiveRing(SplitRing):
    @cython.locals(slot=uint64_t)
    cdef int64_t fetch(self) except -1 nogil
    @cython.locals(index=uint64_t)
    cdef int64_t _look(self) except -1 nogil
