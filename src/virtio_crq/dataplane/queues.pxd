# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport uint64_t

from virtio_crq.dataplane.service cimport Service
from virtio_crq.dataplane.sidequeue cimport SideQueue
from virtio_crq.dataplane.staging cimport Staging
from virtio_crq.platform.port cimport Port

cdef class Queues:
    cdef readonly Port port
    cdef readonly Staging staging
    cdef readonly uint64_t max_copy
    cdef readonly dict refusals
    cdef readonly dict table
    cdef readonly dict sides
    cdef readonly SideQueue aside
    cdef readonly list leaving
    cdef Service paired
    cdef readonly list services
    cdef readonly list stores
    cdef Service last
    cdef public uint64_t armed
    cdef public uint64_t rewired
