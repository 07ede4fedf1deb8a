// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio over CRQ: the front-end in a client partition, below unmodified virtio
 * drivers.  docs/spec/virtio-over-crq.md is what it keeps to; each clause is
 * named where it is kept.
 */
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <asm/firmware.h>

#include "virtio_crq.h"

unsigned int vcrq_away_seconds = 600;
module_param_named(away_seconds, vcrq_away_seconds, uint, 0644);
MODULE_PARM_DESC(away_seconds,
		 "seconds without a partner after which devices fail their requests; 0: wait for ever (600)");

bool vcrq_indirect;
module_param_named(indirect, vcrq_indirect, bool, 0444);
MODULE_PARM_DESC(indirect,
		 "offer INDIRECT_DESC: shorter rings, and one mapping and one copy more per request (no)");

unsigned int vcrq_pool_kib;
module_param_named(pool_kib, vcrq_pool_kib, uint, 0444);
MODULE_PARM_DESC(pool_kib,
		 "KiB of each adapter that stay mapped, and that short buffers are copied through; 0, or a window below 16 times as much: each buffer is mapped by itself (0)");

unsigned int vcrq_pool_bytes = SZ_32K;
module_param_named(pool_bytes, vcrq_pool_bytes, uint, 0444);
MODULE_PARM_DESC(pool_bytes,
		 "length of the longest buffer that is copied through the pool (32768)");

unsigned int vcrq_lend_kib = 1024;
module_param_named(lend_kib, vcrq_lend_kib, uint, 0444);
MODULE_PARM_DESC(lend_kib,
		 "KiB of I/O addresses of each adapter for buffers that are mapped by announcement, many in one call; 0, or a window below 16 times as much: each buffer is mapped by itself (1024)");

bool vcrq_push = true;
module_param_named(push, vcrq_push, bool, 0444);
MODULE_PARM_DESC(push,
		 "send requests as records, where the server agrees to it (yes)");

static unsigned int vcrq_vscsi;
module_param_named(vscsi, vcrq_vscsi, uint, 0444);
MODULE_PARM_DESC(vscsi,
		 "unit address of a virtual SCSI client adapter to bind instead of ibmvscsi, where no adapter of our own type can be made (none)");

/* Process context, probe. */
static int vcrq_alloc(struct vcrq_adapter *adapter)
{
	struct device *dev = vcrq_dev(adapter);

	adapter->ring = dma_alloc_coherent(dev, VCRQ_RING_BYTES,
					   &adapter->ring_dma, GFP_KERNEL);
	adapter->area = dma_alloc_coherent(dev, VCRQ_SLOTS * VCRQ_SLOT_BYTES,
					   &adapter->area_dma, GFP_KERNEL);
	adapter->resume = kmalloc(VCRQ_SLOT_BYTES, GFP_KERNEL);
	adapter->session_queue = alloc_ordered_workqueue("virtio_crq_session",
							 WQ_MEM_RECLAIM);
	/* Memory may wait for what these do. */
	adapter->rescue_queue = alloc_workqueue("virtio_crq_rescue",
						WQ_UNBOUND | WQ_MEM_RECLAIM,
						VCRQ_DEVICES_MAX);
	/* Drivers may wait in it, as many as there are devices. */
	adapter->device_queue = alloc_workqueue("virtio_crq_devices",
						WQ_UNBOUND, VCRQ_DEVICES_MAX);
	if (!adapter->ring || !adapter->area || !adapter->resume ||
	    !adapter->session_queue || !adapter->rescue_queue ||
	    !adapter->device_queue)
		return -ENOMEM;
	return 0;
}

/* Process context, nothing of the adapter runs any more. */
static void vcrq_release_adapter(struct vcrq_adapter *adapter)
{
	struct device *dev = vcrq_dev(adapter);

	vcrq_unwrap_mapping(adapter);
	vcrq_free_loans(adapter);
	vcrq_free_pool(adapter);
	if (adapter->session_queue)
		destroy_workqueue(adapter->session_queue);
	if (adapter->device_queue)
		destroy_workqueue(adapter->device_queue);
	if (adapter->rescue_queue)
		destroy_workqueue(adapter->rescue_queue);
	if (adapter->ring)
		dma_free_coherent(dev, VCRQ_RING_BYTES, adapter->ring,
				  adapter->ring_dma);
	if (adapter->area)
		dma_free_coherent(dev, VCRQ_SLOTS * VCRQ_SLOT_BYTES,
				  adapter->area, adapter->area_dma);
	kfree(adapter->resume);
	xa_destroy(&adapter->devices);
	kfree(adapter);
}

static struct vcrq_adapter *vcrq_new_adapter(struct vio_dev *vio)
{
	struct vcrq_adapter *adapter = kzalloc(sizeof(*adapter), GFP_KERNEL);

	if (!adapter)
		return NULL;
	adapter->vio = vio;
	adapter->phase = VCRQ_REGISTERED;
	adapter->next_call = get_random_u64();
	adapter->ring_entries = VCRQ_RING_ENTRIES;
	/* Slot 0 is HELLO's. */
	adapter->free_slots = GENMASK(VCRQ_SLOTS - 1, VCRQ_HELLO_SLOT + 1);
	sema_init(&adapter->slots, VCRQ_SLOTS - 1);
	spin_lock_init(&adapter->lock);
	mutex_init(&adapter->listing);
	INIT_LIST_HEAD(&adapter->requests);
	xa_init(&adapter->devices);
	INIT_WORK(&adapter->session_work, vcrq_session_work);
	INIT_WORK(&adapter->drain_work, vcrq_drain_work);
	INIT_WORK(&adapter->callback_work, vcrq_callback_work);
	INIT_WORK(&adapter->log_work, vcrq_log_work);
	INIT_DELAYED_WORK(&adapter->away_work, vcrq_away_work);
	INIT_DELAYED_WORK(&adapter->retry_work, vcrq_retry_work);
	return adapter;
}

/* Process context.  Does not wait for a partner: it may come hours later. */
static int vcrq_probe(struct vio_dev *vio, const struct vio_device_id *id)
{
	struct vcrq_adapter *adapter = vcrq_new_adapter(vio);
	int error;

	if (!adapter)
		return -ENOMEM;
	error = vcrq_read_window(adapter);
	if (!error)
		error = vcrq_alloc(adapter);
	if (error)
		goto release;
	vcrq_make_pool(adapter);
	vcrq_make_loans(adapter);
	vcrq_wrap_mapping(adapter);
	error = vcrq_register(adapter);
	if (error)
		goto release;
	dev_set_drvdata(&vio->dev, adapter);
	error = request_irq(vio->irq, vcrq_interrupt, 0, "virtio_crq", adapter);
	if (error)
		goto free;
	vio_enable_interrupts(vio);
	vcrq_call_out(adapter);
	return 0;

free:
	dev_set_drvdata(&vio->dev, NULL);
	vcrq_free(adapter);
release:
	vcrq_release_adapter(adapter);
	return error;
}

/* Process context. */
static void vcrq_remove_adapter(struct vio_dev *vio)
{
	struct vcrq_adapter *adapter = dev_get_drvdata(&vio->dev);

	set_bit(VCRQ_REMOVING, &adapter->flags);
	/* In this order: the last run of the first may start the timers of the others. */
	cancel_work_sync(&adapter->session_work);
	cancel_delayed_work_sync(&adapter->retry_work);
	cancel_delayed_work_sync(&adapter->away_work);
	/*
	 * A work that adds a device may wait for its disk, and nobody resumes
	 * one any more: let that fail.
	 */
	vcrq_break_all(adapter);
	flush_workqueue(adapter->device_queue);
	vcrq_remove_devices(adapter);
	vio_disable_interrupts(vio);
	free_irq(vio->irq, adapter);
	cancel_work_sync(&adapter->callback_work);
	cancel_work_sync(&adapter->drain_work);
	flush_workqueue(adapter->device_queue);
	flush_workqueue(adapter->rescue_queue);
	vcrq_free(adapter);
	dev_set_drvdata(&vio->dev, NULL);
	vcrq_release_adapter(adapter);
}

static const struct vio_device_id vcrq_ids[] = {
	{ "virtio-crq", "virtio-crq,client" },
	{ "", "" }
};
MODULE_DEVICE_TABLE(vio, vcrq_ids);

static struct vio_driver vcrq_driver = {
	.name = "virtio_crq",
	.id_table = vcrq_ids,
	.probe = vcrq_probe,
	.remove = vcrq_remove_adapter,
	.get_desired_dma = vcrq_desired_dma,
	.driver.dev_groups = vcrq_groups,
};

/*
 * A management console can make pairs of virtual SCSI adapters, none of our
 * type, and a CRQ carries any payload.  One is bound when it is named, and no
 * alias loads this module for it; what ibmvscsi has it keeps.
 */
static int vcrq_probe_vscsi(struct vio_dev *vio, const struct vio_device_id *id)
{
	return vio->unit_address == vcrq_vscsi ? vcrq_probe(vio, id) : -ENODEV;
}

static const struct vio_device_id vcrq_vscsi_ids[] = {
	{ "vscsi", "IBM,v-scsi" },
	{ "", "" }
};

static struct vio_driver vcrq_vscsi_driver = {
	.name = "virtio_crq_vscsi",
	.id_table = vcrq_vscsi_ids,
	.probe = vcrq_probe_vscsi,
	.remove = vcrq_remove_adapter,
	.get_desired_dma = vcrq_desired_dma,
	.driver.dev_groups = vcrq_groups,
};

static int __init vcrq_init(void)
{
	int error;

	if (!firmware_has_feature(FW_FEATURE_VIO))
		return -ENODEV;
	error = vio_register_driver(&vcrq_driver);
	if (error || !vcrq_vscsi)
		return error;
	error = vio_register_driver(&vcrq_vscsi_driver);
	if (error)
		vio_unregister_driver(&vcrq_driver);
	return error;
}

static void __exit vcrq_exit(void)
{
	if (vcrq_vscsi)
		vio_unregister_driver(&vcrq_vscsi_driver);
	vio_unregister_driver(&vcrq_driver);
}

module_init(vcrq_init);
module_exit(vcrq_exit);

MODULE_DESCRIPTION("virtio over the Command/Response Queue of PowerVM");
MODULE_AUTHOR("The virtio-crq project");
MODULE_LICENSE("GPL");
