# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.driverring cimport DriverRing
from virtio_crq.dataplane.mapping cimport SlotMapping
from virtio_crq.platform.port cimport Port

cdef uint64_t PAGE, DATA, FROM_DEVICE
cdef int64_t NONE
cdef uint64_t FREE, HELD, RUNNING, LINGERING

@cython.final
cdef class EntropyDriver:
    cdef readonly DriverRing ring
    cdef readonly Port port
    cdef readonly SlotMapping mapping
    cdef readonly uint64_t slots
    cdef readonly uint64_t stalls
    cdef readonly uint64_t lingering
    cdef uint64_t[::1] states
    cdef uint64_t[::1] lengths

    @cython.locals(slot=uint64_t, code=int64_t)
    cpdef int64_t submit(self, uint64_t length) except -2 nogil
    @cython.locals(token=int64_t, slot=uint64_t)
    cpdef int64_t reap(self) except -2 nogil
