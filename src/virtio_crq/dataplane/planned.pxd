# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.clock cimport Clock
from virtio_crq.dataplane.cost cimport Cost
from virtio_crq.dataplane.redirected cimport RedirectedBlockService

cdef uint64_t IN, OUT, UNSURE, TRIAL_EVERY, TIMED_EVERY, CHEAPER, COPIED, DEARER, REDIRECTED, TRIAL, UNKNOWN
cdef int64_t DONE

cdef class PlannedBlockService(RedirectedBlockService):
    cdef readonly Clock clock
    cdef readonly Cost reading
    cdef readonly Cost writing
    cdef readonly Cost fetching
    cdef readonly Cost sinking
    cdef readonly uint64_t reads
    cdef readonly uint64_t writes
    cdef uint64_t read_now
    cdef uint64_t written_now
    cdef readonly uint64_t transfers_until
    cdef readonly uint64_t store_until
    cdef uint64_t inward
    cdef uint64_t outward
    cdef uint64_t inward_bytes
    cdef uint64_t outward_bytes
    cdef int64_t bypass(self, uint64_t count) except -1 nogil
    cdef int64_t _time_all(self) except -1 nogil
    @cython.locals(length=uint64_t, inward=uint64_t, pieces=uint64_t, copying=uint64_t, redirecting=uint64_t, batch=uint64_t, better=uint64_t, chosen=uint64_t, reason=uint64_t)
    cdef int64_t worth(self, uint64_t head, uint64_t transfers) except -1 nogil
    @cython.locals(begun=int64_t, elapsed=int64_t)
    cdef int64_t transfer(self) except -1 nogil
    @cython.locals(left=uint64_t, index=uint64_t, moved=int64_t)
    cdef uint64_t _all_moved(self) except? 1 nogil
    @cython.locals(begun=int64_t, answer=int64_t)
    cdef int64_t ask(self, uint64_t head) except -1 nogil
