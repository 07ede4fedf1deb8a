/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The front-end of virtio over CRQ: what its files share.
 *
 * Three things nest: an adapter (one CRQ, one session), its virtio devices,
 * their queues.  Who may touch what:
 *
 * adapter->lock	phase, session, requests under way.  Interrupts off.
 * queue->lock		everything of the queue.  Interrupts off; taken inside
 *			a driver's own lock, so no callback is made under it.
 * device->ask		one request per device is outstanding (CRQ-F-9).
 * DRAINING		whoever holds this bit of adapter->flags takes entries
 *			out of the ring and calls drivers' callbacks.
 *
 * A kick may come from who prints, under the locks of a console.  So what may
 * happen in kicks, in interrupts or under DRAINING is counted there, and the
 * log is written by works (rules.c, devices.c).
 *
 * adapter->session_work runs alone on its queue: registers, greets, lists and
 * resumes, and never waits for a driver.  device->work adds and removes the
 * virtio device and may wait for its driver as long as that takes.
 */
#ifndef VIRTIO_CRQ_H
#define VIRTIO_CRQ_H

#include <linux/completion.h>
#include <linux/dma-map-ops.h>
#include <linux/interrupt.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/semaphore.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/virtio_ring.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <asm/vio.h>

#include "compat.h"
#include "rules.h"
#include "wire.h"

#define VCRQ_RING_BYTES		SZ_16K
#define VCRQ_RING_ENTRIES	(VCRQ_RING_BYTES / 16)
#define VCRQ_SLOT_BYTES		SZ_4K
#define VCRQ_HELLO_SLOT		0
#define VCRQ_SLOTS		16
#define VCRQ_DEVICES_MAX	128
#define VCRQ_QUEUES_MAX		64	/* of one device */
#define VCRQ_QUEUE_SIZE_MAX	1024
#define VCRQ_CONFIG_MAX		1024	/* bytes of configuration kept per device */
#define VCRQ_STASH		32
#define VCRQ_IOMMU_PAGE		SZ_4K
#define VCRQ_REQUEST_SECONDS	30
#define VCRQ_POOL_SHARE		16	/* of a window, at most, for pool and loans each */
#define VCRQ_CONSOLE_TRANSMIT	1	/* queues of a console */
#define VCRQ_CONTROL_TRANSMIT	3

enum vcrq_phase {
	VCRQ_CLOSED,		/* no CRQ is registered */
	VCRQ_REGISTERED,	/* the partner is away, or has not been heard */
	VCRQ_INITIALIZED,	/* HELLO may travel */
	VCRQ_ACTIVE,		/* there is a session */
	VCRQ_UNUSABLE,		/* HELLO was turned away; wait for another partner */
	VCRQ_RESETTING,		/* to be freed and registered again */
	VCRQ_ENABLING,		/* suspended: H_ENABLE_CRQ is due */
};

enum vcrq_flag {
	VCRQ_DRAINING,
	VCRQ_REMOVING,
	VCRQ_RESCAN,		/* what devices there are is to be asked again */
	VCRQ_GIVEN_UP,		/* no session carried on for away_seconds, nor does yet */
};

union vcrq_entry {
	struct vcrq_command command;
	__be64 word[2];
	u8 byte[16];
};

struct vcrq_adapter {
	struct vio_dev *vio;
	unsigned long flags;
	spinlock_t lock;
	enum vcrq_phase phase;
	u32 session;		/* our own name for it, see vcrq_name_session(); 0: none */
	u32 sessions;
	u32 number;		/* the device side's name for it */
	u32 lost_session;	/* the same of the one before */
	u32 life;		/* how often what was asked was given up */
	u32 resumed;		/* the session in which all devices were; session work */
	u64 called;		/* number of our 0xC001 that is not answered yet */
	u64 next_call;
	u8 sequence;
	u16 ring_entries;	/* the smaller of both rings */
	u32 max_message;

	union vcrq_entry *ring;
	dma_addr_t ring_dma;
	unsigned int cursor;
	union vcrq_entry stash[VCRQ_STASH];	/* taken by a polling kick */
	unsigned int stashed;	/* who holds DRAINING */
	void *area;
	dma_addr_t area_dma;
	void *resume;		/* a slot's bytes, for the session work */
	unsigned long free_slots;
	struct semaphore slots;
	struct list_head requests;

	struct mutex listing;	/* devices, against forgetting one */
	struct xarray devices;
	unsigned int device_count;
	unsigned int queue_count;	/* enabled queues; lock */

	u32 liobn;
	u64 window;		/* bytes */
	u64 window_left;	/* not promised to any queue yet; lock */
	struct vcrq_pool *pool;	/* NULL: no buffer is copied */
	struct vcrq_loans *loans;	/* NULL: none is mapped by announcement */
	u64 offered;		/* transport features in HELLO; session work */
	bool push;		/* requests are pushed in this session */
#ifndef VCRQ_VIRTIO_MAP_OPS
	const struct dma_map_ops *platform_ops;	/* NULL: those of the device */
	struct dma_map_ops own_ops;	/* the platform's, but two entries are ours */
#endif

	struct workqueue_struct *session_queue;
	struct workqueue_struct *device_queue;	/* waits for drivers */
	struct workqueue_struct *rescue_queue;	/* ends requests */
	struct work_struct session_work;
	struct work_struct drain_work;
	struct work_struct callback_work;
	struct delayed_work away_work;
	struct delayed_work retry_work;
	struct work_struct log_work;
	struct vcrq_tally tallies[VCRQ_RULES];
	u32 event;		/* of the transport's, that the log has not seen; 0: none */
};

struct vcrq_head {
	u32 writable;		/* bytes the device may write; U32_MAX: not known */
	u16 position;		/* in the device's avail ring */
	bool in_flight;
	bool reads;		/* the chain has more than a status to write */
};

struct vcrq_pushed {
	struct vcrq_record record;	/* as it was sent, but for the session */
	u8 *tail;		/* where the completion's last byte belongs, or NULL */
};

/*
 * A queue has two rings.  The driver's is private to this partition; only its
 * descriptor table is shown to the device, read-only.  The device's own avail
 * and used ring are another piece of memory.  The transport copies heads from
 * the one to the other before it announces them, and used entries back after
 * it has held them against what is in flight.  So nothing that a server writes
 * at whatever moment reaches the virtio core unchecked (CRQ-F-28).
 */
struct vcrq_queue {
	spinlock_t lock;
	struct vcrq_device *device;
	struct virtqueue *vq;
	u16 index;
	u16 size;
	bool enabled;
	bool event_idx;
	bool polled;		/* its driver spins for each buffer's return */
	bool callback_due;	/* a polling kick took what it used */

	void *pages;
	size_t pages_bytes;
	struct vring ring;	/* the driver's, in pages */
	dma_addr_t desc_dma;

	void *shared;
	size_t shared_bytes;
	dma_addr_t shared_dma;
	bool push;		/* records are in `shared`, instead of rings */
	struct vcrq_record *records;
	struct vcrq_completion *completions;
	struct vring_desc *lists;
	struct vcrq_pushed *pushed;	/* of each head */
	u16 list_next;
	bool lists_stand;	/* those of the return, until a credit comes back */
	__le16 *avail;		/* flags, index, ring[size], used_event */
	__le16 *used;		/* flags, index, then size entries, avail_event */

	struct vcrq_head *heads;
	const struct vcrq_head **order;	/* for the session work: resuming allocates nothing */
	u16 in_flight;
	/* Positions in the driver's rings; its and the device's differ by what was dropped. */
	u16 taken;
	u16 last_used;
	/* Positions in the device's rings. */
	u16 shown;		/* heads that were put there */
	u16 announced;		/* position of the last EVENT_AVAIL */
	u16 told;		/* position of the last EVENT_USED */
	u16 reaped;
	u32 session;		/* in which announcements count; 0: none */
	u32 resuming;		/* the session that was told what is in flight */
	bool started;		/* DRIVER_OK was answered: it may announce */
	bool credit;		/* EVENT_AVAIL may be sent */
	bool owed;		/* the device's credit is here */
	bool pending;		/* an announcement is due */
	bool unasked;		/* avail_event is the wish of a server that is gone */
};

enum vcrq_device_flag {
	VCRQ_DEV_BROKEN,	/* needs a reset: no I/O until its driver resets it */
	VCRQ_DEV_TOLD,		/* the driver was told so */
	VCRQ_DEV_GONE,		/* removed, or another one stands in its place */
	VCRQ_DEV_REGISTERED,
	VCRQ_DEV_CONFIG_STALE,
	VCRQ_DEV_NEEDS_DRIVER,	/* its session was lost while its driver probed */
	VCRQ_DEV_UNTOLD,	/* a message to it was dropped that no driver repeats */
	VCRQ_DEV_UNLOGGED,	/* the log has not seen that it stopped */
	VCRQ_DEV_NUMBERED,	/* a console whose driver has opened port 0 */
};

struct vcrq_device {
	struct virtio_device vdev;
	struct kref ref;
	struct vcrq_adapter *adapter;
	u16 number;
	unsigned long flags;
	struct mutex ask;
	struct mutex setup;	/* bring-up by the driver against resume by us */
	struct work_struct work;
	struct delayed_work break_work;

	enum vcrq_rule stopped_by;
	u32 device_id;
	u8 identity[VCRQ_IDENTITY_SIZE];
	u64 offered[2];
	u64 negotiated[2];
	u32 session;		/* in which the device was reset or resumed; 0: none */
	u8 status;

	u16 queue_max;
	u16 *queue_sizes;	/* after the limits of the window */
	u64 window_share;
	struct vcrq_queue **queues;	/* queue_max; NULL: not made */

	u32 config_bytes;
	u32 generation;
	u8 *config;		/* as the driver sees it */
	spinlock_t config_lock;
	u32 seg_limit;		/* of a block device; 0: none */
	u32 heard;		/* the session in which it has announced */
	u32 unsure_at;		/* a write whose answer was lost */
	u32 unsure_bytes;
};

#define to_vcrq(_vdev) container_of(_vdev, struct vcrq_device, vdev)

/* Any context.  What vcrq_describe() filled in is looked at after this. */
static inline bool vcrq_is_registered(const struct vcrq_device *device)
{
	return test_bit_acquire(VCRQ_DEV_REGISTERED, &device->flags);
}

/* Any context.  Whether a server knows the device as its driver left it. */
static inline bool vcrq_has_session(const struct vcrq_device *device)
{
	u32 session = READ_ONCE(device->adapter->session);

	return session && READ_ONCE(device->session) == session;
}

struct vcrq_request {
	struct list_head list;
	struct completion done;
	bool bus;
	u16 device;
	u8 msg_id;
	u8 sequence;
	u32 life;		/* of the adapter, in which it was sent */
	u32 reason;		/* of a refusal */
	int slot;		/* -1: the answer comes inline */
	u16 answer_min;
	u16 answer_max;
	int result;
	u16 length;
	bool inlined;
	u8 answer[VCRQ_INLINE_MAX];
};

/* What to ask, and where the answer goes. */
struct vcrq_exchange {
	u8 msg_id;
	bool bus;
	u16 device;
	const void *ask;
	u16 ask_length;
	void *answer;
	u16 answer_max;
	u16 answer_min;		/* a shorter answer breaks message-size */
};

static inline struct device *vcrq_dev(struct vcrq_adapter *adapter)
{
	return &adapter->vio->dev;
}

/* main.c */
extern unsigned int vcrq_away_seconds;
extern bool vcrq_indirect;
extern unsigned int vcrq_pool_kib;
extern unsigned int vcrq_pool_bytes;
extern unsigned int vcrq_lend_kib;
extern bool vcrq_push;

/* crq.c */
int vcrq_register(struct vcrq_adapter *adapter);
int vcrq_enable(struct vcrq_adapter *adapter);
void vcrq_free(struct vcrq_adapter *adapter);
long vcrq_send(struct vcrq_adapter *adapter, u64 high, u64 low);
long vcrq_send_entry(struct vcrq_adapter *adapter,
		     const union vcrq_entry *entry);
irqreturn_t vcrq_interrupt(int irq, void *data);
bool vcrq_next_entry(struct vcrq_adapter *adapter, union vcrq_entry *entry);
void vcrq_drain_work(struct work_struct *work);

/* poll.c */
void vcrq_poll_queue(struct vcrq_queue *queue);
void vcrq_callback_work(struct work_struct *work);
bool vcrq_polls(const struct vcrq_device *device, u16 index);

/* consoles.c */
#ifdef VCRQ_CONSOLES_COLLIDE
void vcrq_probe_begins(const struct vcrq_device *device);
void vcrq_probe_ends(const struct vcrq_device *device);
void vcrq_see_control(struct vcrq_queue *queue);
#else
static inline void vcrq_probe_begins(const struct vcrq_device *device) { }
static inline void vcrq_probe_ends(const struct vcrq_device *device) { }
static inline void vcrq_see_control(struct vcrq_queue *queue) { }
#endif

/* session.c */
void vcrq_call_out(struct vcrq_adapter *adapter);
void vcrq_take_entry(struct vcrq_adapter *adapter,
		     const union vcrq_entry *entry);
void vcrq_end_session(struct vcrq_adapter *adapter, enum vcrq_rule rule,
		      u32 first, u32 second);
void vcrq_session_work(struct work_struct *work);
void vcrq_retry_work(struct work_struct *work);

/* request.c */
int vcrq_ask(struct vcrq_adapter *adapter, struct vcrq_exchange *exchange);
int vcrq_ask_device(struct vcrq_device *device, u8 msg_id, const void *ask,
		    u16 ask_length, void *answer, u16 answer_length);
void *vcrq_slot(struct vcrq_adapter *adapter, int slot);
int vcrq_exchange_one(struct vcrq_adapter *adapter,
		      struct vcrq_request *request, union vcrq_entry *entry,
		      enum vcrq_phase phase);
void vcrq_answered(struct vcrq_adapter *adapter,
		   const union vcrq_entry *entry);
void vcrq_refused(struct vcrq_adapter *adapter, const union vcrq_entry *entry);
void vcrq_abandon_requests(struct vcrq_adapter *adapter);

/* greet.c */
int vcrq_greet(struct vcrq_adapter *adapter);

/* listing.c */
int vcrq_list_devices(struct vcrq_adapter *adapter);
void vcrq_device_event(struct vcrq_adapter *adapter, u16 number, u16 state);
void vcrq_config_event(struct vcrq_adapter *adapter, u16 number, u32 status);

/* devices.c */
int vcrq_new_device(struct vcrq_adapter *adapter, u16 number);
void vcrq_remove_devices(struct vcrq_adapter *adapter);
void vcrq_break_device(struct vcrq_device *device, enum vcrq_rule rule,
		       u32 first, u32 second);
void vcrq_kick_device(struct vcrq_device *device);
void vcrq_kick_broken(struct vcrq_device *device);
void vcrq_break_all(struct vcrq_adapter *adapter);
void vcrq_break_late(struct vcrq_device *device);
void vcrq_away_work(struct work_struct *work);

/* describe.c */
int vcrq_describe(struct vcrq_device *device);
int vcrq_read_config(struct vcrq_device *device);

/* resume.c */
void vcrq_resume_devices(struct vcrq_adapter *adapter);

/* config.c */
extern const struct virtio_config_ops vcrq_config_ops;
int vcrq_change_status(struct vcrq_device *device, u8 status);
int vcrq_restore_config(struct vcrq_device *device);

/* queues.c */
int vcrq_find_vqs_by_info(struct virtio_device *vdev, unsigned int nvqs,
			  struct virtqueue *vqs[],
			  struct virtqueue_info vqs_info[],
			  struct irq_affinity *affinity);
void vcrq_del_vqs(struct virtio_device *vdev);
int vcrq_enable_queue(struct vcrq_queue *queue);
void vcrq_queue_place(struct vcrq_queue *queue, struct vcrq_resume_vqueue *ask);
void vcrq_forget_queues(struct vcrq_device *device);

/* ring.c */
bool vcrq_notify(struct virtqueue *vq);
void vcrq_queue_reset(struct vcrq_queue *queue);
void vcrq_queue_start(struct vcrq_queue *queue);
void vcrq_queue_open(struct vcrq_queue *queue, u32 session, u16 announced,
		     bool unasked);
u16 vcrq_queue_suspend(struct vcrq_queue *queue, u32 session, __le16 *heads,
		       u16 max, u16 *avail_position, u16 *used_position);

/* used.c */
bool vcrq_queue_reap(struct vcrq_queue *queue);
bool vcrq_queue_fail(struct vcrq_queue *queue);
bool vcrq_queue_spin(struct vcrq_queue *queue, bool left);

/* push.c */
size_t vcrq_push_bytes(u16 size);
void vcrq_push_layout(struct vcrq_queue *queue);
dma_addr_t vcrq_push_completions(const struct vcrq_queue *queue);

/* announce.c */
bool vcrq_announced(struct vcrq_adapter *adapter, u64 high, u64 low,
		    u32 session);
bool vcrq_quiet_event(struct vcrq_adapter *adapter, u64 high, u64 low,
		      u32 session);

/* limits.c */
int vcrq_read_window(struct vcrq_adapter *adapter);
void vcrq_limit_device(struct vcrq_device *device);
void vcrq_limit_config(struct vcrq_device *device, u8 *bytes);
void vcrq_release_window(struct vcrq_device *device);
unsigned long vcrq_desired_dma(struct vio_dev *vio);

/* pool.c */
extern struct device_attribute dev_attr_pool;
void vcrq_make_pool(struct vcrq_adapter *adapter);
void vcrq_free_pool(struct vcrq_adapter *adapter);
bool vcrq_pool_map(struct vcrq_pool *pool, void *original, size_t size,
		   dma_addr_t *dma);
bool vcrq_pool_unmap(struct vcrq_pool *pool, dma_addr_t dma, size_t size,
		     enum dma_data_direction direction);
bool vcrq_pool_sync(struct vcrq_pool *pool, dma_addr_t dma, size_t size,
		    bool for_device);
bool vcrq_pool_has(struct vcrq_pool *pool, dma_addr_t dma);

/* lend.c */
extern struct device_attribute dev_attr_loans;
void vcrq_make_loans(struct vcrq_adapter *adapter);
void vcrq_free_loans(struct vcrq_adapter *adapter);
bool vcrq_lend_map(struct vcrq_adapter *adapter, void *memory, size_t size,
		   enum dma_data_direction direction, bool carried,
		   dma_addr_t *dma);
bool vcrq_lend_unmap(struct vcrq_adapter *adapter, dma_addr_t dma);
void *vcrq_lent_memory(struct vcrq_adapter *adapter, u64 dma);
void vcrq_lend(struct vcrq_device *device, u64 dma);
void vcrq_give_back(struct vcrq_device *device, u64 dma);

/* entries.c */
bool vcrq_lend_enter(struct vcrq_adapter *adapter);
bool vcrq_lend_recall(const struct vcrq_device *device);

/* mapping.c */
void vcrq_serve_mapping(struct vcrq_device *device);
void vcrq_wrap_mapping(struct vcrq_adapter *adapter);
void vcrq_unwrap_mapping(struct vcrq_adapter *adapter);
dma_addr_t vcrq_map_lasting(struct vcrq_adapter *adapter, void *memory,
			    size_t size);

#endif /* VIRTIO_CRQ_H */
