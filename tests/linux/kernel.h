/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands for the kernel's headers where files of the module run in a test: what lent addresses and the data path use,
 * on one processor, over a window's table and a clock of the test's own. Nothing else of the kernel is here.
 */
#ifndef STAND_IN_KERNEL_H
#define STAND_IN_KERNEL_H

#include <errno.h>
#include <limits.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s16 s16;
typedef u64 dma_addr_t;
typedef int irqreturn_t;
typedef unsigned int gfp_t;

#define SZ_1K 0x400
#define SZ_4K 0x1000
#define SZ_16K 0x4000
#define U16_MAX 0xffff
#define U32_MAX 0xffffffffu
#define NSEC_PER_SEC 1000000000ull
#define NSEC_PER_MSEC 1000000ull
#define BIT(number) (1ul << (number))
#define GFP_KERNEL 0
#define __GFP_ZERO 0
#define __GFP_NOWARN 0
#define __force
#define __iomem
#define unlikely(what) (what)
#define READ_ONCE(what) (*(const volatile __typeof__(what) *)&(what))
#define WRITE_ONCE(what, value) (*(volatile __typeof__(what) *)&(what) = (value))
#define smp_load_acquire(from) __atomic_load_n(from, __ATOMIC_ACQUIRE)
#define smp_store_release(to, value) __atomic_store_n(to, value, __ATOMIC_RELEASE)
#define smp_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define max(one, other) ((one) > (other) ? (one) : (other))
#define container_of(member_of, type, member) ((type *)((char *)(member_of) - offsetof(type, member)))
#define struct_size(of, member, count) (sizeof(*(of)) + (count) * sizeof((of)->member[0]))

#define le16_to_cpu(value) ((u16)(value))
#define le32_to_cpu(value) ((u32)(value))
#define le64_to_cpu(value) ((u64)(value))
#define cpu_to_le16(value) ((u16)(value))
#define cpu_to_le32(value) ((u32)(value))
#define cpu_to_le64(value) ((u64)(value))
#define cpu_to_be64(value) __builtin_bswap64(value)
#define swab32(value) __builtin_bswap32(value)

/* One processor: nobody else takes a lock, nothing interrupts. */
typedef struct { int unused; } spinlock_t;
#define spin_lock_init(lock) ((void)(lock))
#define spin_lock_irq(lock) ((void)(lock))
#define spin_unlock_irq(lock) ((void)(lock))
#define spin_lock_irqsave(lock, flags) ((void)(lock), (flags) = 0)
#define spin_unlock_irqrestore(lock, flags) ((void)(lock), (void)(flags))
#define local_irq_save(flags) ((flags) = 0)
#define local_irq_restore(flags) ((void)(flags))

typedef struct { int counter; } atomic_t;
struct attribute { int unused; };
struct completion { int unused; };
struct device { int unused; };
struct device_attribute { struct attribute attr; };
struct dma_map_ops;
struct irq_affinity;
struct kref { int unused; };
struct list_head { struct list_head *next, *prev; };
struct mutex { int unused; };
struct semaphore { int unused; };
struct vio_dev { struct device dev; };
struct virtio_device { u64 features_array[2]; };
struct virtqueue { void *priv; };
struct virtqueue_info { int unused; };
struct work_struct { int unused; };
struct delayed_work { struct work_struct work; };
struct workqueue_struct;
struct xarray { int unused; };
#define DEVICE_ATTR_RO(name) struct device_attribute dev_attr_##name; void *stand_in_##name = name##_show
#define dev_get_drvdata(dev) ((void *)(dev))
#define dev_err_ratelimited(dev, ...) ((void)(dev))
#define sysfs_emit(to, ...) snprintf(to, 4096, __VA_ARGS__)
int snprintf(char *to, size_t size, const char *format, ...);

#define LONG_BITS (8 * sizeof(long))
static inline bool test_bit(unsigned int bit, const unsigned long *map)
{
	return map[bit / LONG_BITS] >> bit % LONG_BITS & 1;
}
#define test_bit_acquire test_bit
static inline void __set_bit(unsigned int bit, unsigned long *map) { map[bit / LONG_BITS] |= 1ul << bit % LONG_BITS; }
static inline void __clear_bit(unsigned int bit, unsigned long *map) { map[bit / LONG_BITS] &= ~(1ul << bit % LONG_BITS); }
#define set_bit __set_bit
static inline bool __test_and_clear_bit(unsigned int bit, unsigned long *map)
{
	bool was = test_bit(bit, map);

	__clear_bit(bit, map);
	return was;
}
static inline unsigned long find_next(const unsigned long *map, unsigned long size, unsigned long from, bool is)
{
	while (from < size && test_bit(from, map) != is)
		from++;
	return from < size ? from : size;
}
#define find_next_bit(map, size, from) find_next(map, size, from, true)
#define find_next_zero_bit(map, size, from) find_next(map, size, from, false)
#define find_first_bit(map, size) find_next(map, size, 0, true)
#define find_first_zero_bit(map, size) find_next(map, size, 0, false)
#define for_each_set_bit(bit, map, size) \
	for ((bit) = find_first_bit(map, size); (bit) < (size); (bit) = find_next_bit(map, size, (bit) + 1))
#define bitmap_zalloc(bits, gfp) ((unsigned long *)calloc((bits) / LONG_BITS + 1, sizeof(long)))
#define bitmap_free free
static inline void bitmap_clear(unsigned long *map, unsigned int first, unsigned int count)
{
	while (count--)
		__clear_bit(first++, map);
}
static inline void bitmap_fill(unsigned long *map, unsigned int count)
{
	while (count--)
		__set_bit(count, map);
}

#define kvzalloc(size, gfp) calloc(1, size)
#define kvfree free
static inline void *alloc_pages_exact(size_t bytes, gfp_t gfp) { return aligned_alloc(SZ_4K, bytes); }
static inline void free_pages_exact(void *memory, size_t bytes) { free(memory); }
static inline unsigned long get_zeroed_page(gfp_t gfp) { return (unsigned long)aligned_alloc(SZ_4K, SZ_4K); }
static inline void free_page(unsigned long page) { free((void *)page); }
#define __pa(memory) ((unsigned long)(memory))
#define __va(address) ((void *)(address))
#define sort(base, count, size, compare, swap) qsort(base, count, size, compare)

enum dma_data_direction { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE };
#define WINDOW_AT 0x10000
#define dma_map_single(dev, memory, size, direction) ((void)(memory), (dma_addr_t)WINDOW_AT)
#define dma_mapping_error(dev, address) 0
#define dma_unmap_single(dev, address, size, direction) ((void)(size))

#define H_SUCCESS 0
#define H_BUSY 1
#define H_CLOSED 2
#define H_RESOURCE (-16)
#define H_FUNCTION (-2)
#define H_IS_LONG_BUSY(code) ((code) >= 9900 && (code) <= 9905)
#define FW_FEATURE_STUFF_TCE 1
#define FW_FEATURE_PUT_TCE_IND 2
#define firmware_has_feature(feature) true
long plpar_tce_put(u64 liobn, u64 address, u64 entry);
long plpar_tce_put_indirect(u64 liobn, u64 address, u64 list, u64 count);
long plpar_tce_stuff(u64 liobn, u64 address, u64 entry, u64 count);
long plpar_tce_get(u64 liobn, u64 address, unsigned long *entry);
u64 ktime_get_mono_fast_ns(void);
irqreturn_t vring_interrupt(int irq, void *queue);
void __virtqueue_break(struct virtqueue *queue);

#endif
