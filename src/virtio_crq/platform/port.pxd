# SPDX-License-Identifier: Apache-2.0
cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.pycapsule cimport PyCapsule_CheckExact, PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.platform.seam cimport *

# A value no load is likely to return: Cython looks for an exception only when it sees it.
cdef extern from *:
    """
    #define SEAM_ODD 0xbadc0ffee0ddf00dULL
    static const char *seam_at(struct seam_handle *handle, uint64_t offset) { return (const char *)handle->memory + offset; }
    static void seam_put(struct seam_handle *handle, uint64_t offset, const char *data, uint64_t length)
    { memcpy(handle->memory + offset, data, length); }
    """
    const char *seam_at(seam_handle *handle, uint64_t offset)
    void seam_put(seam_handle *handle, uint64_t offset, const char *data, uint64_t length)

@cython.final
cdef class Port:
    cdef seam_handle *handle
    cdef object owner
    cdef object __weakref__
    cdef readonly uint64_t size
    cdef readonly uint64_t done
    cdef int64_t _fault(self, uint64_t offset, uint64_t width) except -1 nogil
    cpdef uint64_t load8(self, uint64_t offset) except? 0xbadc0ffee0ddf00d nogil
    cpdef uint64_t load16(self, uint64_t offset) except? 0xbadc0ffee0ddf00d nogil
    cpdef uint64_t load32(self, uint64_t offset) except? 0xbadc0ffee0ddf00d nogil
    cpdef uint64_t load64(self, uint64_t offset) except? 0xbadc0ffee0ddf00d nogil
    cpdef uint64_t load64be(self, uint64_t offset) except? 0xbadc0ffee0ddf00d nogil
    cpdef int64_t store8(self, uint64_t offset, uint64_t value) except -1 nogil
    cpdef int64_t store16(self, uint64_t offset, uint64_t value) except -1 nogil
    cpdef int64_t store32(self, uint64_t offset, uint64_t value) except -1 nogil
    cpdef int64_t store64(self, uint64_t offset, uint64_t value) except -1 nogil
    cpdef uint64_t acquire8(self, uint64_t offset) except? 0xbadc0ffee0ddf00d nogil
    cpdef int64_t release8(self, uint64_t offset, uint64_t value) except -1 nogil
    cpdef uint64_t acquire16(self, uint64_t offset) except? 0xbadc0ffee0ddf00d nogil
    cpdef int64_t release16(self, uint64_t offset, uint64_t value) except -1 nogil
    cpdef int64_t fence(self) noexcept nogil
    cpdef int64_t move(self, uint64_t source, uint64_t destination, uint64_t length) except -1 nogil
    cpdef int64_t stage(self, uint64_t remote, uint64_t local, uint64_t length, uint64_t outward) noexcept nogil
    cpdef uint64_t extend(self, uint64_t remote, uint64_t local, uint64_t length, uint64_t outward, uint64_t most) noexcept nogil
    cpdef int64_t flush(self) noexcept nogil
    cpdef int64_t send(self, uint64_t high, uint64_t low) noexcept nogil
    cpdef int64_t map(self, uint64_t bus, uint64_t offset, uint64_t length, uint64_t access) noexcept nogil
    cpdef int64_t unmap(self, uint64_t bus, uint64_t length) noexcept nogil
    cpdef int64_t signal(self, uint64_t enabled) noexcept nogil
    cpdef int64_t storage(self, uint64_t unit, uint64_t bus, uint64_t size) noexcept nogil
    cpdef int64_t lend(self, int descriptor) noexcept nogil
    cpdef int64_t reclaim(self, uint64_t file) noexcept nogil
    cpdef int64_t stage_transfer(self, uint64_t file, uint64_t remote, uint64_t length, uint64_t position, uint64_t write) noexcept nogil
    cpdef int64_t transfer(self) noexcept nogil
    cpdef int64_t moved(self, uint64_t index) noexcept nogil
    @cython.locals(registers=uint64_t[2], answer=int64_t)
    cpdef tuple queue_open(self, uint64_t bus, uint64_t length)
    cpdef int64_t queue_close(self, uint64_t queue) noexcept nogil
    @cython.locals(answer=int64_t)
    cpdef int64_t queue_send(self, uint64_t queue, uint64_t offset) except? -987654321 nogil
    cpdef int64_t queue_batch(self, uint64_t queue, uint64_t bus, uint64_t count) noexcept nogil
    cpdef int64_t queue_signal(self, uint64_t interrupt, uint64_t enabled) noexcept nogil

@cython.locals(registers=uint64_t[9], answer=int64_t, index=int64_t)
cdef tuple _call(seam_handle *handle, uint64_t operation, tuple arguments)

cpdef int64_t pause() noexcept nogil

cpdef int64_t give_way() noexcept nogil
