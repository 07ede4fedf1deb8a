/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* The guest's flattened device tree goes to whoever started the guest, and the edited one takes its place. */
#ifndef VIRTIO_CRQ_TREEEXCHANGE_H
#define VIRTIO_CRQ_TREEEXCHANGE_H

#include <stdint.h>

/* Bytes of the flattened tree at `offset` of a memory, 0 when there is none. */
uint32_t tree_at(const uint8_t *memory, uint64_t size, uint64_t offset);

/* Frames as in treeservice.py. Null when `tree` holds the edited one, else why not. Waits a bounded time. */
const char *tree_exchange(int control, uint8_t *tree, uint32_t bytes);

#endif
