/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* The storage adapter below a port: files it was given, and a stretch of its table for what the port redirects. */
#ifndef VIRTIO_CRQ_STORAGE_H
#define VIRTIO_CRQ_STORAGE_H

#include "redirect.h"

#define HV_FILES 256

struct hv_storage {
	struct hv_caller *caller;  /* the port's, for transfers */
	struct hv_caller *general; /* claimed for the time of one call by number */
	struct hv_adapter *server; /* the port's end of the connection */
	struct hv_adapter *adapter; /* null until the port was given one */
	uint64_t ioba, pages;	   /* its stretch of the table */
	uint64_t list;		   /* as in hv_port: a page for H_PUT_RTCE_INDIRECT, 0: none */
	int file[HV_FILES];	   /* descriptor + 1; 0: free */
};

int64_t hv_storage_use(struct hv_storage *storage, uint64_t unit_address, uint64_t bus, uint64_t size);
int64_t hv_storage_lend(struct hv_storage *storage, int descriptor);
void hv_storage_reclaim(struct hv_storage *storage, uint64_t file);
void hv_storage_close(struct hv_storage *storage);
/* Each transfer gets what it moved: bytes, or a negative number of errno when it was not made or not redirected. */
int64_t hv_storage_transfer(struct hv_storage *storage, struct seam_transfer *vector, uint64_t count);

#endif
