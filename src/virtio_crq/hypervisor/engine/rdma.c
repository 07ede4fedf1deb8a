/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
/* Copies between panes. No lock is held; what is used is published; a pointer lives as long as the publication. */
#include "calls.h"

/* Pages that fit the caller's segments in one pass, two segments for each at the worst. */
#define HV_PASS ((uint64_t)(HV_SEGMENTS / 2 - 2) * TCE_PAGE)

static uint64_t hv_page_rest(uint64_t ioba)
{
	return TCE_PAGE - ioba % TCE_PAGE;
}

static uint64_t hv_least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Access of every page, without touching any. */
static int hv_accessible(struct hv_caller *caller, const struct hv_adapter *target, uint64_t ioba, uint64_t length, uint64_t access)
{
	while (length) {
		uint64_t step = hv_least(length, hv_page_rest(ioba));

		if (!hv_translate(caller, target, ioba, access))
			return 0;
		ioba += step;
		length -= step;
	}
	return 1;
}

/* Segments for one pass; 0 when an access bit is missing. Neighbours in memory become one segment. */
static uint64_t hv_segments(struct hv_caller *caller, const struct hv_adapter *source, uint64_t source_ioba,
			    const struct hv_adapter *destination, uint64_t destination_ioba, uint64_t length)
{
	struct hv_segment *segment = caller->segment;
	uint64_t count = 0;

	while (length) {
		uint64_t step = hv_least(length, hv_least(hv_page_rest(source_ioba), hv_page_rest(destination_ioba)));
		const uint8_t *from = hv_translate(caller, source, source_ioba, TCE_READ);
		uint8_t *to = hv_translate(caller, destination, destination_ioba, TCE_WRITE);

		if (!from || !to)
			return 0;
		if (count && segment[count - 1].from + segment[count - 1].length == from &&
		    segment[count - 1].to + segment[count - 1].length == to) {
			segment[count - 1].length += step;
		} else {
			segment[count].from = from;
			segment[count].to = to;
			segment[count++].length = step;
		}
		source_ioba += step;
		destination_ioba += step;
		length -= step;
	}
	return count;
}

/* Single aligned fields are one load and one store; memcpy keeps aligned fields of two bytes whole on these hosts. */
static void hv_copy_segment(const struct hv_segment *segment)
{
	uint64_t both = (uint64_t)segment->to | (uint64_t)segment->from;

	if (segment->length == 2 && !(both & 1))
		__atomic_store_n((uint16_t *)segment->to, __atomic_load_n((const uint16_t *)segment->from, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
	else if (segment->length == 4 && !(both & 3))
		__atomic_store_n((uint32_t *)segment->to, __atomic_load_n((const uint32_t *)segment->from, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
	else if (segment->length == 8 && !(both & 7))
		__atomic_store_n((uint64_t *)segment->to, __atomic_load_n((const uint64_t *)segment->from, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
	else
		/* Both ends may be one partition, and then they may overlap. */
		memmove(segment->to, segment->from, segment->length);
	STOP(copy_piece);
}

void hv_run_segments(struct hv_caller *caller, uint64_t count, int anchor_source)
{
	if (hv_mode(caller) & HV_MODE_WEAK) {
		hv_weak_segments(caller, count, anchor_source);
		return;
	}
	for (uint64_t index = 0; index < count; index++)
		hv_copy_segment(&caller->segment[index]);
}

static int64_t hv_copy_published(struct hv_caller *caller, const struct hv_pane *source, uint64_t source_ioba,
				 const struct hv_pane *destination, uint64_t destination_ioba, uint64_t length)
{
	int anchor_source = (source->key & HV_LINKED) != 0;

	/* No partial completion is defined: all access is checked before the first byte moves. */
	if (length > HV_PASS && (!hv_accessible(caller, source->target, source_ioba, length, TCE_READ) ||
				 !hv_accessible(caller, destination->target, destination_ioba, length, TCE_WRITE)))
		return H_PERMISSION;
	while (length) {
		uint64_t step = hv_least(length, HV_PASS);
		uint64_t count = hv_segments(caller, source->target, source_ioba, destination->target, destination_ioba, step);

		if (!count)
			return H_PERMISSION;
		hv_run_segments(caller, count, anchor_source);
		source_ioba += step;
		destination_ioba += step;
		length -= step;
	}
	STOP(copy_done);
	return H_SUCCESS;
}

/* Which code a copy over a broken connection gets is a fact of the profile: LoPAR gives none (R1-5). */
static int64_t hv_unlinked(struct hv_caller *caller, int64_t code)
{
	return caller->state->facts.closed_pane_permission ? H_PERMISSION : code;
}

/* Order of checks: source window, destination window, connection, access. The length was checked by the caller. */
int64_t hv_copy(struct hv_caller *caller, const struct hv_pane *source, uint64_t source_ioba, const struct hv_pane *destination,
		uint64_t destination_ioba, uint64_t length)
{
	int64_t code;

	if (!hv_inside(source->target, source_ioba, length))
		return H_S_PARM;
	if (!hv_inside(destination->target, destination_ioba, length))
		return H_D_PARM;
	hv_publish(caller->publication, 0, source->key, source_ioba, length);
	hv_publish(caller->publication, 1, destination->key, destination_ioba, length);
	hv_barrier();
	STOP(copy_published);
	if ((source->key & HV_LINKED) && !hv_connected(caller->state, source->through))
		code = hv_unlinked(caller, H_S_PARM);
	else if ((destination->key & HV_LINKED) && !hv_connected(caller->state, destination->through))
		code = hv_unlinked(caller, H_D_PARM);
	else
		code = hv_copy_published(caller, source, source_ioba, destination, destination_ioba, length);
	hv_withdraw(caller->publication);
	return code;
}

/* Between a pane and the engine's own bytes, at most a page of them: register copies, buffers of H_VIOCTL. */
int64_t hv_move(struct hv_caller *caller, const struct hv_pane *pane, uint64_t ioba, uint8_t *bytes, uint64_t length, int outward)
{
	int64_t wrong = outward ? H_D_PARM : H_S_PARM, code = H_SUCCESS;
	uint64_t count = 0;

	if (!hv_inside(pane->target, ioba, length))
		return wrong;
	hv_publish(caller->publication, 0, pane->key, ioba, length);
	hv_barrier();
	STOP(copy_published);
	if ((pane->key & HV_LINKED) && !hv_connected(caller->state, pane->through))
		code = hv_unlinked(caller, wrong);
	while (!code && length) {
		uint64_t step = hv_least(length, hv_page_rest(ioba));
		uint8_t *at = hv_translate(caller, pane->target, ioba, outward ? TCE_WRITE : TCE_READ);

		if (!at)
			code = H_PERMISSION;
		caller->segment[count++] = outward ? (struct hv_segment){ at, bytes, step } : (struct hv_segment){ bytes, at, step };
		ioba += step;
		bytes += step;
		length -= step;
	}
	if (!code)
		hv_run_segments(caller, count, !outward);
	STOP(copy_done);
	hv_withdraw(caller->publication);
	return code;
}
