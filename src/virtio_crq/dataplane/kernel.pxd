# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free

from virtio_crq.platform.port cimport Port
from virtio_crq.platform.seam cimport seam_handle

cdef extern from "kernel.h" nogil:
    struct kernel_memory:
        pass
    struct kernel_uring:
        uint64_t token
        int64_t result
    int64_t kernel_transfer(int fd, seam_handle *handle, uint64_t offset, uint64_t length, uint64_t position, int operation, int now)
    int64_t kernel_in_memory(int fd)
    int64_t kernel_wait(int fd, int64_t nanoseconds)
    int64_t kernel_now()
    int64_t kernel_doze(int fd, int64_t nanoseconds)
    int64_t kernel_zero(seam_handle *handle, uint64_t offset, uint64_t length)
    int64_t kernel_random(seam_handle *handle, uint64_t offset, uint64_t length)
    kernel_memory *kernel_memory_new(uint64_t size)
    void kernel_memory_free(kernel_memory *memory)
    int64_t kernel_memory_move(kernel_memory *memory, seam_handle *handle, uint64_t offset, uint64_t length, uint64_t position, int operation)
    int64_t kernel_uring_open(kernel_uring *uring, uint32_t entries, int wakeup)
    kernel_uring *kernel_uring_new()
    void kernel_uring_close(kernel_uring *uring)
    void kernel_uring_free(kernel_uring *uring)
    int64_t kernel_uring_queue(kernel_uring *uring, int fd, seam_handle *handle, uint64_t offset, uint64_t length, uint64_t position, int operation, uint64_t token)
    int64_t kernel_uring_enter(kernel_uring *uring)
    int64_t kernel_uring_reap(kernel_uring *uring)

cdef extern from "writerring.h" nogil:
    struct writer_ring:
        uint64_t token
        int64_t result
    writer_ring *writer_ring_new(int fd, int wakeup)
    int64_t writer_ring_queue(writer_ring *ring, seam_handle *handle, uint64_t offset, uint64_t length, uint64_t position, uint64_t token)
    void writer_ring_ask(writer_ring *ring)
    int64_t writer_ring_reap(writer_ring *ring)
    int64_t writer_ring_expect(writer_ring *ring)
    void writer_ring_run(writer_ring *ring)
    void writer_ring_stop(writer_ring *ring)
    int64_t writer_ring_granted(int64_t granted, int64_t waited)

cdef extern from "residentpages.h" nogil:
    struct resident_pages:
        uint64_t reads
        uint64_t forgotten
    resident_pages *resident_new(int fd, uint64_t size)
    void resident_free(resident_pages *pages)
    void resident_resize(resident_pages *pages, uint64_t size)
    void resident_note(resident_pages *pages, uint64_t position, uint64_t length)
    int64_t resident_read(resident_pages *pages, seam_handle *handle, uint64_t offset, uint64_t length, uint64_t position)

cpdef int64_t transfer(int fd, Port port, uint64_t offset, uint64_t length, uint64_t position, int operation, int now) noexcept nogil
cpdef int64_t in_memory(int fd) noexcept nogil
cpdef int64_t wait(int fd, int64_t nanoseconds) except *
cpdef int64_t now() noexcept nogil
cpdef int64_t doze(int fd, int64_t nanoseconds) noexcept nogil
cpdef int64_t zero(Port port, uint64_t offset, uint64_t length) noexcept nogil
cpdef int64_t random(Port port, uint64_t offset, uint64_t length) noexcept nogil
cpdef int64_t writer_granted(int64_t granted, int64_t waited) noexcept nogil

@cython.final
cdef class Memory:
    cdef kernel_memory *memory
    cpdef int64_t move(self, Port port, uint64_t offset, uint64_t length, uint64_t position, int operation) noexcept nogil

@cython.final
cdef class Submission:
    cdef kernel_uring *uring
    cdef readonly uint64_t token
    cdef readonly int64_t result
    cpdef int64_t queue(self, int fd, Port port, uint64_t offset, uint64_t length, uint64_t position, int operation, uint64_t token) noexcept nogil
    cpdef int64_t enter(self) noexcept nogil
    cpdef int64_t reap(self) noexcept nogil

@cython.final
cdef class WriterRing:
    cdef writer_ring *ring
    cdef readonly uint64_t token
    cdef readonly int64_t result
    cpdef int64_t queue(self, Port port, uint64_t offset, uint64_t length, uint64_t position, uint64_t token) noexcept nogil
    cpdef int64_t ask(self) noexcept nogil
    cpdef int64_t reap(self) noexcept nogil
    cpdef int64_t expect(self) noexcept nogil

@cython.final
cdef class ResidentPages:
    cdef resident_pages *pages
    cpdef int64_t note(self, uint64_t position, uint64_t length) noexcept nogil
    cpdef int64_t read(self, Port port, uint64_t offset, uint64_t length, uint64_t position) noexcept nogil
