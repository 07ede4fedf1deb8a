# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.link cimport Link
from virtio_crq.platform.port cimport give_way, pause

cdef uint64_t SPINS

cdef class Worker:
    cdef readonly str name
    cdef readonly object polling
    cdef readonly list links
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
    @cython.locals(moved=int64_t, link=Link, _=uint64_t)
    cpdef int64_t serve(self) except -1
