// SPDX-License-Identifier: GPL-2.0-only
/*
 * The Command/Response Queue itself: registering, sending, and taking entries
 * out of the ring in and out of interrupts.
 */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <asm/hvcall.h>

#include "virtio_crq.h"

#define VCRQ_BUDGET	256	/* entries in one interrupt */
#define VCRQ_BUSY_SECONDS	120	/* more than the longest hint */

/*
 * Process context.  Whether a call is to be made again: the platform is busy
 * with it, was waited for as long as it says, and it is not past `end`.
 */
static bool vcrq_again(long rc, unsigned long end)
{
	if (time_after(jiffies, end))
		return false;
	if (H_IS_LONG_BUSY(rc))
		msleep(get_longbusy_msecs(rc));
	else if (rc == H_BUSY || rc == H_IN_PROGRESS)
		usleep_range(100, 1000);
	else
		return false;
	return true;
}

/* Process context. */
static long vcrq_call(struct vcrq_adapter *adapter, unsigned long opcode)
{
	unsigned long end = jiffies + VCRQ_BUSY_SECONDS * HZ;
	long rc;

	do {
		rc = plpar_hcall_norets(opcode, adapter->vio->unit_address);
		/* The partner has pages of ours redirected; it ends that by itself. */
		if (rc == H_RESOURCE && opcode == H_FREE_CRQ)
			rc = H_BUSY;
	} while (vcrq_again(rc, end));
	return rc;
}

/* Process context.  From here on no partner reaches the window, and no entry comes. */
void vcrq_free(struct vcrq_adapter *adapter)
{
	long rc = vcrq_call(adapter, H_FREE_CRQ);

	if (rc != H_SUCCESS)
		dev_err_ratelimited(vcrq_dev(adapter), "H_FREE_CRQ: %ld\n", rc);
}

/* Process context.  0 when the CRQ that a migration disabled is open again. */
int vcrq_enable(struct vcrq_adapter *adapter)
{
	return vcrq_call(adapter, H_ENABLE_CRQ) == H_SUCCESS ? 0 : -EIO;
}

/*
 * Process context; nobody else takes entries.  H_Closed says that the partner
 * is not there yet; H_Resource that an earlier life of this partition (kexec)
 * left our side registered.
 */
int vcrq_register(struct vcrq_adapter *adapter)
{
	unsigned long end = jiffies + VCRQ_BUSY_SECONDS * HZ;
	u32 unit = adapter->vio->unit_address;
	bool freed = false;
	long rc;

	memset(adapter->ring, 0, VCRQ_RING_BYTES);
	adapter->cursor = 0;
	adapter->stashed = 0;
	do {
		rc = plpar_hcall_norets(H_REG_CRQ, unit, adapter->ring_dma,
					VCRQ_RING_BYTES);
		if (rc == H_RESOURCE && !freed) {
			vcrq_free(adapter);
			freed = true;
			rc = H_BUSY;
		}
	} while (vcrq_again(rc, end));
	if (rc != H_SUCCESS && rc != H_CLOSED) {
		dev_err_ratelimited(vcrq_dev(adapter), "H_REG_CRQ: %ld\n", rc);
		return -EIO;
	}
	return 0;
}

/*
 * Any context.  What the other side reads was stored before (full barrier: the
 * hypervisor copies it from wherever it runs).
 */
long vcrq_send(struct vcrq_adapter *adapter, u64 high, u64 low)
{
	/* What is in memory is there before the hypervisor is called. */
	mb();
	return plpar_hcall_norets(H_SEND_CRQ, adapter->vio->unit_address, high,
				  low);
}

/* Any context. */
long vcrq_send_entry(struct vcrq_adapter *adapter, const union vcrq_entry *entry)
{
	return vcrq_send(adapter, be64_to_cpu(entry->word[0]),
			 be64_to_cpu(entry->word[1]));
}

static bool vcrq_entry_waits(struct vcrq_adapter *adapter)
{
	u8 *header = &adapter->ring[adapter->cursor].byte[0];

	/* The hypervisor stores an entry's header last (CRQ-H-2). */
	return smp_load_acquire(header) != VCRQ_HEADER_FREE;
}

/*
 * Whoever holds DRAINING.  The entry is copied before its slot is given back,
 * and the slot is not looked at again before its header is set (CRQ-F-3).
 */
bool vcrq_next_entry(struct vcrq_adapter *adapter, union vcrq_entry *entry)
{
	union vcrq_entry *slot = &adapter->ring[adapter->cursor];

	if (!vcrq_entry_waits(adapter))
		return false;
	entry->word[0] = READ_ONCE(slot->word[0]);
	entry->word[1] = READ_ONCE(slot->word[1]);
	/* The entry was copied before its slot is given back. */
	smp_store_release(&slot->byte[0], VCRQ_HEADER_FREE);
	if (++adapter->cursor == VCRQ_RING_ENTRIES)
		adapter->cursor = 0;
	return true;
}

/*
 * Interrupts off.  The signal is off when this is called, and on when it returns
 * true.  A server that sends without end does not keep this CPU: after a
 * budget the rest is left to a worker, the signal stays off.
 */
static bool vcrq_drain(struct vcrq_adapter *adapter)
{
	unsigned int budget = VCRQ_BUDGET, at;
	union vcrq_entry entry;

	do {
		if (test_and_set_bit_lock(VCRQ_DRAINING, &adapter->flags))
			return true;	/* who holds it looks again */
		for (at = 0; at < adapter->stashed; at++)
			vcrq_take_entry(adapter, &adapter->stash[at]);
		adapter->stashed = 0;
		while (budget && vcrq_next_entry(adapter, &entry)) {
			budget--;
			vcrq_take_entry(adapter, &entry);
		}
		clear_bit_unlock(VCRQ_DRAINING, &adapter->flags);
		if (!budget)
			return false;
		/*
		 * An entry may have come while the signal was off, and not
		 * every platform says so when it is turned on: look again.
		 */
		vio_enable_interrupts(adapter->vio);
		/* The signal is on before the ring is looked at again. */
		smp_mb();
	} while (vcrq_entry_waits(adapter) &&
		 !vio_disable_interrupts(adapter->vio));
	return true;
}

/* Hard interrupt. */
irqreturn_t vcrq_interrupt(int irq, void *data)
{
	struct vcrq_adapter *adapter = data;

	vio_disable_interrupts(adapter->vio);
	if (!vcrq_drain(adapter))
		queue_work(adapter->rescue_queue, &adapter->drain_work);
	return IRQ_HANDLED;
}

/* Process context: what a flood left over.  Callbacks expect interrupts off. */
void vcrq_drain_work(struct work_struct *work)
{
	struct vcrq_adapter *adapter =
		container_of(work, struct vcrq_adapter, drain_work);
	unsigned long irq_flags;
	bool done;

	local_irq_save(irq_flags);
	done = vcrq_drain(adapter);
	local_irq_restore(irq_flags);
	if (!done && !test_bit(VCRQ_REMOVING, &adapter->flags))
		queue_work(adapter->rescue_queue, work);
}
