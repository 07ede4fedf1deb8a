/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A platform and two disks, each with a queue, around the module's files, for test_lent_pages.py. The platform has a
 * table of entries, and pages that it does not give back; each of its calls takes a microsecond.
 */
#include <stdio.h>

#include "ring.h"

#define PAGES 64
#define DISKS 2
#define QUEUE_SIZE 16

unsigned int vcrq_lend_kib;
bool vcrq_indirect;

static u64 table[PAGES], now;
static bool kept[PAGES];
static unsigned int calls, ended, called_back;
static char memory[PAGES][SZ_4K] __attribute__((aligned(SZ_4K)));
static struct vio_dev vio;
static struct vcrq_adapter adapter;
static struct vcrq_device disks[DISKS];
static struct vcrq_queue queues[DISKS];
static struct vcrq_head heads[DISKS][QUEUE_SIZE];
static struct virtqueue core;
static char driver_rings[DISKS][2 * SZ_4K] __attribute__((aligned(SZ_4K)));
static __le16 shared[DISKS][4096];

static long store(u64 address, u64 count, u64 entry, const u64 *list)
{
	u64 first = (address - WINDOW_AT) / SZ_4K, index;

	calls++;
	now += 1000;
	for (index = 0; index < count; index++)
		if (kept[first + index] && table[first + index])
			return H_BUSY;
	for (index = 0; index < count; index++)
		table[first + index] = list ? __builtin_bswap64(list[index]) : entry;
	return H_SUCCESS;
}

long plpar_tce_put(u64 liobn, u64 address, u64 entry) { return store(address, 1, entry, NULL); }
long plpar_tce_stuff(u64 liobn, u64 address, u64 entry, u64 count) { return store(address, count, entry, NULL); }
long plpar_tce_put_indirect(u64 liobn, u64 address, u64 list, u64 count)
{
	return store(address, count, 0, (const u64 *)list);
}
long plpar_tce_get(u64 liobn, u64 address, unsigned long *entry) { return H_FUNCTION; }
u64 ktime_get_mono_fast_ns(void) { return now; }
irqreturn_t vring_interrupt(int irq, void *of) { called_back++; return 0; }
void __virtqueue_break(struct virtqueue *of) { }

/* What the rest of the module does is not asked for here. */
void vcrq_end_session(struct vcrq_adapter *of, enum vcrq_rule rule, u32 first, u32 second) { ended++; }
void vcrq_break_device(struct vcrq_device *of, enum vcrq_rule rule, u32 first, u32 second) { }
void vcrq_kick_broken(struct vcrq_device *of) { }
void vcrq_poll_queue(struct vcrq_queue *of) { }
long vcrq_send(struct vcrq_adapter *of, u64 high, u64 low) { return H_SUCCESS; }

/* A fresh adapter with addresses for `pages`, and whether requests are pushed. */
void begin(unsigned int pages, bool push)
{
	struct vcrq_queue *queue;
	unsigned int disk;

	vcrq_free_loans(&adapter);
	memset(table, 0, sizeof(table));
	memset(kept, 0, sizeof(kept));
	memset(heads, 0, sizeof(heads));
	memset(driver_rings, 0, sizeof(driver_rings));
	memset(shared, 0, sizeof(shared));
	vcrq_lend_kib = pages * 4;
	adapter = (struct vcrq_adapter){ .vio = &vio, .window = 1u << 30, .push = push };
	for (disk = 0; disk < DISKS; disk++) {
		queue = &queues[disk];
		disks[disk] = (struct vcrq_device){ .adapter = &adapter, .device_id = 2, .number = disk };
		*queue = (struct vcrq_queue){
			.device = &disks[disk], .vq = &core, .size = QUEUE_SIZE, .heads = heads[disk] };
		vring_init(&queue->ring, QUEUE_SIZE, driver_rings[disk], SZ_4K);
		queue->avail = shared[disk];
		queue->used = shared[disk] + 2048;
	}
	vcrq_make_loans(&adapter);
	calls = ended = called_back = 0;
}

u64 map(unsigned int page, unsigned int size, bool carried)
{
	dma_addr_t address;

	return vcrq_lend_map(&adapter, memory[page], size, DMA_BIDIRECTIONAL, carried, &address) ? address : 0;
}

void unmap(u64 address) { vcrq_lend_unmap(&adapter, address); }
void lend(u64 address) { vcrq_lend(disks, address); }
bool enter(void) { return vcrq_lend_enter(&adapter); }
void give_back(u64 address) { vcrq_give_back(disks, address); }
bool recall(void) { return vcrq_lend_recall(disks); }
void keep(u64 address, bool is) { kept[(address - WINDOW_AT) / SZ_4K] = is; }
bool entered(u64 address) { return table[(address - WINDOW_AT) / SZ_4K]; }
unsigned int calls_made(void) { return calls; }
unsigned int sessions_ended(void) { return ended; }
u64 elapsed(void) { return now; }

/* A disk's driver makes a read of one page available, and it is announced. */
void request(unsigned int disk, u64 header, u64 data, u64 status)
{
	struct vcrq_queue *queue = &queues[disk];
	u16 at = 3 * queue->taken;
	struct vring_desc *desc = &queue->ring.desc[at];

	desc[0] = (struct vring_desc){ header, 16, VRING_DESC_F_NEXT, at + 1 };
	desc[1] = (struct vring_desc){ data, SZ_4K, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, at + 2 };
	desc[2] = (struct vring_desc){ status, 1, VRING_DESC_F_WRITE, 0 };
	queue->ring.avail->ring[queue->ring.avail->idx++ % QUEUE_SIZE] = at;
	vcrq_take(queue, true);
	vcrq_lend_enter(&adapter);
	queue->announced = queue->shown;
}

/* The server uses a disk's first request, and the module looks. */
bool complete(unsigned int disk)
{
	__le32 *entry = (__le32 *)(queues[disk].used + 2);

	entry[0] = 0;
	entry[1] = SZ_4K + 1;
	queues[disk].used[1] = 1;
	return vcrq_queue_reap(&queues[disk]);
}

bool fail(unsigned int disk) { return vcrq_queue_fail(&queues[disk]); }
unsigned int published(unsigned int disk) { return queues[disk].ring.used->idx; }
