# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t

from virtio_crq.dataplane.kernel cimport now

@cython.final
cdef class Clock:
    cdef public int64_t held
    cdef int64_t now(self) noexcept nogil
