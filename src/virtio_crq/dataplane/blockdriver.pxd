# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.driverring cimport DriverRing
from virtio_crq.dataplane.mapping cimport SlotMapping
from virtio_crq.platform.port cimport Port

cdef uint64_t READ, WRITE, OK, IO_ERROR, UNSUPPORTED, UNSET, HEADER_LENGTH
cdef int64_t NONE
cdef uint64_t FREE, HELD, RUNNING, LINGERING, DONE
cdef uint64_t DATA, FROM_DEVICE, HEADER, PAGE, STATUS, TABLE, TO_DEVICE
cdef uint64_t STATUS_AT, TABLE_AT, STATUS_UNKNOWN, LENGTH_SHORT

@cython.final
cdef class BlockDriver:
    cdef readonly DriverRing ring
    cdef readonly Port port
    cdef readonly SlotMapping mapping
    cdef readonly uint64_t slots
    cdef readonly uint64_t capacity
    cdef readonly uint64_t transfer
    cdef readonly uint64_t segment_bytes
    cdef readonly uint64_t idle
    cdef readonly uint64_t stalls
    cdef readonly uint64_t lingering
    cdef readonly dict refusals
    cdef uint64_t[::1] free_slots
    cdef uint64_t[::1] states
    cdef uint64_t[::1] kinds
    cdef uint64_t[::1] lengths
    cdef uint64_t[::1] outcomes

    @cython.locals(slot=uint64_t)
    cpdef int64_t acquire(self, uint64_t length) except -2 nogil
    cpdef int64_t release(self, uint64_t slot) except -2 nogil
    cpdef uint64_t data(self, uint64_t slot) except? 0xbadc0ffee0ddf00d nogil
    cpdef int64_t submit(self, uint64_t slot, uint64_t kind, uint64_t sector, uint64_t length) except -2 nogil
    @cython.locals(token=int64_t)
    cpdef int64_t reap(self) except -2 nogil
    cpdef uint64_t status(self, uint64_t slot) except? 0xbadc0ffee0ddf00d nogil
    @cython.locals(code=int64_t)
    cdef int64_t _show(self, uint64_t slot, uint64_t kind, uint64_t length) except -2 nogil
    @cython.locals(bus=uint64_t, memory=uint64_t, written=uint64_t, done=uint64_t, piece=uint64_t)
    cdef int64_t _queue(self, uint64_t slot, uint64_t kind, uint64_t sector, uint64_t length) except -2 nogil
    @cython.locals(slot=uint64_t)
    cdef int64_t _reap_lingering(self) except -2 nogil
    @cython.locals(status=uint64_t, least=uint64_t)
    cdef int64_t _judge(self, uint64_t slot, uint64_t length) except -2 nogil
    cdef int64_t _misuse(self, uint64_t slot) except -2 with gil
    cdef int64_t _refuse(self, uint64_t slot, uint64_t rule, uint64_t first, uint64_t second) except -2 with gil
