/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where Linux 6.1, 6.12 and 7.2 differ.  Nothing else in this module asks for
 * the kernel's version.
 */
#ifndef VIRTIO_CRQ_COMPAT_H
#define VIRTIO_CRQ_COMPAT_H

#include <linux/version.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

/* virtio_console gives two consoles one number before 6.2: consoles.c. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define VCRQ_CONSOLES_COLLIDE 1
#endif

/* find_vqs() takes one array of records since 6.11, three arrays before. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
#define VCRQ_FIND_VQS_BY_ARRAYS 1
struct virtqueue_info {
	const char *name;
	vq_callback_t *callback;
	bool ctx;
};
#endif

/* Features are 128 bits since 6.17, 64 before. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
#define VCRQ_EXTENDED_FEATURES 1

static inline u64 vcrq_driver_features(struct virtio_device *vdev, int word)
{
	return vdev->features_array[word];
}
#else
static inline u64 vcrq_driver_features(struct virtio_device *vdev, int word)
{
	return word ? 0 : vdev->features;
}
#endif

/* A transport has mapping operations of its own since 6.18. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
#define VCRQ_VIRTIO_MAP_OPS 1
#endif

#endif /* VIRTIO_CRQ_COMPAT_H */
