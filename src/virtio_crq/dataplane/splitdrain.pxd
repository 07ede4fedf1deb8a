# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

from virtio_crq.dataplane.mapping cimport SlotMapping
from virtio_crq.dataplane.splitdriverring cimport SplitDriverRing
from virtio_crq.platform.port cimport Port

cdef uint64_t NEXT, WRITE, INDIRECT, DESCRIPTOR, MASK, LOW32, SEGMENTS

@cython.final
cdef class SplitDrain:
    cdef readonly SplitDriverRing ring
    cdef Port port
    cdef SlotMapping mapping
    cdef uint64_t translates
    cdef uint64_t most
    cdef uint64_t[::1] addresses
    cdef uint64_t[::1] lengths
    cdef uint8_t[::1] writable
    cdef readonly uint64_t count
    cdef readonly uint64_t table
    cdef readonly uint64_t table_address
    cdef readonly uint64_t room
    cdef readonly uint64_t taken
    cdef readonly uint64_t used
    cdef int64_t find(self, uint64_t address, uint64_t length) except -2 nogil
    cdef int64_t waits(self) except -2 nogil
    cdef int64_t peek(self) except -2 nogil
    cdef int64_t advance(self) except -2 nogil
    cdef int64_t rearm(self) except -2 nogil
    @cython.locals(entry=uint64_t)
    cdef int64_t use(self, uint64_t head, uint64_t written) except -2 nogil
    cdef int64_t show(self) except -2 nogil
    @cython.locals(index=uint64_t, at=uint64_t, flags=uint64_t)
    cdef int64_t gather(self, uint64_t head) except -2 nogil
    @cython.locals(length=uint64_t)
    cdef int64_t _add(self, uint64_t at, uint64_t flags) except -2 nogil
    @cython.locals(found=int64_t, index=uint64_t, at=uint64_t, flags=uint64_t)
    cdef int64_t _through(self, uint64_t address, uint64_t length) except -2 nogil
