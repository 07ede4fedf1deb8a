/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* What the plugin was given on QEMU's command line: numbers of inherited descriptors. */
#ifndef VIRTIO_CRQ_INHERITANCE_H
#define VIRTIO_CRQ_INHERITANCE_H

#include "attachment.h"

struct inheritance {
	struct hv_attachment *attachment;
	int control;	 /* the socket to whoever started the guest */
	int hypervisor;	 /* the connection to the machine's daemon, -1: none; it ends with the machine */
	uint64_t entry;	 /* where the kernel is entered */
	uint64_t bells;	 /* unit address of the first borrowed terminal */
	int probe;	 /* only asked whether this QEMU takes us */
};

/* `words` are NAME=VALUE. Null when all is well, else what is wrong. */
const char *inherit(struct inheritance *given, int count, char **words);

#endif
