# SPDX-License-Identifier: Apache-2.0
"""An opened adapter as compiled and interpreted code both see it.

Always compiled: the interpreted data plane runs over this same binding, so both speeds meet the same memory.
Offsets are bytes into the partition's own RAM; bus addresses are I/O addresses in a window. Multi-byte loads and
stores are little-endian and need no alignment unless they order other accesses (acquire, release).
"""

import cython

from virtio_crq.errors import OutOfBounds, PlatformError


class Port:
    """One thread's handle on an adapter. Not to be shared between threads: the staged vector belongs to its owner."""

    def __cinit__(self, seam: object) -> None:
        capsule = seam if PyCapsule_CheckExact(seam) else seam.capsule
        self.handle = seam_handle_new(PyCapsule_GetPointer(capsule, SEAM_CAPSULE))
        if self.handle == cython.NULL:
            raise MemoryError("no memory for a port")
        if self.handle.port.version != SEAM_VERSION:
            raise PlatformError("open", -1, f"seam version {self.handle.port.version}, this build has {SEAM_VERSION}")
        self.owner = seam
        self.size = self.handle.size
        self.done = 0

    def __dealloc__(self) -> None:
        seam_handle_free(self.handle)

    def close(self) -> None:
        """Let go of the platform, whoever still holds this object: no memory is left, every call is refused.

        Its thread must have left it, and so must whatever works on its memory on behalf of that thread.
        """
        seam_handle_close(self.handle)
        self.size = 0
        self.owner = None

    def fileno(self) -> int:
        """A descriptor that is readable when the adapter's interrupt fired; read it to acknowledge."""
        return self.handle.port.descriptor

    def _fault(self, offset: int, width: int) -> int:
        self.handle.fault = 0
        with cython.gil:
            raise OutOfBounds(offset, width, self.size)

    def load8(self, offset: int) -> int:
        value = seam_load8(self.handle, offset)
        if self.handle.fault:
            self._fault(offset, 1)
        return value

    def load16(self, offset: int) -> int:
        value = seam_load16(self.handle, offset)
        if self.handle.fault:
            self._fault(offset, 2)
        return value

    def load32(self, offset: int) -> int:
        value = seam_load32(self.handle, offset)
        if self.handle.fault:
            self._fault(offset, 4)
        return value

    def load64(self, offset: int) -> int:
        value = seam_load64(self.handle, offset)
        if self.handle.fault:
            self._fault(offset, 8)
        return value

    def load64be(self, offset: int) -> int:
        return seam_swap64(self.load64(offset))

    def store8(self, offset: int, value: int) -> int:
        seam_store8(self.handle, offset, value)
        return self._fault(offset, 1) if self.handle.fault else 0

    def store16(self, offset: int, value: int) -> int:
        seam_store16(self.handle, offset, value)
        return self._fault(offset, 2) if self.handle.fault else 0

    def store32(self, offset: int, value: int) -> int:
        seam_store32(self.handle, offset, value)
        return self._fault(offset, 4) if self.handle.fault else 0

    def store64(self, offset: int, value: int) -> int:
        seam_store64(self.handle, offset, value)
        return self._fault(offset, 8) if self.handle.fault else 0

    def acquire8(self, offset: int) -> int:
        value = seam_acquire8(self.handle, offset)
        if self.handle.fault:
            self._fault(offset, 1)
        return value

    def release8(self, offset: int, value: int) -> int:
        seam_release8(self.handle, offset, value)
        return self._fault(offset, 1) if self.handle.fault else 0

    def acquire16(self, offset: int) -> int:
        value = seam_acquire16(self.handle, offset)
        if self.handle.fault:
            self._fault(offset, 2)
        return value

    def release16(self, offset: int, value: int) -> int:
        seam_release16(self.handle, offset, value)
        return self._fault(offset, 2) if self.handle.fault else 0

    def fence(self) -> int:
        """Full barrier: earlier loads and stores before later ones, both kinds."""
        seam_fence()
        return 0

    def read(self, offset: int, length: int) -> bytes:
        """A copy of one's own memory."""
        if length < 0 or offset < 0 or offset + length > self.size:
            raise OutOfBounds(offset, length, self.size)
        return PyBytes_FromStringAndSize(seam_at(self.handle, offset), length)

    def write(self, offset: int, data: bytes) -> None:
        """Store bytes into one's own memory."""
        if offset < 0 or offset + len(data) > self.size:
            raise OutOfBounds(offset, len(data), self.size)
        seam_put(self.handle, offset, data, len(data))

    def move(self, source: int, destination: int, length: int) -> int:
        """Copy within one's own memory."""
        seam_move(self.handle, source, destination, length)
        return self._fault(max(source, destination), length) if self.handle.fault else 0

    def stage(self, remote: int, local: int, length: int, outward: int) -> int:
        """Add one copy to the vector: `outward` 0 brings remote to local, 1 takes local to remote. -1 when full."""
        return seam_stage(self.handle, remote, local, length, outward)

    def extend(self, remote: int, local: int, length: int, outward: int, most: int) -> int:
        """Join a copy to the one staged last, where it goes on at both ends and stays within `most`: how many bytes."""
        return seam_extend(self.handle, remote, local, length, outward, most)

    def flush(self) -> int:
        """Ask for all staged copies, in order. Returns the platform's code; `done` tells how many were made."""
        answer = seam_flush(self.handle)
        self.done = self.handle.done
        return answer

    def send(self, high: int, low: int) -> int:
        """Send one 16-byte entry, given as two words, most significant byte first."""
        return seam_send(self.handle, high, low)

    def map(self, bus: int, offset: int, length: int, access: int) -> int:
        """Let the partner reach own memory [offset, offset+length) at `bus`; access 1 read, 2 write, 3 both."""
        return self.handle.port.map(self.handle.port.context, bus, offset, length, access)

    def unmap(self, bus: int, length: int) -> int:
        """Take the mapping back; on success no copy through it is running or will run."""
        return self.handle.port.unmap(self.handle.port.context, bus, length)

    def signal(self, enabled: int) -> int:
        """Turn the adapter's interrupt on or off."""
        return self.handle.port.signal(self.handle.port.context, enabled)

    def storage(self, unit: int, bus: int, size: int) -> int:
        """Let redirected transfers go through that storage adapter, by [bus, bus+size) of its window."""
        return self.handle.port.storage(self.handle.port.context, unit, bus, size)

    def lend(self, descriptor: int) -> int:
        """Give the platform a file for redirected transfers: its number there, or a negative code."""
        return self.handle.port.lend(self.handle.port.context, descriptor)

    def reclaim(self, file: int) -> int:
        """The platform forgets a file."""
        self.handle.port.reclaim(self.handle.port.context, file)
        return 0

    def stage_transfer(self, file: int, remote: int, length: int, position: int, write: int) -> int:
        """Add a transfer between the partner's whole pages and a lent file; its index, or -1 when there is no room."""
        return seam_stage_transfer(self.handle, file, remote, length, position, write)

    def transfer(self) -> int:
        """Have all staged transfers made, as far as they need no waiting; no page is reachable any more afterwards."""
        return seam_transfer_all(self.handle)

    def moved(self, index: int) -> int:
        """How many bytes a transfer moved, from its first on; negative when it was not made."""
        return seam_moved(self.handle, index)

    def queue_open(self, bus: int, length: int) -> tuple[int, int, int]:
        """Make own mapped memory a side queue: (code, handle for the partner to send to, number of its interrupt)."""
        answer = self.handle.port.queue_open(self.handle.port.context, bus, length, registers)
        return answer, registers[0], registers[1]

    def queue_close(self, queue: int) -> int:
        """Give a side queue back; on success no send into it is running or will run. H_Busy: call again."""
        return self.handle.port.queue_close(self.handle.port.context, queue)

    def queue_send(self, queue: int, offset: int) -> int:
        """Send the 32-byte record at `offset` of own memory to the partner's side queue."""
        answer = seam_queue_send(self.handle, queue, offset)
        return self._fault(offset, SEAM_RECORD) if self.handle.fault else answer

    def queue_batch(self, queue: int, bus: int, count: int) -> int:
        """Send `count` records that lie in one own mapped page at `bus`: all of them or none."""
        return self.handle.port.queue_batch(self.handle.port.context, queue, bus, count)

    def queue_signal(self, interrupt: int, enabled: int) -> int:
        """Turn a side queue's interrupt on or off; turning it on signals what waits."""
        return self.handle.port.queue_signal(self.handle.port.context, interrupt, enabled)

    def call(self, operation: int, *arguments: int) -> tuple[int, tuple[int, ...]]:
        """One call to the platform: up to nine input registers, (return code, nine output registers)."""
        return _call(self.handle, operation, arguments)


def pause() -> int:
    """Tell the processor that this is a polling loop."""
    seam_pause()
    return 0


def give_way() -> int:
    """Offer the processor to whoever may be waiting for it: two polling partitions can share one."""
    seam_yield()
    return 0


def _call(handle: object, operation: int, arguments: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    if len(arguments) > SEAM_REGISTERS:
        raise ValueError(f"{len(arguments)} arguments, but a call takes {SEAM_REGISTERS}")
    for index in range(SEAM_REGISTERS):
        registers[index] = arguments[index] if index < len(arguments) else 0
    with cython.nogil:
        answer = handle.port.call(handle.port.context, operation, registers)
    return answer, tuple([registers[index] for index in range(SEAM_REGISTERS)])
