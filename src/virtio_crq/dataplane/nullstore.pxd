# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.kernel cimport zero
from virtio_crq.dataplane.store cimport Store
from virtio_crq.platform.port cimport Port

cdef int64_t DONE, FAILED

cdef class NullStore(Store):
    cdef int64_t read(self, Port port, uint64_t offset, uint64_t length, uint64_t position, uint64_t token) except -1 nogil
    cdef int64_t write(self, Port port, uint64_t offset, uint64_t length, uint64_t position, uint64_t stable, uint64_t token) except -1 nogil
