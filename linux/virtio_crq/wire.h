/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/*
 * What travels between the two halves of virtio over CRQ: entries, message
 * bodies, numbers.  docs/spec/virtio-over-crq.md, sections 2, 3, 5 and 15.
 *
 * An entry is 16 bytes.  R5 and R6 of H_SEND_CRQ carry it big-endian; whatever
 * virtio-msg defines inside is little-endian.  No kernel header but
 * <linux/types.h> is needed, so that user space may include this file.
 */
#ifndef VIRTIO_CRQ_WIRE_H
#define VIRTIO_CRQ_WIRE_H

#include <linux/types.h>

/* As they travel, at whatever address they stand. */
#pragma pack(push, 1)

/* Byte 0 of an entry. */
#define VCRQ_HEADER_FREE	0x00
#define VCRQ_HEADER_COMMAND	0x80
#define VCRQ_HEADER_INIT	0xc0
#define VCRQ_HEADER_EVENT	0xff

/* Byte 1 of an initialization entry. */
#define VCRQ_INIT_CALL		0x01
#define VCRQ_INIT_COMPLETE	0x02

/* Byte 1 of a transport event, which only the hypervisor writes. */
#define VCRQ_EVENT_FAILED	0x01
#define VCRQ_EVENT_DEREGISTERED	0x02
#define VCRQ_EVENT_TERMINATED	0x04
#define VCRQ_EVENT_SUSPENDED	0x06
#define VCRQ_EVENT_FAILOVER	0x08
#define VCRQ_EVENT_PREPARE	0x09
#define VCRQ_EVENT_RESUMED	0x0a

/* Byte 1 of a command entry. */
#define VCRQ_FLAG_RESPONSE	0x01
#define VCRQ_FLAG_BUS		0x02
#define VCRQ_BODY_SHIFT		2
#define VCRQ_BODY_INLINE	0
#define VCRQ_BODY_AREA		1
#define VCRQ_BODY_HELLO		2

#define VCRQ_INLINE_MAX		8

struct vcrq_command {
	__u8 header;
	__u8 flags;
	__u8 msg_id;
	__u8 length;		/* of an inline payload */
	__le16 device;
	__u8 session;		/* low byte of the session number */
	__u8 sequence;		/* in announcements bit 0: a credit is returned */
	__u8 payload[VCRQ_INLINE_MAX];
};

/* The payload of an entry whose body is elsewhere. */
struct vcrq_area_place {
	__le16 slot;
	__le16 length;
	__le32 reserved;
};

struct vcrq_hello_place {
	__le32 ioba;
	__le16 length;
	__le16 reserved;
};

/* Transport requests. */
#define VCRQ_GET_DEVICE_INFO	0x02
#define VCRQ_GET_DEVICE_FEATURES 0x03
#define VCRQ_SET_DRIVER_FEATURES 0x04
#define VCRQ_GET_CONFIG		0x05
#define VCRQ_SET_CONFIG		0x06
#define VCRQ_GET_DEVICE_STATUS	0x07
#define VCRQ_SET_DEVICE_STATUS	0x08
#define VCRQ_GET_VQUEUE		0x09
#define VCRQ_SET_VQUEUE		0x0a
#define VCRQ_RESET_VQUEUE	0x0b
#define VCRQ_GET_SHM		0x0c
#define VCRQ_RESUME_DEVICE	0x80
#define VCRQ_RESUME_VQUEUE	0x81
#define VCRQ_GET_IDENTITY	0x82

/* Transport events. */
#define VCRQ_EVENT_CONFIG	0x40
#define VCRQ_EVENT_AVAIL	0x41
#define VCRQ_EVENT_USED		0x42
#define VCRQ_REFUSED		0xc1

/* Bus requests and events. */
#define VCRQ_GET_DEVICES	0x02
#define VCRQ_PING		0x03
#define VCRQ_HELLO		0x80
#define VCRQ_EVENT_DEVICE	0x40
#define VCRQ_CREDIT		0xc0

#define VCRQ_MESSAGE_HEADER	8	/* what virtio-msg counts beside the payload */
#define VCRQ_MESSAGE_MIN	264	/* the least maximum message */
#define VCRQ_CONFIG_PIECE	(VCRQ_MESSAGE_MIN - 20)
#define VCRQ_RING_ENTRIES_MIN	18
#define VCRQ_RING_SPARE		16	/* entries beside 2 x queues + devices */
#define VCRQ_FEATURE_BLOCKS	4
#define VCRQ_IDENTITY_SIZE	16

#define VCRQ_HELLO_MAGIC	0x51435256
#define VCRQ_REVISION		1
#define VCRQ_PUSH		0x1	/* transport feature */

#define VCRQ_CREDIT_AVAIL	0
#define VCRQ_CREDIT_USED	1

#define VCRQ_DEVICE_READY	1
#define VCRQ_DEVICE_REMOVED	2

struct vcrq_hello {
	__le32 magic;
	__le16 revision;
	__le16 lowest_revision;
	__le64 features;
	__le32 session;		/* the one that was lost, or 0 */
	__le32 max_message;
	__le32 ring_entries;
	__le16 max_devices;
	__le16 copy_granularity;
	__le64 area_address;
	__le16 area_slots;
	__le16 area_slot_size;
	__le32 reserved;
};

struct vcrq_welcome {
	__le32 magic;
	__le16 revision;
	__le16 highest_revision;
	__le64 features;
	__le32 session;
	__le32 max_message;
	__le32 ring_entries;
	__le16 max_devices;
	__le16 copy_granularity;
	__le32 copy_max;
	__le32 reserved;
};

struct vcrq_device_info {
	__le32 device_id;
	__le32 vendor_id;
	__le32 num_feature_bits;
	__le32 config_size;
	__le32 max_virtqueues;
	__le16 admin_vq_start;
	__le16 admin_vq_count;
};

/* GET_DEVICE_FEATURES asks with the first two fields. */
struct vcrq_features {
	__le32 block_index;
	__le32 num_blocks;
	__le32 features[VCRQ_FEATURE_BLOCKS];
};

struct vcrq_get_config {
	__le32 offset;
	__le32 length;
};

/* Answer of GET_CONFIG and SET_CONFIG, request of SET_CONFIG; data follows. */
struct vcrq_config {
	__le32 generation;
	__le32 offset;
	__le32 length;
};

struct vcrq_vqueue {
	__le32 index;
	__le32 max_size;
	__le32 cur_size;
	__le32 reserved;
	__le64 descriptors;
	__le64 driver_area;
	__le64 device_area;
};

struct vcrq_set_vqueue {
	__le32 index;
	__le32 reserved0;
	__le32 size;
	__le32 reserved1;
	__le64 descriptors;
	__le64 driver_area;
	__le64 device_area;
};

struct vcrq_resume_device {
	__le32 device_id;
	__le32 num_blocks;
	__u8 identity[VCRQ_IDENTITY_SIZE];
	__le32 features[VCRQ_FEATURE_BLOCKS];
};

/* num_heads heads, each __le16, follow. */
struct vcrq_resume_vqueue {
	__le32 index;
	__le32 size;
	__le64 descriptors;
	__le64 driver_area;
	__le64 device_area;
	__le16 avail_position;
	__le16 used_position;
	__le32 num_heads;
};

struct vcrq_resumed {
	__le32 status;
	__le32 outcome;
};

struct vcrq_event_config {
	__le32 status;
	__le32 generation;
};

/* EVENT_AVAIL and EVENT_USED; CREDIT says `which` in the place of position. */
struct vcrq_announcement {
	__le32 queue;
	__le32 position;
};

struct vcrq_refused {
	__le16 msg_id;
	__le16 flags;		/* bit 0: a bus message was refused */
	__le32 reason;
};

struct vcrq_get_devices {
	__le16 offset;
	__le16 count;
};

/* The answer of GET_DEVICES; a bitmap of count bits follows. */
struct vcrq_devices {
	__le16 offset;
	__le16 count;
	__le16 next_offset;
};

struct vcrq_event_device {
	__le16 device;
	__le16 state;
};

/* Records of pushed requests, 32 bytes, and of their completions, 16 bytes. */
#define VCRQ_RECORD_MARKER	0x80
#define VCRQ_RECORD_INLINED	0x1f	/* flags: how many bytes are inlined */
#define VCRQ_RECORD_TAIL	0x20
#define VCRQ_RECORD_WRITE	0x40
#define VCRQ_RECORD_LIST	0x80
#define VCRQ_INLINED_MOST	16
#define VCRQ_RECORD_ADDRESS_BITS 40

struct vcrq_record {
	__u8 marker;
	__u8 flags;
	__le16 head;
	__le16 device;
	__u8 queue;
	__u8 session;
	__le64 place;		/* address, and length from bit 40 on */
	__u8 inlined[VCRQ_INLINED_MOST];
};

struct vcrq_completion {
	__u8 marker;
	__u8 flags;
	__le16 head;
	__le16 device;
	__u8 queue;
	__u8 session;
	__le32 written;
	__u8 tail;
	__u8 reserved[3];
};

#pragma pack(pop)

#endif /* VIRTIO_CRQ_WIRE_H */
