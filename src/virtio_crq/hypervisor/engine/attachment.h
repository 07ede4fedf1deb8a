/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* The engine's interface: a process attached to a machine as one partition, and callers of hypercalls in it. */
#ifndef VIRTIO_CRQ_ATTACHMENT_H
#define VIRTIO_CRQ_ATTACHMENT_H

#include <stddef.h>

#include "seam.h"
#include "state.h"

enum hv_doorbell_kind { DOORBELL_EVENTFD, DOORBELL_BYTE };

struct hv_doorbell {
	int descriptor; /* rung here; -1: none here */
	int kind;
	int receiver; /* heard here: an eventfd is its own, a byte comes out of the other end of a socket pair. -1: not ours to hear */
};

struct hv_attachment {
	struct hv_header *state;
	uint64_t state_bytes;
	struct hv_partition *own;
	uint32_t partition;
	uint32_t references;
	uint8_t **ram; /* by partition; null where this partition has no connection */
	uint64_t *ram_bytes;
	struct hv_doorbell *doorbell; /* by adapter */
};

/* Maps the state; null with errno, or with `why` set, when it is not one of ours. References: one, the caller's. */
struct hv_attachment *hv_attach(int state, uint32_t partition, const char **why);
/* Gives the attachment the RAM of a partition, its own or a partner's. 0, or -1 with errno. */
int hv_attach_ram(struct hv_attachment *attachment, uint32_t partition, int ram);
/* Gives it the doorbell of an adapter; the descriptor is duplicated. 0, or -1 with errno. */
int hv_attach_doorbell(struct hv_attachment *attachment, uint32_t adapter, int descriptor, int kind);
/* The end at which an own adapter's byte doorbell is heard; duplicated as well. 0, or -1 with errno. */
int hv_attach_receiver(struct hv_attachment *attachment, uint32_t adapter, int descriptor);
void hv_detach(struct hv_attachment *attachment);

#define HV_SEGMENTS 72
#define HV_PIECES 4096

struct hv_segment {
	uint8_t *to;
	const uint8_t *from;
	uint64_t length;
};

/* One thread's right to make calls. Owns a publication, and the counters that go with it. */
struct hv_caller {
	struct hv_attachment *attachment;
	struct hv_header *state;
	struct hv_partition *own;
	struct hv_publication *publication;
	struct hv_counters *counters;
	uint64_t *claimed; /* where the claim stands, */
	uint64_t claim;	   /* and its bit */
	uint32_t general;  /* counters have a row per adapter */
	uint32_t generation;
	uint64_t random;
	struct hv_segment segment[HV_SEGMENTS];
	uint16_t cut[HV_PIECES + 1], order[HV_PIECES];
	uint64_t batch[HV_SUB_BATCH][HV_SUB_WORDS]; /* entries for a sub-CRQ while they are checked */
};

/* A caller for any adapter of the partition (a virtual processor, say). 0, or H_RESOURCE when all are taken. */
int64_t hv_caller_open(struct hv_caller *caller, struct hv_attachment *attachment);
int64_t hv_caller_open_adapter(struct hv_caller *caller, struct hv_attachment *attachment, struct hv_adapter *adapter);
void hv_caller_close(struct hv_caller *caller);

/* One hypercall: R4..R12 in and out. */
int64_t hv_call(struct hv_caller *caller, uint64_t opcode, uint64_t registers[SEAM_REGISTERS]);

/* How long a TCE call waits where it would answer H_Busy: after `alarm_ns` the machine is told whose call is in the way,
 * after `limit_ns` the answer is H_Busy. */
struct hv_patience {
	uint64_t alarm_ns, limit_ns;
};
/* For the virtual processors of guests, which do not call again. */
extern const struct hv_patience hv_guest_patience;
int64_t hv_call_patiently(struct hv_caller *caller, uint64_t opcode, uint64_t registers[SEAM_REGISTERS],
			  const struct hv_patience *patience);

/* An opened adapter behind the seam. Null with `code` set on failure. Keeps a reference to the attachment. */
struct seam_port *hv_port_open(struct hv_attachment *attachment, uint64_t unit_address, int64_t *code);
void hv_port_close(struct seam_port *port);
int64_t hv_port_transfer(struct seam_port *port, uint64_t unit_address, uint64_t ioba, uint64_t length, int file, int writes);

/* For the machine itself, attached as the partition in question. */
int64_t hv_reap(struct hv_attachment *attachment); /* H_BUSY: somebody's call is still inside; again */
int hv_obstructs(struct hv_header *state, uint32_t partition); /* a guest has waited for its call long enough */
int64_t hv_post_event(struct hv_attachment *attachment, uint64_t unit_address, uint64_t code);
int hv_zero(int ram, uint64_t bytes);

struct hv_adapter *hv_find(struct hv_header *state, const struct hv_partition *partition, uint64_t unit_address);

#endif
