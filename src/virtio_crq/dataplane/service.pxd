# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from virtio_crq.dataplane.ring cimport DeviceRing
from virtio_crq.dataplane.staging cimport Staging
from virtio_crq.dataplane.store cimport Store
from virtio_crq.platform.port cimport Port

cdef uint64_t BATCH, BULK, FAIR, CROWD, WINDOW, MASK

cdef class Service:
    cdef readonly uint64_t device
    cdef readonly uint64_t queue
    cdef readonly DeviceRing ring
    cdef readonly uint64_t bound
    cdef Staging staging
    cdef Port port
    cdef readonly Store store
    cdef uint64_t tag
    cdef public uint64_t ready
    cdef public Service following
    cdef readonly uint64_t requests
    cdef readonly uint64_t errors
    cdef readonly uint64_t bytes_in
    cdef readonly uint64_t bytes_out
    cdef readonly uint64_t batches
    cdef readonly uint64_t share
    cdef public uint64_t bulk
    cdef public uint64_t weight
    cdef readonly uint64_t in_store
    cdef public int64_t until
    cdef readonly uint64_t told
    cdef readonly uint64_t crowd
    cdef readonly uint64_t peak
    cdef readonly uint64_t tells
    cdef uint16_t[::1] batch
    cdef uint16_t[::1] parked
    cdef uint64_t parked_head
    cdef readonly uint64_t parked_count
    cdef uint64_t[::1] spent
    cdef uint32_t[::1] spent_length
    cdef uint64_t spent_count
    cpdef int64_t turn(self) except -1
    @cython.locals(moved=int64_t)
    cdef int64_t step(self) except -1 nogil
    @cython.locals(ring=DeviceRing, outstanding=uint64_t)
    cdef int64_t gathers(self) except -1
    cdef int64_t telling(self) except -1 nogil
    cpdef int64_t settle(self) except -1
    @cython.locals(count=uint64_t, asked=uint64_t, head=int64_t, moved=int64_t)
    cdef int64_t _turn(self) except -1 nogil
    @cython.locals(count=uint64_t, head=uint64_t)
    cdef int64_t _unpark(self) except -1 nogil
    cdef int64_t park(self, uint64_t head) except -1 nogil
    cdef int64_t spend(self, uint64_t at, uint64_t length) except -1 nogil
    @cython.locals(index=uint64_t)
    cdef int64_t release(self) except -1 nogil
    @cython.locals(segments=uint64_t)
    cdef int64_t note(self, uint64_t head, uint64_t length) except -1 nogil
    cdef int64_t run(self, uint64_t count) except -1 nogil
    cdef int64_t advance(self, uint64_t head) except -1 nogil
    cpdef int64_t land(self, uint64_t head, int64_t result) except -1
