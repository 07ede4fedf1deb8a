# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint64_t

from virtio_crq.dataplane.blockdriver cimport BlockDriver
from virtio_crq.dataplane.front cimport Front, arrived, credit_returned, listen, settle, used_told
from virtio_crq.dataplane.kernel cimport doze
from virtio_crq.platform.channel cimport Channel, entry_waits, take_from
from virtio_crq.platform.port cimport Port, give_way, pause

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    /* SAFETY: writes one local of its own. */
    static uint64_t load_now(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
    """
    uint64_t load_now() noexcept nogil

cdef uint64_t BUCKETS, FLOW, LOOKS, SECTOR_BYTES, WIDE
cdef int64_t AN_ENTRY, CREDIT, NO_ENTRY, NOTHING, USED
cdef int64_t IDLE, WORKED, STRANGE

@cython.final
cdef class LoadGenerator:
    cdef readonly BlockDriver driver
    cdef readonly Channel channel
    cdef readonly uint64_t completed
    cdef readonly uint64_t failed
    cdef readonly uint64_t batches
    cdef readonly uint64_t bounced
    cdef readonly uint64_t started
    cdef readonly uint64_t ended
    cdef readonly Front front
    cdef Port port
    cdef readonly uint64_t over
    cdef public int64_t strange
    cdef public uint64_t woken
    cdef readonly int descriptor
    cdef public LoadGenerator next
    cdef readonly LoadGenerator beside
    cdef uint64_t signals
    cdef uint64_t buffers, bounces, armed, heard
    cdef uint64_t device, queue
    cdef readonly uint64_t block
    cdef uint64_t kind, depth, blocks, sequential
    cdef uint64_t state, cursor, issued, limit, deadline, held, drawn, active
    cdef uint64_t[::1] starts
    cdef uint64_t[::1] buckets

    cpdef int64_t turn(self, uint64_t spins, int64_t nanoseconds=*) except -2
    @cython.locals(kind=int64_t, idle=uint64_t, vain=uint64_t, before=uint64_t, waits=int64_t)
    cdef int64_t _work(self, uint64_t spins, int64_t nanoseconds) except -2 nogil
    @cython.locals(looks=uint64_t)
    cdef int64_t _look_on(self, uint64_t spins) except -2 nogil
    cdef int64_t _doze(self, int64_t nanoseconds) except -2 nogil
    cdef int64_t _serve_all(self) except -2 nogil
    cpdef uint64_t answered(self) noexcept nogil
    cdef int64_t _all_done(self) except -2 nogil
    cdef int64_t _slipped(self) except -2 nogil
    cdef int64_t _arm_all(self) except -2 nogil
    cdef int64_t _unarm_all(self) noexcept nogil
    cdef int64_t _unarm(self) noexcept nogil
    @cython.locals(kind=int64_t)
    cdef int64_t _listen(self) except -2 nogil
    cdef int64_t _hear(self, int64_t kind) except -2 nogil
    cdef int64_t _done(self) except -2 nogil
    @cython.locals(found=int64_t, rest=int64_t)
    cpdef int64_t sweep(self) except -2 nogil
    @cython.locals(came=uint64_t, kind=int64_t, before=uint64_t)
    cpdef int64_t look(self) except -2 nogil
    cpdef int64_t arm(self) except -2
    @cython.locals(slot=int64_t, now=uint64_t)
    cdef int64_t _serve(self) except -2 nogil
    @cython.locals(slot=int64_t)
    cdef int64_t _fill(self, uint64_t now) except -2 nogil
    cdef uint64_t _next(self) except? 0xbadc0ffee0ddf00d nogil
    cdef int64_t _bounce(self, uint64_t source, uint64_t destination) except -2 nogil
    @cython.locals(bucket=uint64_t)
    cdef int64_t _record(self, uint64_t elapsed) except -2 nogil

@cython.locals(shift=uint64_t)
cpdef uint64_t bucket_of(uint64_t value) noexcept nogil
