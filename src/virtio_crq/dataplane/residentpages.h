/* SPDX-License-Identifier: Apache-2.0 */
/* A file's pages that were found in memory lately, read from a mapping: no system call, and no page looked up.
 *
 * A page is read so only after a call that waits for nothing has read it, which is when it is noted, with those of its
 * group that the kernel says are in memory, too; but not before calls have read the group as often as that has to save
 * calls to be worth it: tables have to be filled for pages that are mapped. It may have left memory since, and then the copy waits for a disk, as
 * no call of a worker does otherwise. So who reads asks its kernel in each tick of the clock whether that happened, and
 * if it did forgets all pages, goes by calls again, and notes no page any more that it did not read. Where the file has
 * no page any more, or its disk no good one, a copy ends in SIGBUS: that is "not read", and the call that follows says
 * what is wrong. */
#ifndef VIRTIO_CRQ_RESIDENTPAGES_H
#define VIRTIO_CRQ_RESIDENTPAGES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "seam.h"

enum { RESIDENT_GROUP = 64 }; /* pages, a bit of one word each */
/* Reads of a group by calls before it is noted. To ask for it takes the kernel 6 us, to fill its tables 10; one read from
 * the mapping saves half of one. Who waits for as much as it can lose loses at most twice what it must. */
enum { RESIDENT_WORTH = 32 };
enum { RESIDENT_COUNTED = 32768 }; /* groups whose reads are counted: with 4 KiB pages 8 GiB, and of more the latest */
/* What a page costs that is read once: the kernel keeps a table of those around it, and the bits of more. Neither is
 * given back when the page leaves memory, so a guest could have a server hold them for all of a large empty disk. */
enum { RESIDENT_BLOCK = 8 };	     /* groups, of which each such table maps one block or more */
enum { RESIDENT_TABLES = 8 << 20 }; /* bytes of this process, for all files: with 4 KiB pages, of 4 GiB */
static uint64_t resident_tables;    /* held now, at most */
/* Bytes, and no more in one read: of many the kernel, whose own tables map them in large pages, copies faster than we
 * do, by more than its call costs. 4 to 16 KiB took less time, 64 KiB more, and 32 KiB the same. */
enum { RESIDENT_LONGEST = 16384 };

struct resident_pages {
	int fd;
	unsigned int shift;    /* of a page's size */
	uint64_t size, mapped; /* bytes of the file that there are, as far as is known, and that were mapped */
	uint8_t *base;
	uint64_t *noted; /* a bit for each page */
	uint64_t words;
	uint64_t tables; /* at most so many hold pages now */
	struct resident_count {
		uint32_t group, reads;
	} *counts;
	int believes;	 /* what the kernel says of pages that were not read */
	pthread_t asker; /* whose waits are counted: a store may pass from one worker to another */
	long waited;
	struct timespec asked;
	uint64_t reads, forgotten; /* counted for who wants to know */
};

/* Where a thread that copies out of a mapping goes on when a page is not to be had. */
struct resident_guard {
	sigjmp_buf back;
	const uint8_t *from, *end;
};

/* The handler reads it: it must not be allocated there. */
static __thread struct resident_guard *volatile resident_guarded __attribute__((tls_model("initial-exec")));
static struct sigaction resident_before;

/* SAFETY: only out of a copy that is guarded, which holds nothing; whatever else it was goes to who had the signal. */
static void resident_fault(int number, siginfo_t *found, void *context)
{
	struct resident_guard *guard = resident_guarded;
	const uint8_t *at = found->si_addr;
	int sent = found->si_code <= 0 || found->si_code == BUS_MCEERR_AO; /* and not by what this thread does */
	struct sigaction ours;

	(void)context;
	if (!sent && guard && at >= guard->from && at < guard->end)
		siglongjmp(guard->back, 1);
	sigaction(number, &resident_before, &ours);
	if (!sent)
		return; /* it happens again at once, and is theirs then */
	raise(number);
	sigaction(number, &ours, NULL);
}

/* Once. Where somebody took the signal since, who may hand to us what is not theirs, there are no more mappings.
 * SAFETY: writes locals of its own, and what is remembered of them: by one thread at a time, which has the GIL. */
static inline int resident_take_signal(void)
{
	static int taken;
	struct sigaction ours;

	if (sigaction(SIGBUS, NULL, &ours))
		return -1;
	if (taken)
		return ours.sa_sigaction == resident_fault ? 0 : -1;
	resident_before = ours;
	memset(&ours, 0, sizeof ours);
	ours.sa_sigaction = resident_fault;
	ours.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
	taken = !sigaction(SIGBUS, &ours, NULL);
	return taken ? 0 : -1;
}

/* SAFETY: by who made it, once: no read follows. */
static inline void resident_free(struct resident_pages *pages)
{
	if (pages && pages->base)
		munmap(pages->base, pages->mapped);
	if (pages && pages->noted)
		munmap(pages->noted, pages->words * sizeof *pages->noted);
	if (pages) {
		__atomic_sub_fetch(&resident_tables, pages->tables, __ATOMIC_RELAXED);
		free(pages->counts);
	}
	free(pages);
}

/* SAFETY: computes. */
static inline uint64_t resident_words(const struct resident_pages *pages, uint64_t size)
{
	return (((size - 1) >> pages->shift) / RESIDENT_GROUP) + 1;
}

/* SAFETY: mappings of its own of these sizes, or null. What is noted of a large file takes memory as it is noted. */
static inline struct resident_pages *resident_new(int fd, uint64_t size)
{
	struct resident_pages *pages = size ? calloc(1, sizeof *pages) : NULL;
	void *map;

	if (!pages)
		return NULL;
	pages->fd = fd;
	pages->shift = (unsigned int)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
	pages->size = pages->mapped = size;
	pages->words = resident_words(pages, size);
	/* Who may not write a file is told that all of it is in memory. */
	pages->believes = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	pages->base = map == MAP_FAILED ? NULL : map;
	map = mmap(NULL, pages->words * sizeof *pages->noted, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pages->noted = map == MAP_FAILED ? NULL : map;
	pages->counts = calloc(RESIDENT_COUNTED, sizeof *pages->counts);
	if (!pages->base || !pages->noted || !pages->counts || resident_take_signal()) {
		resident_free(pages);
		return NULL;
	}
	return pages;
}

/* The bits of one word that stand for pages from `first` to `last`. */
static inline uint64_t resident_mask(uint64_t word, uint64_t first, uint64_t last)
{
	uint64_t mask = ~0ull;

	if (word == first >> 6)
		mask &= ~0ull << (first & 63);
	if (word == last >> 6)
		mask &= ~0ull >> (63 - (last & 63));
	return mask;
}

/* SAFETY: words of pages inside of the mapping, which is held against the position first. */
static inline int resident_all(const struct resident_pages *pages, uint64_t position, uint64_t length)
{
	uint64_t first = position >> pages->shift, last = (position + length - 1) >> pages->shift;

	for (uint64_t word = first >> 6; word <= last >> 6; word++)
		if (~pages->noted[word] & resident_mask(word, first, last))
			return 0;
	return 1;
}

/* Which pages of a group are in memory. SAFETY: the kernel looks at pages of the mapping only; its answer fits. */
static inline uint64_t resident_group(struct resident_pages *pages, uint64_t word)
{
	uint64_t start = word * RESIDENT_GROUP << pages->shift, length = (uint64_t)RESIDENT_GROUP << pages->shift;
	unsigned char in_memory[RESIDENT_GROUP] = { 0 };
	uint64_t found = 0;

	if (pages->size - start < length)
		length = pages->size - start;
	if (mincore(pages->base + start, length, in_memory))
		return 0;
	for (unsigned int page = 0; page < RESIDENT_GROUP; page++)
		found |= (uint64_t)(in_memory[page] & 1) << page;
	return found;
}

/* SAFETY: fresh pages of zeroes in place of its own, and where many tables are held the mapping once more in its place:
 * who cannot have that maps nothing any more. */
static inline void resident_forget(struct resident_pages *pages)
{
	madvise(pages->noted, pages->words * sizeof *pages->noted, MADV_DONTNEED);
	pages->forgotten++;
	if (!pages->tables || __atomic_load_n(&resident_tables, __ATOMIC_RELAXED) << pages->shift < RESIDENT_TABLES / 2)
		return;
	__atomic_sub_fetch(&resident_tables, pages->tables, __ATOMIC_RELAXED);
	pages->tables = 0;
	if (mmap(pages->base, pages->mapped, PROT_READ, MAP_SHARED | MAP_FIXED, pages->fd, 0) == MAP_FAILED) {
		pages->base = NULL;
		pages->size = 0;
	}
}

/* A thread that has not asked before. SAFETY: writes locals of its own. */
static inline void resident_meet(struct resident_pages *pages)
{
	struct rusage usage = { 0 };

	if (pthread_equal(pages->asker, pthread_self()))
		return;
	getrusage(RUSAGE_THREAD, &usage);
	pages->asker = pthread_self();
	pages->waited = usage.ru_majflt;
}

/* Whether this thread waited for a page of anything since it asked last, or the file lost some: then nothing is noted
 * any more. Of the page that a shortened file ends in the rest reads as zeroes. SAFETY: writes locals of its own. */
static __attribute__((noinline)) void resident_ask(struct resident_pages *pages)
{
	struct rusage usage = { 0 };
	struct stat file = { 0 };

	getrusage(RUSAGE_THREAD, &usage);
	fstat(pages->fd, &file);
	if ((uint64_t)file.st_size < pages->size) {
		pages->size = (uint64_t)file.st_size;
		resident_forget(pages);
	}
	if (usage.ru_majflt != pages->waited) {
		pages->waited = usage.ru_majflt;
		pages->believes = 0;
		resident_forget(pages);
	}
}

/* In each tick of the clock once, which tells of it for less than the question costs. SAFETY: as above. */
static inline void resident_wonder(struct resident_pages *pages)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_nsec == pages->asked.tv_nsec && now.tv_sec == pages->asked.tv_sec)
		return;
	pages->asked = now;
	resident_ask(pages);
}

/* Whether calls have read this group often enough. SAFETY: one of the counts. */
static inline int resident_worth(struct resident_pages *pages, uint64_t word)
{
	struct resident_count *count = &pages->counts[word % RESIDENT_COUNTED];

	if (count->group != (uint32_t)word) {
		count->group = (uint32_t)word;
		count->reads = 0;
	}
	return ++count->reads > RESIDENT_WORTH;
}

/* Whether a table may be held for the pages of this word. SAFETY: words of one block, as many as there are. */
static inline int resident_room(struct resident_pages *pages, uint64_t word)
{
	uint64_t first = word - word % RESIDENT_BLOCK;

	for (uint64_t at = first; at < first + RESIDENT_BLOCK && at < pages->words; at++)
		if (pages->noted[at])
			return 1;
	if (__atomic_add_fetch(&resident_tables, 1, __ATOMIC_RELAXED) << pages->shift > RESIDENT_TABLES) {
		__atomic_sub_fetch(&resident_tables, 1, __ATOMIC_RELAXED);
		return 0;
	}
	pages->tables++;
	return 1;
}

/* These bytes were read by a call that waits for nothing. SAFETY: words of pages inside of the mapping. */
static inline void resident_note(struct resident_pages *pages, uint64_t position, uint64_t length)
{
	uint64_t first = position >> pages->shift, last = (position + length - 1) >> pages->shift;

	if (!length || length > RESIDENT_LONGEST || !SEAM_INSIDE(pages, position, length))
		return;
	resident_meet(pages);
	for (uint64_t word = first >> 6; word <= last >> 6; word++)
		if (pages->noted[word])
			pages->noted[word] |= resident_mask(word, first, last);
		else if (resident_worth(pages, word) && resident_room(pages, word))
			pages->noted[word] = resident_mask(word, first, last) |
					     (pages->believes ? resident_group(pages, word) : 0);
	resident_wonder(pages);
}

/* The file is this long now. What was noted of it stays, as do its tables. Where the rest cannot be mapped it is read by
 * calls. SAFETY: the bits are enough for what is mapped at every step; no address of before is kept. */
static inline void resident_resize(struct resident_pages *pages, uint64_t size)
{
	uint64_t words = size ? resident_words(pages, size) : 0;
	void *map;

	if (size < pages->size) {
		pages->size = size;
		resident_forget(pages);
	}
	if (!pages->base || size <= pages->mapped) {
		pages->size = pages->base ? size : 0;
		return;
	}
	map = mremap(pages->noted, pages->words * sizeof *pages->noted, words * sizeof *pages->noted, MREMAP_MAYMOVE);
	if (map == MAP_FAILED)
		return;
	pages->noted = map;
	pages->words = words;
	map = mremap(pages->base, pages->mapped, size, MREMAP_MAYMOVE);
	if (map == MAP_FAILED)
		return;
	pages->base = map;
	pages->size = pages->mapped = size;
}

/* SAFETY: both ends were held against their sizes; the guard is this thread's, and gone before its frame is. */
static __attribute__((noinline)) int resident_copy(const struct resident_pages *pages, uint8_t *to, const uint8_t *from,
						  uint64_t length)
{
	struct resident_guard guard;
	int whole = 0;

	guard.from = from - ((uintptr_t)from & ((1u << pages->shift) - 1)); /* of a bad page the kernel says no more */
	guard.end = from + length;
	if (!sigsetjmp(guard.back, 0)) {
		resident_guarded = &guard;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		memcpy(to, from, length);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		whole = 1;
	}
	resident_guarded = NULL;
	return whole;
}

/* 1 if these bytes are in own RAM now, 0 if they are to be read by a call.
 * SAFETY: own RAM and the mapping are held against their sizes first; they are never the same memory. */
static inline int64_t resident_read(struct resident_pages *pages, struct seam_handle *handle, uint64_t offset,
				    uint64_t length, uint64_t position)
{
	int whole;

	if (!length || length > RESIDENT_LONGEST || !SEAM_INSIDE(handle, offset, length) ||
	    !SEAM_INSIDE(pages, position, length) || !resident_all(pages, position, length))
		return 0;
	resident_meet(pages);
	whole = resident_copy(pages, handle->memory + offset, pages->base + position, length);
	if (whole)
		pages->reads++;
	else
		resident_forget(pages);
	resident_wonder(pages);
	return whole;
}
#endif
