# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.kernel cimport now
from virtio_crq.dataplane.link cimport Link
from virtio_crq.dataplane.patience cimport Patience
from virtio_crq.platform.port cimport give_way, pause

cdef uint64_t PAUSES, FLOW, LOOKS, CLOCKED
cdef int64_t FOR_EVER, ROUND
cdef int64_t IDLE, WORKED, BY_TURN, ROUND_OVER

cdef class Worker:
    cdef readonly str name
    cdef readonly object polling
    cdef readonly object processor
    cdef readonly Patience patience
    cdef readonly list links
    cdef readonly list awake
    cdef Link first
    cdef uint64_t called
    cdef int64_t since
    cdef int64_t tended
    cdef readonly uint64_t sleeps
    cdef readonly uint64_t failures
    cdef object on_end
    cdef readonly object failure
    cdef object _stopping
    cdef object _requests
    cdef object _ending
    cdef object _event
    cdef object _thread
    cdef object _epoll
    cdef dict _awaited
    cdef dict _calm
    @cython.locals(moved=int64_t, link=Link)
    cpdef int64_t serve(self) except -1
    @cython.locals(limit=int64_t, found=int64_t, watched=int64_t, link=Link)
    cdef int64_t _look(self, int64_t moved) except -1
    @cython.locals(_=uint64_t, found=int64_t, clock=int64_t)
    cdef int64_t _watch_on(self, Link first, int64_t limit, int64_t moved) except -1 nogil
    @cython.locals(looks=uint64_t, found=int64_t, begun=int64_t, clock=int64_t)
    cdef int64_t _look_on(self, Link first, int64_t limit) except -1 nogil
