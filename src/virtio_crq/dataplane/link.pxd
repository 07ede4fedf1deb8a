# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.ring cimport DeviceRing
from virtio_crq.dataplane.service cimport Service
from virtio_crq.dataplane.staging cimport Staging
from virtio_crq.dataplane.store cimport Store
from virtio_crq.platform.channel cimport Channel
from virtio_crq.platform.port cimport Port

cdef class Link:
    cdef readonly Port port
    cdef readonly Channel channel
    cdef readonly Staging staging
    cdef object on_control
    cdef object on_fault
    cdef public object on_failure
    cdef readonly uint64_t max_copy
    cdef readonly dict refusals
    cdef readonly dict table
    cdef readonly list services
    cdef readonly list stores
    cdef Service last
    cdef public uint64_t unsaid
    cdef public uint64_t armed
    cdef public uint64_t rewired
    cdef readonly int64_t gathering
    cdef readonly int64_t due
    cdef public object clock
    @cython.locals(moved=int64_t, kind=int64_t, entries=uint64_t, service=Service, store=Store)
    cpdef int64_t turn(self) except -1
    @cython.locals(service=Service)
    cdef int64_t _hear(self, int64_t kind) except -1
    @cython.locals(service=Service)
    cdef Service _find(self, uint64_t device, uint64_t queue)
    @cython.locals(moved=int64_t, now=int64_t, turns=uint64_t, ring=DeviceRing)
    cdef int64_t _serve(self, Service service) except -1
    @cython.locals(ring=DeviceRing, held=uint64_t)
    cdef int64_t _tell(self, Service service) except -1
    @cython.locals(now=int64_t)
    cdef int64_t _waits(self, Service service) except -1
    @cython.locals(now=int64_t, service=Service)
    cdef int64_t _expire(self) except -1
    @cython.locals(ring=DeviceRing)
    cdef int64_t _give_back(self, Service service) except -1
    @cython.locals(moved=int64_t, service=Service, current=Service)
    cdef int64_t _reap(self, Store store) except -1
