# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.queues cimport Queues
from virtio_crq.dataplane.service cimport Service
from virtio_crq.dataplane.store cimport Store
from virtio_crq.platform.channel cimport Channel, entry_waits, take_from, tell_through

cdef int64_t AVAIL, CONTROL, CREDIT, LOST, NOTHING, STALLED, USED
cdef int64_t IDLE, WORKED, BY_TURN
cdef uint64_t ENTRIES, TURNS, REAPS

cdef class Link(Queues):
    cdef readonly Channel channel
    cdef object on_control
    cdef object on_fault
    cdef public object on_failure
    cdef public uint64_t unsaid
    cdef readonly int64_t gathering
    cdef readonly int64_t due
    cdef public object clock
    cdef public Link next
    cdef public uint64_t restless
    cdef public uint64_t due_turn
    cdef public uint64_t woken
    cdef readonly uint64_t heard
    cdef readonly uint64_t within
    cdef uint64_t served_device
    cdef uint64_t served_queue
    cdef int64_t taken
    @cython.locals(found=int64_t, rest=int64_t)
    cdef int64_t sweep(self, uint64_t others) except -1 nogil
    @cython.locals(found=int64_t)
    cdef int64_t quick(self) except -1 nogil
    cdef int64_t _enter(self, Service service) except -1 nogil
    @cython.locals(found=int64_t, rest=int64_t)
    cdef int64_t _quick_records(self, Service service) except -1 nogil
    cdef int64_t _serve_records(self, Service service) except -1 nogil
    @cython.locals(entries=uint64_t)
    cdef int64_t _quick(self, Service service) except -1 nogil
    cdef int64_t _spoke(self, Service service) except -1 nogil
    cdef int64_t _told(self, Service service) except -1 nogil
    cdef int64_t _unarm(self) except -1 nogil
    @cython.locals(moved=int64_t, kind=int64_t, entries=uint64_t, service=Service, store=Store, aside=int64_t)
    cpdef int64_t turn(self) except -1
    @cython.locals(service=Service, store=Store)
    cdef int64_t _rests(self) except -1
    @cython.locals(service=Service)
    cdef int64_t _hear(self, int64_t kind) except -1
    @cython.locals(service=Service)
    cdef Service _find(self, uint64_t device, uint64_t queue)
    @cython.locals(moved=int64_t)
    cdef int64_t _served(self, Service service) except -1
    @cython.locals(moved=int64_t, now=int64_t, turns=uint64_t)
    cdef int64_t _serve(self, Service service) except -1 nogil
    cdef int64_t _more(self, Service service) noexcept nogil
    @cython.locals(held=uint64_t)
    cdef int64_t _tell(self, Service service) except -1 nogil
    @cython.locals(now=int64_t)
    cdef int64_t _waits(self, Service service) except -1 with gil
    @cython.locals(now=int64_t, service=Service)
    cdef int64_t _expire(self) except -1
    cdef int64_t _give_back(self, Service service) except -1 nogil
    @cython.locals(moved=int64_t, service=Service, current=Service)
    cdef int64_t _reap(self, Store store) except -1
    @cython.locals(store=Store)
    cpdef int64_t expects(self) except -1
