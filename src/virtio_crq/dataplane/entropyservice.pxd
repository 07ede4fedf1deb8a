# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.faults cimport refuse
from virtio_crq.dataplane.kernel cimport random
from virtio_crq.dataplane.service cimport Service

cdef uint64_t LIMIT

cdef class EntropyService(Service):
    @cython.locals(index=uint64_t)
    cdef int64_t run(self, uint64_t count) except -1 nogil
    @cython.locals(length=uint64_t, at=int64_t)
    cdef int64_t advance(self, uint64_t head) except -1 nogil
