# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint16_t, uint64_t

from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.dataplane.service cimport Service

cdef uint64_t PIECE, GATHER, HEADER

cdef class ConsoleService(Service):
    cdef object looked
    cdef uint16_t[::1] pool
    cdef uint64_t pool_head
    cdef uint64_t pool_count
    cdef int64_t room
    @cython.locals(moved=int64_t)
    cpdef int64_t turn(self) except -1
    cdef int64_t step(self) except -1 nogil
    @cython.locals(count=uint64_t, head=int64_t)
    cdef int64_t _gather(self) except -1
    cdef int64_t first(self) except -1
    cdef int64_t finish(self, uint64_t head, uint64_t written) except -1
    cdef int64_t admit(self, uint64_t head) except -1
    cdef int64_t work(self) except -1

cdef class ReceiveService(ConsoleService):
    cdef object terminal
    cdef public uint64_t gate
    cdef public bytes held
    cdef uint64_t given
    cdef int64_t admit(self, uint64_t head) except -1
    @cython.locals(moved=int64_t, head=uint64_t, length=uint64_t, piece=bytes)
    cdef int64_t work(self) except -1
    cdef int64_t _put(self, uint64_t head, bytes piece) except -1

cdef class TransmitService(ConsoleService):
    cdef object terminal
    cdef readonly uint64_t withheld
    cdef uint64_t stale
    cdef uint64_t taken
    cdef bytes rest
    cdef int64_t admit(self, uint64_t head) except -1
    @cython.locals(moved=int64_t, head=uint64_t, count=uint64_t)
    cdef int64_t work(self) except -1
    @cython.locals(length=uint64_t)
    cdef int64_t _fetch_piece(self, uint64_t head) except -1

cdef class ControlReceiveService(ReceiveService):
    @cython.locals(moved=int64_t, head=uint64_t, piece=bytes)
    cdef int64_t work(self) except -1

cdef class ControlTransmitService(ConsoleService):
    cdef uint64_t ports
    cdef object heard
    cdef int64_t admit(self, uint64_t head) except -1
    @cython.locals(moved=int64_t, head=uint64_t, port=uint64_t, event=uint64_t, value=uint64_t)
    cdef int64_t work(self) except -1
