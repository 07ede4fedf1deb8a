// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio devices of an adapter: found, added, broken, removed.
 *
 * A device is named by its number in adapter->devices, which holds one
 * reference; each work that is queued holds one, and so does the virtio core
 * while the device is registered.
 */
#include <linux/slab.h>
#include <uapi/linux/virtio_config.h>
#include <uapi/linux/virtio_ids.h>

#include "virtio_crq.h"

#define VCRQ_STUCK_MS	100	/* after which it is looked again for a page that did not come back */

static void vcrq_free_device(struct kref *ref)
{
	struct vcrq_device *device = container_of(ref, struct vcrq_device, ref);

	kfree(device->queue_sizes);
	kfree(device->queues);
	kfree(device->config);
	kfree(device);
}

static void vcrq_put(struct vcrq_device *device)
{
	kref_put(&device->ref, vcrq_free_device);
}

/* Any context; the caller has a reference or found the device under RCU. */
void vcrq_kick_device(struct vcrq_device *device)
{
	if (!kref_get_unless_zero(&device->ref))
		return;
	/* That somebody queued it already leaves one reference too many. */
	if (!queue_work(device->adapter->device_queue, &device->work))
		vcrq_put(device);
}

/* The same of the work that ends requests.  After a delay only while registered: vcrq_forget(). */
static void vcrq_queue_broken(struct vcrq_device *device, unsigned long delay)
{
	if (!kref_get_unless_zero(&device->ref))
		return;
	if (!queue_delayed_work(device->adapter->rescue_queue,
				&device->break_work, delay))
		vcrq_put(device);
}

/* Any context: requests of a broken device are to end. */
void vcrq_kick_broken(struct vcrq_device *device)
{
	vcrq_queue_broken(device, 0);
}

/*
 * Any context.  This device alone stops: its driver
 * sees DEVICE_NEEDS_RESET, and no I/O is done until it resets the device.
 */
void vcrq_break_device(struct vcrq_device *device, enum vcrq_rule rule,
		       u32 first, u32 second)
{
	if (test_and_set_bit(VCRQ_DEV_BROKEN, &device->flags))
		return;
	WRITE_ONCE(device->stopped_by, rule);
	/* By which rule is there before the log looks. */
	smp_mb__before_atomic();
	set_bit(VCRQ_DEV_UNLOGGED, &device->flags);
	vcrq_count(device->adapter, rule, first, second);
	vcrq_kick_broken(device);
}

/*
 * Process context, device->setup is held.  The device is to let go of the
 * driver's memory before its requests end and their buffers go elsewhere
 * (CRQ-F-21).  Without a session it has, and what it maps is revoked by the
 * DMA API before it is used again.
 */
static void vcrq_let_go(struct vcrq_device *device)
{
	u16 index;

	for (index = 0; index < device->queue_max; index++)
		if (device->queues[index])
			WRITE_ONCE(device->queues[index]->session, 0);
	/* Of one that was removed nothing touches it any more (CRQ-D-110). */
	if (device->session && !test_bit(VCRQ_DEV_GONE, &device->flags) &&
	    device->session == READ_ONCE(device->adapter->session))
		vcrq_change_status(device, 0);
	device->session = 0;
}

/* Process context: a device was broken, or its driver asks a broken one. */
static void vcrq_break_work(struct work_struct *work)
{
	struct vcrq_device *device =
		container_of(work, struct vcrq_device, break_work.work);
	bool registered = vcrq_is_registered(device);
	bool told = true, ended = true;
	u16 index;

	mutex_lock(&device->setup);
	if (test_bit(VCRQ_DEV_BROKEN, &device->flags) && registered) {
		told = test_and_set_bit(VCRQ_DEV_TOLD, &device->flags);
		if (!told)
			vcrq_let_go(device);
		/* Of other types' requests no driver learns that they failed. */
		if (device->device_id != VIRTIO_ID_BLOCK)
			virtio_break_device(&device->vdev);
		for (index = 0; index < device->queue_max; index++)
			if (device->queues[index] &&
			    device->device_id == VIRTIO_ID_BLOCK &&
			    !vcrq_queue_fail(device->queues[index]))
				ended = false;
	}
	mutex_unlock(&device->setup);
	if (!told)
		virtio_config_changed(&device->vdev);
	if (test_and_clear_bit(VCRQ_DEV_UNLOGGED, &device->flags))
		dev_warn_ratelimited(vcrq_dev(device->adapter),
				     "device %u stopped: %s\n", device->number,
				     vcrq_rule_name(READ_ONCE(device->stopped_by)));
	/* Not slept for: one rescuer may have to run the works of all devices. */
	if (!ended)
		vcrq_queue_broken(device, msecs_to_jiffies(VCRQ_STUCK_MS));
	vcrq_put(device);
}

/* Virtio core, when the last user of the virtio device has gone. */
static void vcrq_release(struct device *dev)
{
	vcrq_put(to_vcrq(dev_to_virtio(dev)));
}

/* Process context.  Nothing finds the device any more when this returns. */
static void vcrq_forget(struct vcrq_device *device)
{
	struct vcrq_adapter *adapter = device->adapter;

	/* The last that may wait for its time.  It has a reference to drop, and the log to tell. */
	if (cancel_delayed_work_sync(&device->break_work))
		vcrq_break_work(&device->break_work.work);
	mutex_lock(&adapter->listing);
	xa_erase(&adapter->devices, device->number);
	WRITE_ONCE(adapter->device_count, adapter->device_count - 1);
	mutex_unlock(&adapter->listing);
	synchronize_rcu();
	vcrq_release_window(device);
	vcrq_put(device);
}

/* Process context.  Its driver takes its leave; nothing is announced to it after. */
static void vcrq_unregister(struct vcrq_device *device)
{
	unregister_virtio_device(&device->vdev);
	clear_bit(VCRQ_DEV_REGISTERED, &device->flags);
}

/* Process context: its number may stand for another device by now. */
static void vcrq_remove(struct vcrq_device *device)
{
	struct vcrq_adapter *adapter = device->adapter;

	if (vcrq_is_registered(device)) {
		vcrq_break_device(device, VCRQ_RULE_DEVICE_REMOVED,
				  device->number, 0);
		vcrq_unregister(device);
	}
	vcrq_forget(device);
	set_bit(VCRQ_RESCAN, &adapter->flags);
	queue_work(adapter->session_queue, &adapter->session_work);
}

/* Process context.  An error that another session may heal leaves it waiting. */
static void vcrq_add(struct vcrq_device *device)
{
	struct vcrq_adapter *adapter = device->adapter;
	int error;

	if (READ_ONCE(adapter->phase) != VCRQ_ACTIVE)
		return;
	error = vcrq_describe(device);
	if (error) {
		dev_warn_ratelimited(vcrq_dev(adapter),
				     "device %u not used: %d\n",
				     device->number, error);
		return;
	}
	device->vdev.dev.parent = vcrq_dev(adapter);
	device->vdev.dev.release = vcrq_release;
	device->vdev.config = &vcrq_config_ops;
	vcrq_serve_mapping(device);
	kref_get(&device->ref);
	vcrq_probe_begins(device);
	/* What was described is there before anybody finds it registered. */
	smp_mb__before_atomic();
	/* Its driver probes in here, and is announced to. */
	set_bit(VCRQ_DEV_REGISTERED, &device->flags);
	error = register_virtio_device(&device->vdev);
	vcrq_probe_ends(device);
	if (!error)
		return;
	clear_bit(VCRQ_DEV_REGISTERED, &device->flags);
	dev_err_ratelimited(vcrq_dev(adapter),
			    "device %u not registered: %d\n", device->number,
			    error);
	put_device(&device->vdev.dev);
	vcrq_forget(device);
}

/* Process context: a session came in which its driver may have it. */
static void vcrq_probe_again(struct vcrq_device *device)
{
	int error;

	vcrq_probe_begins(device);
	error = device_attach(&device->vdev.dev);
	vcrq_probe_ends(device);
	if (error < 0)
		dev_warn(&device->vdev.dev, "its driver would not come back\n");
}

/* Process context: what the device is to become.  Waits for drivers. */
static void vcrq_device_work(struct work_struct *work)
{
	struct vcrq_device *device =
		container_of(work, struct vcrq_device, work);
	struct vcrq_adapter *adapter = device->adapter;
	bool changed;

	if (test_bit(VCRQ_REMOVING, &adapter->flags) ||
	    xa_load(&adapter->devices, device->number) != device)
		goto out;
	if (test_bit(VCRQ_DEV_GONE, &device->flags)) {
		vcrq_remove(device);
		goto out;
	}
	if (!vcrq_is_registered(device)) {
		vcrq_add(device);
		goto out;
	}
	if (test_and_clear_bit(VCRQ_DEV_CONFIG_STALE, &device->flags)) {
		mutex_lock(&device->setup);
		changed = vcrq_read_config(device) > 0;
		mutex_unlock(&device->setup);
		if (changed)
			virtio_config_changed(&device->vdev);
	}
	if (READ_ONCE(adapter->phase) == VCRQ_ACTIVE &&
	    test_and_clear_bit(VCRQ_DEV_NEEDS_DRIVER, &device->flags) &&
	    !device->vdev.dev.driver)
		vcrq_probe_again(device);
out:
	vcrq_put(device);
}

/* Session work. */
int vcrq_new_device(struct vcrq_adapter *adapter, u16 number)
{
	struct vcrq_device *device;
	int error;

	if (adapter->device_count >= VCRQ_DEVICES_MAX) {
		vcrq_count(adapter, VCRQ_RULE_DEVICES_WINDOW, number,
			   VCRQ_DEVICES_MAX);
		return -ENOSPC;
	}
	device = kzalloc(sizeof(*device), GFP_KERNEL);
	if (!device)
		return -ENOMEM;
	kref_init(&device->ref);
	device->adapter = adapter;
	device->number = number;
	mutex_init(&device->ask);
	mutex_init(&device->setup);
	spin_lock_init(&device->config_lock);
	INIT_WORK(&device->work, vcrq_device_work);
	INIT_DELAYED_WORK(&device->break_work, vcrq_break_work);
	error = xa_err(xa_store(&adapter->devices, number, device, GFP_KERNEL));
	if (error) {
		vcrq_put(device);
		return error;
	}
	WRITE_ONCE(adapter->device_count, adapter->device_count + 1);
	return 0;
}

/*
 * Any context: nobody answers, and nobody will.  What the partner serves in
 * this session goes on.
 */
void vcrq_break_all(struct vcrq_adapter *adapter)
{
	struct vcrq_device *device;
	unsigned long number;

	/* Against vcrq_break_late(): one of both sees what the other did. */
	smp_mb();
	rcu_read_lock();
	xa_for_each(&adapter->devices, number, device)
		if (READ_ONCE(device->status) & VIRTIO_CONFIG_S_DRIVER_OK &&
		    !vcrq_has_session(device))
			vcrq_break_device(device, VCRQ_RULE_PARTNER_AWAY,
					  number, vcrq_away_seconds);
	rcu_read_unlock();
}

/* Process context: DRIVER_OK was recorded, perhaps after vcrq_break_all() looked. */
void vcrq_break_late(struct vcrq_device *device)
{
	struct vcrq_adapter *adapter = device->adapter;

	/* Against vcrq_break_all(), which looks at the status after the flags. */
	smp_mb();
	if (!vcrq_has_session(device) &&
	    (test_bit(VCRQ_REMOVING, &adapter->flags) ||
	     test_bit(VCRQ_GIVEN_UP, &adapter->flags)))
		vcrq_break_device(device, VCRQ_RULE_PARTNER_AWAY,
				  device->number, vcrq_away_seconds);
}

/* Process context: the partner was away for longer than drivers shall wait. */
void vcrq_away_work(struct work_struct *work)
{
	struct vcrq_adapter *adapter =
		container_of(work, struct vcrq_adapter, away_work.work);
	u32 session = READ_ONCE(adapter->session);

	if (session && session == READ_ONCE(adapter->resumed))
		return;
	set_bit(VCRQ_GIVEN_UP, &adapter->flags);
	vcrq_break_all(adapter);
}

/*
 * Process context, the adapter goes.  No other work adds or removes any more.
 * Drivers take their leave of the devices while the session lasts.
 */
void vcrq_remove_devices(struct vcrq_adapter *adapter)
{
	struct vcrq_device *device;
	unsigned long number;

	xa_for_each(&adapter->devices, number, device) {
		if (vcrq_is_registered(device)) {
			vcrq_break_all(adapter);
			vcrq_unregister(device);
		}
		vcrq_forget(device);
	}
}
