/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Numbers of PAPR that the engine answers to and with. Tests hold them against virtio_crq.papr. */
#ifndef VIRTIO_CRQ_CODES_H
#define VIRTIO_CRQ_CODES_H

#define H_SUCCESS 0
#define H_BUSY 1
#define H_CLOSED 2
#define H_CONSTRAINED 4
#define H_LONG_BUSY_1_MS 9900
#define H_LONG_BUSY_10_MS 9901
#define H_HARDWARE (-1)
#define H_FUNCTION (-2)
#define H_PARAMETER (-4)
#define H_NOT_FOUND (-7)
#define H_PERMISSION (-11)
#define H_DROPPED (-12)
#define H_S_PARM (-13)
#define H_D_PARM (-14)
#define H_R_PARM (-15)
#define H_RESOURCE (-16)
#define H_P4 (-57)
#define H_IN_USE (-77)

/* X(name, opcode): the calls this engine has; anything else is H_Function. The order is that of the counters. */
#define HV_CALLS(X)                                                                                                   \
	X(H_GET_TCE, 0x1C)                                                                                            \
	X(H_PUT_TCE, 0x20)                                                                                            \
	X(H_REG_CRQ, 0xFC)                                                                                            \
	X(H_FREE_CRQ, 0x100)                                                                                          \
	X(H_VIO_SIGNAL, 0x104)                                                                                        \
	X(H_SEND_CRQ, 0x108)                                                                                          \
	X(H_COPY_RDMA, 0x110)                                                                                         \
	X(H_WRITE_RDMA, 0x128)                                                                                        \
	X(H_READ_RDMA, 0x12C)                                                                                         \
	X(H_STUFF_TCE, 0x138)                                                                                         \
	X(H_PUT_TCE_INDIRECT, 0x13C)                                                                                  \
	X(H_VIOCTL, 0x2A8)                                                                                            \
	X(H_ENABLE_CRQ, 0x2B0)                                                                                        \
	X(H_PUT_RTCE, 0x10C)                                                                                          \
	X(H_PUT_RTCE_INDIRECT, 0x140)                                                                                 \
	X(H_REMOVE_RTCE, 0x24C)                                                                                       \
	X(H_LIOBN_ATTRIBUTES, 0x240)                                                                                  \
	X(H_REG_SUB_CRQ, 0x2DC)                                                                                       \
	X(H_FREE_SUB_CRQ, 0x2E0)                                                                                      \
	X(H_SEND_SUB_CRQ, 0x2E4)                                                                                      \
	X(H_SEND_SUB_CRQ_INDIRECT, 0x2E8)

#define HV_OPCODE(name, opcode) OP_##name = opcode,
#define HV_INDEX(name, opcode) CALL_##name,
enum hv_opcode { HV_CALLS(HV_OPCODE) };
enum hv_call_index { HV_CALLS(HV_INDEX) CALL_OTHER, CALL_LIMIT };
#undef HV_OPCODE
#undef HV_INDEX

#define VIOCTL_GET_PARTNER_INFO 0x8
#define VIOCTL_DISABLE_ALL_INTERRUPTS 0xA
#define VIOCTL_DISABLE_INTERRUPT 0xB
#define VIOCTL_ENABLE_INTERRUPT 0xC
#define VIOCTL_GET_PARTNER_UUID 0x10
#define VIOCTL_GET_MAX_REDIRECTED_MAPPINGS 0x14
#define VIOCTL_ENABLE_PREPARE_FOR_SUSPEND 0x1D
#define VIOCTL_READY_FOR_SUSPEND 0x1E

#define EVENT_PARTNER_FAILED 0x01
#define EVENT_PARTNER_DEREGISTERED 0x02
#define EVENT_PARTNER_SUSPENDED 0x06
#define EVENT_OVERWROTE 0x20 /* status in byte 3: an entry was overlaid */

#define TCE_READ 1u
#define TCE_WRITE 2u
#define TCE_ACCESS 3u
#define TCE_PAGE 4096u
#define TCE_LIST 512u

#endif
