/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Weak copies: every copy in pieces of 1 to 16 bytes, in seeded random order, with other processes let in between.
 *
 * A plain memcpy hides every ordering error above it. What a platform promises all the same is the granularity: an
 * aligned field of that many bytes, at the remote end, is never torn.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "calls.h"

#define WEAK_LARGEST 16u
#define WEAK_YIELD 64u /* one piece in so many lets others run */

static uint32_t hv_random(struct hv_caller *caller, uint32_t below)
{
	uint64_t value = caller->random;

	if (!value) /* one stream per publication, all from the machine's seed */
		value = (__atomic_load_n(&caller->state->weak_seed, __ATOMIC_RELAXED) + 1) * 0x9e3779b97f4a7c15ull ^
			(uint64_t)(caller->publication - hv_publication(caller->state, 0)) << 17;
	value ^= value << 13;
	value ^= value >> 7;
	value ^= value << 17;
	caller->random = value ? value : 1;
	return (uint32_t)((value >> 32) % below);
}

/* One aligned field of the anchor's end, in a single access there. */
static void hv_weak_field(uint8_t *to, const uint8_t *from, uint64_t width, int anchor_source)
{
#define FIELD(type)                                                                                                   \
	do {                                                                                                          \
		type value;                                                                                           \
		if (anchor_source)                                                                                    \
			value = __atomic_load_n((const type *)from, __ATOMIC_RELAXED);                                \
		else                                                                                                  \
			memcpy(&value, from, sizeof value);                                                           \
		if (anchor_source && (uint64_t)to % sizeof value)                                                     \
			memcpy(to, &value, sizeof value);                                                             \
		else                                                                                                  \
			__atomic_store_n((type *)to, value, __ATOMIC_RELAXED);                                        \
	} while (0)
	switch (width) {
	case 8:
		FIELD(uint64_t);
		break;
	case 4:
		FIELD(uint32_t);
		break;
	case 2:
		FIELD(uint16_t);
		break;
	default:
		*to = *from;
	}
#undef FIELD
}

/* A piece: whole fields where they lie whole in it, single bytes at its ragged ends. */
static void hv_weak_piece(uint8_t *to, const uint8_t *from, uint64_t length, uint64_t granularity, int anchor_source)
{
	while (length) {
		uint64_t anchor = (uint64_t)(anchor_source ? from : to), width = granularity;

		while (width > 1 && (anchor % width || width > length))
			width /= 2;
		hv_weak_field(to, from, width, anchor_source);
		to += width;
		from += width;
		length -= width;
	}
}

/* Cuts [0, length) into pieces that split no aligned field; returns how many. */
static uint64_t hv_weak_cut(struct hv_caller *caller, uint64_t anchor, uint64_t length, uint64_t granularity)
{
	uint64_t count = 0, at = 0;

	caller->cut[0] = 0;
	while (at < length) {
		uint64_t next = at + 1 + hv_random(caller, WEAK_LARGEST);
		uint64_t ragged = (anchor + next) % granularity;

		if (ragged)
			next += granularity - ragged;
		at = next < length ? next : length;
		caller->cut[++count] = (uint16_t)at;
	}
	return count;
}

static void hv_weak_shuffle(struct hv_caller *caller, uint64_t count)
{
	for (uint64_t index = 0; index < count; index++) {
		uint64_t other = hv_random(caller, (uint32_t)index + 1);

		caller->order[index] = caller->order[other];
		caller->order[other] = (uint16_t)index;
	}
}

static void hv_weak_page(struct hv_caller *caller, uint8_t *to, const uint8_t *from, uint64_t length, int anchor_source)
{
	uint64_t granularity = caller->state->facts.granularity;
	uint64_t count = hv_weak_cut(caller, (uint64_t)(anchor_source ? from : to), length, granularity);

	hv_weak_shuffle(caller, count);
	for (uint64_t index = 0; index < count; index++) {
		uint64_t piece = caller->order[index], start = caller->cut[piece];

		hv_weak_piece(to + start, from + start, caller->cut[piece + 1] - start, granularity, anchor_source);
		STOP(copy_piece);
		if (!hv_random(caller, WEAK_YIELD))
			sched_yield();
	}
}

/* The body of an entry on its way into a ring. */
void hv_weak_bytes(struct hv_caller *caller, uint8_t *to, const uint8_t *from, uint64_t length)
{
	hv_weak_page(caller, to, from, length, 0);
}

void hv_weak_segments(struct hv_caller *caller, uint64_t count, int anchor_source)
{
	/* Later segments first as often as not: nothing is promised between pages either. */
	for (uint64_t left = count; left; left--) {
		uint64_t chosen = hv_random(caller, (uint32_t)left);
		struct hv_segment segment = caller->segment[chosen];

		caller->segment[chosen] = caller->segment[left - 1];
		for (uint64_t at = 0; at < segment.length; at += HV_PIECES) {
			uint64_t rest = segment.length - at;

			hv_weak_page(caller, segment.to + at, segment.from + at, rest < HV_PIECES ? rest : HV_PIECES,
				     anchor_source);
		}
	}
}
