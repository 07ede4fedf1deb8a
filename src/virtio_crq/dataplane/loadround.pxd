# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.load cimport LoadGenerator
from virtio_crq.platform.port cimport give_way, pause

cdef int64_t IDLE, STRANGE
cdef uint64_t FLOW, LOOKS

@cython.final
cdef class LoadRound:
    cdef readonly list generators
    cdef LoadGenerator first
    cdef readonly LoadGenerator speaker
    cdef readonly uint64_t sleeps
    cdef object epoll
    cdef dict sleepers
    @cython.locals(found=int64_t)
    cpdef int64_t turn(self, uint64_t spins, double seconds=*) except -2
    @cython.locals(found=int64_t, looks=uint64_t)
    cdef int64_t _sweep(self, uint64_t spins) except -2 nogil
    @cython.locals(generator=LoadGenerator)
    cdef int64_t _over(self) except -2
    @cython.locals(generator=LoadGenerator)
    cdef int64_t _said(self) except -2
    @cython.locals(generator=LoadGenerator, found=int64_t)
    cdef int64_t _sleep(self, double seconds) except -2
