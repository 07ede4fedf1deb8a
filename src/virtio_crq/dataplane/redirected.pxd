# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint16_t, uint64_t

from virtio_crq.dataplane.blockservice cimport BlockService

cdef uint64_t IN, OUT, OK, HEADER, WHOLE, MOST, SEGMENTS
cdef int64_t EOPNOTSUPP
cdef uint64_t ALWAYS, COPIED, CROWDED, LARGE, NO_ADAPTER, NOT_WHOLE, PIECES, REDIRECTED, SHARED, STABLE, WAITS

cdef class RedirectedBlockService(BlockService):
    cdef readonly uint64_t redirected
    cdef readonly uint64_t copied
    cdef readonly int64_t file
    cdef readonly uint64_t reads_now
    cdef readonly uint64_t writes_now
    cdef uint64_t staged
    cdef uint16_t[::1] begins
    cdef uint16_t[::1] ends
    @cython.locals(index=uint64_t, head=uint64_t)
    cdef int64_t bypass(self, uint64_t count) except -1 nogil
    cdef int64_t transfer(self) except -1 nogil
    cdef int64_t worth(self, uint64_t head, uint64_t transfers) except -1 nogil
    cdef int64_t _not(self, uint64_t head, uint64_t reason) except -1 nogil
    cdef uint64_t _unwritten(self) noexcept nogil
    @cython.locals(reason=uint64_t, first=uint64_t, last=uint64_t, outward=uint64_t, position=uint64_t, index=uint64_t, length=uint64_t)
    cdef int64_t _stage_request(self, uint64_t head) except -1 nogil
    @cython.locals(index=uint64_t, length=uint64_t, together=uint64_t)
    cdef uint64_t _pages(self, uint64_t first, uint64_t last) except? 1 nogil
    @cython.locals(whole=uint64_t, transfer=uint64_t, moved=int64_t)
    cdef int64_t _moved_whole(self, uint64_t index, uint64_t head) except -1 nogil
