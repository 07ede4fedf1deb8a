# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.platform.channel cimport Channel

cdef extern from *:
    """
    #include <errno.h>
    #include <stdint.h>
    #include <unistd.h>
    /* SAFETY: reads eight bytes of its own. A counter that is full (EAGAIN) wakes its reader all the same. */
    static int64_t vhost_write(int descriptor)
    {
        const uint64_t one = 1;
        return write(descriptor, &one, sizeof one) < 0 && errno != EAGAIN ? -(int64_t)errno : 0;
    }
    """
    int64_t vhost_write(int descriptor)

cdef class KickChannel(Channel):
    cdef readonly int kick
    cdef readonly int call
    cdef readonly uint64_t kicks
    cpdef int64_t poll(self) except -2
    cpdef int64_t announce(self, uint64_t kind, uint64_t device, uint64_t queue, uint64_t position, uint64_t credit) except? -99
