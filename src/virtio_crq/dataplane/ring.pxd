# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

from virtio_crq.dataplane.chains cimport Chains
from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.dataplane.planner cimport Planner
from virtio_crq.dataplane.staging cimport Staging
from virtio_crq.platform.port cimport Port

cdef uint64_t MASK
cdef uint64_t SEGMENTS

cdef class DeviceRing:
    cdef readonly Port port
    cdef readonly Staging staging
    cdef readonly Chains chains
    cdef readonly uint64_t size
    cdef readonly uint64_t event_idx
    cdef readonly uint64_t in_order
    cdef readonly Planner planner
    cdef readonly uint64_t footprint
    cdef readonly uint64_t area
    cdef readonly uint64_t announced
    cdef readonly uint64_t fetched
    cdef readonly uint64_t completed
    cdef readonly uint64_t published
    cdef readonly uint64_t signalled
    cdef public uint64_t used_credit
    cdef public uint64_t avail_held
    cdef public uint64_t notice
    cdef readonly uint64_t event_due
    cdef readonly uint64_t stale
    cdef readonly uint64_t held
    cdef uint16_t[::1] order
    cdef readonly uint64_t order_head
    cdef uint16_t[::1] line
    cdef uint8_t[::1] ended
    cdef uint64_t[::1] amounts
    cdef readonly uint64_t line_head
    cdef readonly uint64_t lined
    cdef readonly uint64_t span
    cdef readonly uint64_t waiting
    cdef readonly uint64_t replayed
    cdef readonly uint64_t replays
    @cython.locals(moved=uint64_t)
    cdef int64_t hear_avail(self, uint64_t position) except -1 nogil
    cdef int64_t hear_credit(self) except -1 nogil
    cpdef int64_t take_over(self) except -1
    cdef int64_t owes_credit(self) noexcept nogil
    cdef int64_t bring(self, uint64_t remote, uint64_t at, uint64_t length) except -1 nogil
    cdef int64_t carry(self, uint64_t at, uint64_t remote, uint64_t length) except -1 nogil
    cdef int64_t flush(self) except -1 nogil
    cdef int64_t arrived(self) except -1 nogil
    cdef int64_t behind(self) noexcept nogil
    cdef int64_t fetch(self) except -1 nogil
    cdef int64_t enqueue(self, uint64_t head) except -1 nogil
    cdef int64_t take(self) except -2 nogil
    @cython.locals(head=uint64_t)
    cdef int64_t next(self) except -2 nogil
    @cython.locals(index=uint64_t, end=uint64_t, piece=uint64_t, have=uint64_t)
    cdef int64_t _scatter(self, uint64_t head, uint64_t index, uint64_t end, uint64_t skip, uint64_t length, uint64_t at, uint64_t outward) except -1 nogil
    @cython.locals(first=uint64_t)
    cdef int64_t pull(self, uint64_t head, uint64_t skip, uint64_t length, uint64_t at) except -1 nogil
    @cython.locals(first=uint64_t, last=uint64_t)
    cdef int64_t push(self, uint64_t head, uint64_t skip, uint64_t length, uint64_t at) except -1 nogil
    @cython.locals(first=uint64_t)
    cdef int64_t complete(self, uint64_t head, uint64_t written) except -1 nogil
    cdef int64_t carried(self, uint64_t head) except -1 nogil
    cdef int64_t use(self, uint64_t head, uint64_t written) except -1 nogil
    cdef int64_t publish(self) except -1 nogil
