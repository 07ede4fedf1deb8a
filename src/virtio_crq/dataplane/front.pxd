# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.driverring cimport DriverRing
from virtio_crq.platform.channel cimport Channel, tell_through

cdef uint64_t CREDIT_OVERRUN, CREDIT_UNOWED
cdef int64_t AVAIL, CREDIT

cdef class Front:
    cdef readonly DriverRing ring
    cdef readonly dict refusals
    cdef readonly uint64_t position
    cdef readonly uint64_t announced
    cdef readonly uint64_t known
    cdef readonly uint64_t told
    cdef readonly uint64_t credit
    cdef readonly uint64_t owed
    cdef readonly uint64_t pending
    cdef readonly uint64_t held
    cdef uint64_t unasked

    cpdef int64_t settle(self, Channel channel) except? -99
    cpdef int64_t used_told(self, uint64_t position, uint64_t credit) except -2
    cpdef int64_t credit_returned(self) except -2
    cdef int64_t publish(self) except -2 nogil
    cdef int64_t rearm(self) except -2 nogil
    cdef int64_t deliver(self) except -2 nogil
    cdef int64_t confirm(self, uint64_t position) except -2 nogil
    cdef int64_t sent(self) except -2 nogil
    cdef int64_t regained(self) except -2 nogil
    cdef int64_t arrived(self) except -2 nogil
    cdef int64_t listen(self, uint64_t enabled) except -2 nogil
    cdef int64_t refuse(self, uint64_t rule, uint64_t first, uint64_t second) except -2 with gil

@cython.locals(code=int64_t)
cpdef int64_t settle(Front front, Channel channel) except? -99 nogil
cpdef int64_t used_told(Front front, uint64_t position, uint64_t credit) except -2 nogil
cpdef int64_t credit_returned(Front front) except -2 nogil
cpdef int64_t arrived(Front front) except -2 nogil
cpdef int64_t listen(Front front, uint64_t enabled) except -2 nogil
