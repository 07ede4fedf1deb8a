# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

from virtio_crq.dataplane.packeddevice cimport PackedRing

cdef uint64_t LANES

cdef class PackedBatchedRing(PackedRing):
    cdef uint8_t[::1] aside
    @cython.locals(count=uint64_t, tables=uint64_t, lane=uint64_t)
    cdef int64_t fetch(self) except -1 nogil
