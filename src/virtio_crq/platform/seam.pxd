# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "seam.h" nogil:
    enum: SEAM_VERSION
    enum: SEAM_REGISTERS
    enum: SEAM_RECORD
    const char *SEAM_CAPSULE
    struct seam_copy:
        uint64_t remote
        uint64_t local
        uint32_t length
        uint32_t outward
    struct seam_transfer:
        uint64_t remote
        uint64_t position
        uint32_t length
        uint32_t file
        uint32_t write
        int64_t moved
    struct seam_port:
        uint64_t version
        void *context
        uint8_t *memory
        uint64_t size
        int64_t (*call)(void *context, uint64_t operation, uint64_t *registers) noexcept nogil
        int64_t (*copy)(void *context, const seam_copy *vector, uint64_t count, uint64_t *done) noexcept nogil
        int64_t (*send)(void *context, const uint64_t (*entries)[2], uint64_t count, uint64_t *done) noexcept nogil
        int64_t (*map)(void *context, uint64_t bus, uint64_t offset, uint64_t length, uint64_t access) noexcept nogil
        int64_t (*unmap)(void *context, uint64_t bus, uint64_t length) noexcept nogil
        int64_t (*signal)(void *context, uint64_t enabled) noexcept nogil
        int64_t (*storage)(void *context, uint64_t unit, uint64_t bus, uint64_t size) noexcept nogil
        int64_t (*lend)(void *context, int descriptor) noexcept nogil
        void (*reclaim)(void *context, uint64_t file) noexcept nogil
        int64_t (*transfer)(void *context, seam_transfer *vector, uint64_t count) noexcept nogil
        int64_t (*queue_open)(void *context, uint64_t bus, uint64_t length, uint64_t *out) noexcept nogil
        int64_t (*queue_close)(void *context, uint64_t handle) noexcept nogil
        int64_t (*queue_send)(void *context, uint64_t handle, const uint64_t *words) noexcept nogil
        int64_t (*queue_batch)(void *context, uint64_t handle, uint64_t bus, uint64_t count) noexcept nogil
        int64_t (*queue_signal)(void *context, uint64_t interrupt, uint64_t enabled) noexcept nogil
        int descriptor
    enum: SEAM_VECTOR
    struct seam_handle:
        seam_port *port
        uint8_t *memory
        uint64_t size
        int fault
        uint64_t staged
        uint64_t done
    seam_handle *seam_handle_new(void *port)
    void seam_handle_close(seam_handle *handle)
    void seam_handle_free(seam_handle *handle)
    int64_t seam_flush(seam_handle *handle)
    int64_t seam_stage(seam_handle *handle, uint64_t remote, uint64_t local, uint64_t length, uint64_t outward)
    uint64_t seam_extend(seam_handle *handle, uint64_t remote, uint64_t local, uint64_t length, uint64_t outward, uint64_t most)
    int64_t seam_stage_transfer(seam_handle *handle, uint64_t file, uint64_t remote, uint64_t length, uint64_t position, uint64_t write)
    int64_t seam_transfer_all(seam_handle *handle)
    int64_t seam_moved(seam_handle *handle, uint64_t index)
    int64_t seam_send(seam_handle *handle, uint64_t high, uint64_t low)
    int64_t seam_queue_send(seam_handle *handle, uint64_t queue, uint64_t offset)
    uint64_t seam_load8(seam_handle *handle, uint64_t offset)
    uint64_t seam_load16(seam_handle *handle, uint64_t offset)
    uint64_t seam_load32(seam_handle *handle, uint64_t offset)
    uint64_t seam_load64(seam_handle *handle, uint64_t offset)
    void seam_store8(seam_handle *handle, uint64_t offset, uint64_t value)
    void seam_store16(seam_handle *handle, uint64_t offset, uint64_t value)
    void seam_store32(seam_handle *handle, uint64_t offset, uint64_t value)
    void seam_store64(seam_handle *handle, uint64_t offset, uint64_t value)
    uint64_t seam_acquire8(seam_handle *handle, uint64_t offset)
    void seam_release8(seam_handle *handle, uint64_t offset, uint64_t value)
    uint64_t seam_acquire16(seam_handle *handle, uint64_t offset)
    void seam_release16(seam_handle *handle, uint64_t offset, uint64_t value)
    uint64_t seam_swap64(uint64_t value)
    void seam_move(seam_handle *handle, uint64_t source, uint64_t destination, uint64_t length)
    void seam_fence()
    void seam_pause()
    void seam_yield()
