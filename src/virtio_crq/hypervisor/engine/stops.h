/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Stop points: names between any two stores that others can see. A test arms one and the caller dies there. */
#ifndef VIRTIO_CRQ_STOPS_H
#define VIRTIO_CRQ_STOPS_H

#define HV_STOPS(X)                                                                                                   \
	X(publication_written)                                                                                        \
	X(tce_stored)                                                                                                 \
	X(tce_marked)                                                                                                 \
	X(tce_settled)                                                                                                \
	X(send_locked)                                                                                                \
	X(send_published)                                                                                             \
	X(send_intent_filled)                                                                                         \
	X(send_intent_valid)                                                                                          \
	X(send_slot_marked)                                                                                           \
	X(send_low_stored)                                                                                            \
	X(send_visible)                                                                                               \
	X(send_cursor_moved)                                                                                          \
	X(send_before_signal)                                                                                         \
	X(send_signalled)                                                                                             \
	X(send_intent_cleared)                                                                                        \
	X(send_withdrawn)                                                                                             \
	X(send_overlaid)                                                                                              \
	X(copy_published)                                                                                             \
	X(copy_piece)                                                                                                 \
	X(copy_done)                                                                                                  \
	X(register_locked)                                                                                            \
	X(register_cursor_reset)                                                                                      \
	X(register_queue_set)                                                                                         \
	X(register_open)                                                                                              \
	X(free_locked)                                                                                                \
	X(free_closing)                                                                                               \
	X(free_drained)                                                                                               \
	X(free_unclones)                                                                                              \
	X(free_event_sent)                                                                                            \
	X(free_closed)                                                                                                \
	X(signal_stored)                                                                                              \
	X(signal_found)                                                                                               \
	X(clone_published)                                                                                            \
	X(clone_linked)                                                                                               \
	X(clone_made)                                                                                                 \
	X(clone_stilled)                                                                                              \
	X(clone_unlinked)                                                                                             \
	X(clone_removed)                                                                                              \
	X(clone_bucketed)                                                                                             \
	X(transfer_published)                                                                                         \
	X(transfer_made)                                                                                              \
	X(sub_header_cleared)                                                                                         \
	X(sub_queue_set)                                                                                              \
	X(sub_open)                                                                                                   \
	X(sub_published)                                                                                              \
	X(sub_copied)                                                                                                 \
	X(sub_locked)                                                                                                 \
	X(sub_intent_filled)                                                                                          \
	X(sub_intent_valid)                                                                                           \
	X(sub_slot_marked)                                                                                            \
	X(sub_slot_meant)                                                                                             \
	X(sub_body_stored)                                                                                            \
	X(sub_visible)                                                                                                \
	X(sub_cursor_moved)                                                                                           \
	X(sub_before_signal)                                                                                          \
	X(sub_signalled)                                                                                              \
	X(sub_intent_cleared)                                                                                         \
	X(sub_withdrawn)                                                                                              \
	X(sub_closing)                                                                                                \
	X(sub_closed)

#define HV_STOP_INDEX(name) STOP_##name,
enum hv_stop { STOP_NONE, HV_STOPS(HV_STOP_INDEX) STOP_LIMIT };
#undef HV_STOP_INDEX

#ifdef STOP_POINTS
void hv_stop(enum hv_stop point);
#define STOP(name) hv_stop(STOP_##name)
#else
#define STOP(name) ((void)0)
#endif

/* Null-terminated names; empty unless this build has stop points. */
const char *const *hv_stop_names(void);
/* The `skip`+1st time this process comes by `name`, it gets `signal`. -1: no such point in this build. */
int hv_stop_arm(const char *name, int signal, unsigned skip);

#endif
