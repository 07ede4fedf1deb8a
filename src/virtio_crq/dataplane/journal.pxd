# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

cdef uint64_t RECENT, NOTHING, NO_DATA

@cython.final
cdef class Journal:
    cdef readonly uint64_t size
    cdef readonly uint64_t ended
    cdef uint64_t[::1] pieces
    cdef uint64_t[::1] copies
    cdef uint64_t[::1] splits
    cdef uint8_t[::1] ways
    cdef uint8_t[::1] reasons
    cdef uint64_t[::1] copying_ns
    cdef uint64_t[::1] redirecting_ns
    cdef uint16_t[::1] heads
    cdef uint8_t[::1] kinds
    cdef uint64_t[::1] lengths
    cdef uint16_t[::1] segments
    cdef uint16_t[::1] crews
    cdef uint8_t[::1] inlines
    cdef uint8_t[::1] ended_ways
    cdef uint8_t[::1] ended_reasons
    cdef uint16_t[::1] ended_pieces
    cdef uint16_t[::1] ended_copies
    cdef uint16_t[::1] ended_splits
    cdef uint64_t[::1] ended_copying_ns
    cdef uint64_t[::1] ended_redirecting_ns
    cdef int64_t open(self, uint64_t head) except -1 nogil
    cdef int64_t decide(self, uint64_t head, uint64_t way, uint64_t reason) except -1 nogil
    cdef int64_t weigh(self, uint64_t head, uint64_t copying_ns, uint64_t redirecting_ns) except -1 nogil
    @cython.locals(at=uint64_t)
    cdef int64_t close(self, uint64_t head, uint64_t kind, uint64_t length, uint64_t segments, uint64_t inline, uint64_t crew) except -1 nogil
