# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.dataplane.journal cimport Journal
from virtio_crq.dataplane.service cimport Service

cdef uint64_t IN
cdef uint64_t OUT
cdef uint64_t FLUSH
cdef uint64_t GET_ID
cdef uint64_t OK
cdef uint64_t IOERR
cdef uint64_t UNSUPP
cdef uint64_t SECTOR
cdef uint64_t HEADER
cdef uint64_t IDENTITY
cdef uint64_t SEGMENTS
cdef uint64_t COPIED, ONLY_COPIES
cdef int64_t PENDING
cdef int64_t BUSY

cdef class BlockService(Service):
    cdef public uint64_t sectors
    cdef readonly uint64_t read_only
    cdef public uint64_t writethrough
    cdef readonly uint64_t seg_max
    cdef readonly uint64_t size_max
    cdef readonly bytes identity
    cdef Journal journal
    cdef uint64_t crew
    cdef uint64_t chunk
    cdef uint64_t headers
    cdef uint64_t statuses
    cdef uint64_t name
    cdef uint64_t room
    cdef uint8_t[::1] kinds
    cdef uint8_t[::1] asked
    cdef uint64_t[::1] positions
    cdef uint64_t[::1] totals
    cdef uint64_t[::1] moved
    cdef int64_t[::1] buffers
    cdef uint32_t[::1] sizes
    @cython.locals(index=uint64_t, head=uint64_t, outward=uint64_t)
    cdef int64_t run(self, uint64_t count) except -1 nogil
    cdef int64_t bypass(self, uint64_t count) except -1 nogil
    cdef int64_t _bring_header(self, uint64_t head) except -1 nogil
    @cython.locals(at=uint64_t, kind=uint64_t, sector=uint64_t, total=uint64_t)
    cdef int64_t _read_header(self, uint64_t head) except -1 nogil
    @cython.locals(first=uint64_t, last=uint64_t, index=uint64_t)
    cdef int64_t _legal(self, uint64_t head, uint64_t sector, uint64_t total) except -1 nogil
    @cython.locals(size=uint64_t, at=int64_t)
    cdef int64_t _equip(self, uint64_t head) except -1 nogil
    @cython.locals(answer=int64_t)
    cdef int64_t advance(self, uint64_t head) except -1 nogil
    @cython.locals(position=uint64_t, token=uint64_t)
    cdef int64_t ask(self, uint64_t head) except -1 nogil
    @cython.locals(size=uint64_t)
    cdef int64_t _landed(self, uint64_t head, int64_t result) except -1 nogil
    @cython.locals(at=uint64_t, whole=uint64_t, segments=uint64_t, inline=uint64_t)
    cdef int64_t _finish(self, uint64_t head, uint64_t status) except -1 nogil
    @cython.locals(room=uint64_t)
    cdef int64_t _identify(self, uint64_t head) except -1 nogil
    cpdef int64_t land(self, uint64_t head, int64_t result) except -1
