# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "raw.h" nogil:
    struct raw_job:
        int fd
        uint64_t blocks
        uint32_t size
        uint32_t depth
        int write
        int sequential
        uint64_t nanoseconds
        uint64_t ops
        uint64_t elapsed
    struct raw_pin:
        void *address
        uint64_t length
        int locked
    const uint32_t RAW_DEPTH_MAX
    int64_t raw_pread(raw_job *job)
    int64_t raw_uring(raw_job *job)
    int64_t raw_resident(void *address, uint64_t length)
    int64_t pin_file "raw_pin"(raw_pin *pin, int fd, uint64_t length)
    void raw_release(raw_pin *pin)

@cython.final
cdef class Job:
    cdef raw_job job
    @cython.locals(answer=int64_t)
    cdef int64_t _run(self, int uring) except? -1

@cython.final
cdef class Pin:
    cdef raw_pin pin
