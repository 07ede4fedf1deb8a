# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.platform.port cimport Port

cdef uint64_t RECORD, PAGE, SURE
cdef int64_t TOO_MANY
cdef int64_t GONE

@cython.final
cdef class SideQueue:
    cdef readonly Port port
    cdef readonly uint64_t offset
    cdef readonly uint64_t bus
    cdef readonly uint64_t slots
    cdef readonly uint64_t cursor
    cdef readonly uint64_t handle
    cdef readonly uint64_t interrupt
    cdef public uint64_t partner
    cdef readonly uint64_t limit
    cdef readonly uint64_t sent
    cdef readonly uint64_t refused
    cdef readonly uint64_t listens
    cdef uint64_t heard
    cdef public SideQueue next
    cpdef int64_t listen(self, uint64_t enabled) except -1 nogil
    cpdef int64_t listen_all(self, uint64_t enabled) except -1 nogil
    cpdef int64_t hush_busy(self) except -1 nogil
    cpdef int64_t waits(self) except -1 nogil
    cpdef uint64_t slot(self) noexcept nogil
    cpdef int64_t free(self) except -1 nogil
    cpdef int64_t _send(self, uint64_t at, uint64_t bus, uint64_t count) except? -99 nogil
    @cython.locals(piece=uint64_t, room=uint64_t, code=int64_t)
    cpdef int64_t send(self, uint64_t at, uint64_t bus, uint64_t count) except? -99 nogil
