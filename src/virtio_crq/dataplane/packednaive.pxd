# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.packeddevice cimport PackedRing

cdef uint64_t NEXT

cdef class PackedNaiveRing(PackedRing):
    @cython.locals(position=uint64_t, slot=uint64_t, at=uint64_t)
    cdef int64_t fetch(self) except -1 nogil
    @cython.locals(last=uint64_t)
    cdef int64_t _goes_on(self) except -1 nogil
