# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F821 — C names come from the .pxd; types for people stand in hosted.pyi
"""A port whose platform is a Python object: the loopback bus stands on it, and tests script it.

Always compiled, like `port`. Every function of the vtable takes the GIL and calls the method of the same name on the
target (see `hosted.pyi` for what a target offers). An exception there is reported as unraisable and answered -1.
"""

import mmap

import cython

NO_QUEUES = -2  # H_Function: a target that has no `queue_open` has no side queues


class Host:
    """Owns the vtable, the view of the memory, and the target; kept alive by its port.

    A port that is opened on this object holds it, and not its capsule: a target may know its port, and the garbage
    collector does not see through a capsule.
    """

    def __cinit__(self, target: object, memory: object) -> None:
        self.view = memoryview(memory)
        if self.view.readonly or not self.view.c_contiguous:
            raise BufferError("a port's memory is written, and of one piece")
        self.target = target
        self.port.version = SEAM_VERSION
        self.port.context = cython.cast(cython.p_void, self)
        self.port.memory = cython.cast(cython.pointer(uint8_t), PyMemoryView_GET_BUFFER(self.view).buf)
        self.port.size = self.view.nbytes
        self.port.call = _call
        self.port.copy = _copy
        self.port.send = _send
        self.port.map = _map
        self.port.unmap = _unmap
        self.port.signal = _signal
        self.port.storage = _storage
        self.port.lend = _lend
        self.port.reclaim = _reclaim
        self.port.transfer = _transfer
        self.port.queue_open = _queue_open
        self.port.queue_close = _queue_close
        self.port.queue_send = _queue_send
        self.port.queue_batch = _queue_batch
        self.port.queue_signal = _queue_signal
        self.port.descriptor = target.fileno()

    @property
    def capsule(self) -> object:
        return hosted_capsule(cython.address(self.port), SEAM_CAPSULE, self)


def host(target: object, memory: object) -> Host:
    """For a `Port`: `target` is the platform, `memory` (buffer or memfd) its own RAM."""
    if isinstance(memory, int):
        memory = mmap.mmap(memory, 0)
    return Host(target, memory)


def _call(context: object, operation: int, registers: object) -> int:
    host = hosted_host(context)
    try:
        code, answer = _target(host).call(operation, tuple([registers[index] for index in range(SEAM_REGISTERS)]))
        for index, value in enumerate(answer):
            if index < SEAM_REGISTERS:
                registers[index] = value
        return code
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _copy(context: object, vector: object, count: int, done: object) -> int:
    host = hosted_host(context)
    try:
        copies = []
        for index in range(count):
            copies.append((vector[index].remote, vector[index].local, vector[index].length, vector[index].outward))
        code, made = _target(host).copy(copies)
        done[0] = made
        return code
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _send(context: object, entries: object, count: int, done: object) -> int:
    host = hosted_host(context)
    try:
        batch = []
        for index in range(count):
            batch.append(int(entries[index][0]).to_bytes(8, "big") + int(entries[index][1]).to_bytes(8, "big"))
        code, sent = _target(host).send(batch)
        done[0] = sent
        return code
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _map(context: object, bus: int, offset: int, length: int, access: int) -> int:
    host = hosted_host(context)
    try:
        return _target(host).map(bus, offset, length, access)
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _unmap(context: object, bus: int, length: int) -> int:
    host = hosted_host(context)
    try:
        return _target(host).unmap(bus, length)
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _signal(context: object, enabled: int) -> int:
    host = hosted_host(context)
    try:
        return _target(host).signal(enabled)
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _storage(context: object, unit: int, bus: int, size: int) -> int:
    host = hosted_host(context)
    try:
        return 0 if hasattr(_target(host), "transfer") else -1
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _queue_open(context: object, bus: int, length: int, out: object) -> int:
    host = hosted_host(context)
    try:
        out[0] = out[1] = 0
        if not hasattr(_target(host), "queue_open"):
            return NO_QUEUES
        code, handle, interrupt = _target(host).queue_open(bus, length)
        out[0] = handle
        out[1] = interrupt
        return code
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _lend(context: object, descriptor: int) -> int:
    host = hosted_host(context)
    try:
        return _target(host).lend(descriptor) if hasattr(_target(host), "lend") else -1
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _queue_close(context: object, handle: int) -> int:
    host = hosted_host(context)
    try:
        return _target(host).queue_close(handle)
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _reclaim(context: object, file: int) -> None:
    host = hosted_host(context)
    try:
        if hasattr(_target(host), "reclaim"):
            _target(host).reclaim(file)
    except BaseException:
        PyErr_WriteUnraisable(host)


def _transfer(context: object, vector: object, count: int) -> int:
    host = hosted_host(context)
    try:
        if not hasattr(_target(host), "transfer"):
            return -1
        for index in range(count):
            asked = (vector[index].file, vector[index].remote, vector[index].length, vector[index].position)
            vector[index].moved = _target(host).transfer(*asked, bool(vector[index].write))
        return 0
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _queue_send(context: object, handle: int, words: object) -> int:
    host = hosted_host(context)
    try:
        record = b"".join([int(words[index]).to_bytes(8, "big") for index in range(4)])
        return _target(host).queue_send(handle, record)
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _queue_batch(context: object, handle: int, bus: int, count: int) -> int:
    host = hosted_host(context)
    try:
        return _target(host).queue_batch(handle, bus, count)
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _queue_signal(context: object, interrupt: int, enabled: int) -> int:
    host = hosted_host(context)
    try:
        return _target(host).queue_signal(interrupt, enabled)
    except BaseException:
        PyErr_WriteUnraisable(host)
        return -1


def _target(host: Host) -> object:
    return host.target
