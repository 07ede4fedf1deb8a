# SPDX-License-Identifier: Apache-2.0
from cpython.exc cimport PyErr_WriteUnraisable
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from libc.stdint cimport int64_t, uint8_t, uint64_t

from virtio_crq.platform.seam cimport SEAM_CAPSULE, SEAM_REGISTERS, SEAM_VERSION, seam_copy, seam_port, seam_transfer

# SAFETY: a capsule's context is the Host it was made from, with one reference held until the capsule dies; a port's
# context is the Host that it lies in, which whoever opened the port keeps alive.
cdef extern from *:
    """
    static void hosted_drop(PyObject *capsule) { Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule)); }
    static PyObject *hosted_capsule(void *port, const char *name, PyObject *host)
    {
        PyObject *capsule = PyCapsule_New(port, name, hosted_drop);
        if (capsule && !PyCapsule_SetContext(capsule, host))
            Py_INCREF(host);
        return capsule;
    }
    static PyObject *hosted_host(void *context) { Py_INCREF((PyObject *)context); return (PyObject *)context; }
    """
    object hosted_capsule(void *port, const char *name, object host)
    object hosted_host(void *context)

cdef class Host:
    cdef seam_port port
    cdef object view
    cdef object target

cpdef Host host(object target, object memory)

cdef int64_t _call(void *context, uint64_t operation, uint64_t *registers) noexcept with gil
cdef int64_t _copy(void *context, const seam_copy *vector, uint64_t count, uint64_t *done) noexcept with gil
cdef int64_t _send(void *context, const uint64_t (*entries)[2], uint64_t count, uint64_t *done) noexcept with gil
cdef int64_t _map(void *context, uint64_t bus, uint64_t offset, uint64_t length, uint64_t access) noexcept with gil
cdef int64_t _unmap(void *context, uint64_t bus, uint64_t length) noexcept with gil
cdef int64_t _signal(void *context, uint64_t enabled) noexcept with gil
cdef int64_t _storage(void *context, uint64_t unit, uint64_t bus, uint64_t size) noexcept with gil
cdef int64_t _lend(void *context, int descriptor) noexcept with gil
cdef void _reclaim(void *context, uint64_t file) noexcept with gil
cdef int64_t _transfer(void *context, seam_transfer *vector, uint64_t count) noexcept with gil
cdef int64_t _queue_open(void *context, uint64_t bus, uint64_t length, uint64_t *out) noexcept with gil
cdef int64_t _queue_close(void *context, uint64_t handle) noexcept with gil
cdef int64_t _queue_send(void *context, uint64_t handle, const uint64_t *words) noexcept with gil
cdef int64_t _queue_batch(void *context, uint64_t handle, uint64_t bus, uint64_t count) noexcept with gil
cdef int64_t _queue_signal(void *context, uint64_t interrupt, uint64_t enabled) noexcept with gil
cdef object _target(Host host)
