/* SPDX-License-Identifier: Apache-2.0 */
/* A writer that is asked and stopped between two of its own looks at the ring: before each of them, in turn. Run by
 * test_writerring.py; the status is how many times the write was lost. */
#define _GNU_SOURCE
#include <stdio.h>

#include "kernel.h"

static void look(void);
#define __atomic_load_n(place, order) (look(), __atomic_load_n(place, order))
#include "writerring.h"

#define LOOKS 4 /* before it sleeps, for it is granted no time */

static struct writer_ring *ring;
static int before; /* so many looks it is asked and stopped */

static void look(void)
{
	if (before-- == 0) {
		writer_ring_ask(ring);
		writer_ring_stop(ring);
	}
}

int main(int count, char **arguments)
{
	static uint8_t memory[512];
	struct seam_handle handle = { .memory = memory, .size = sizeof memory };
	int lost = 0;

	if (count != 2 || !freopen(arguments[1], "r+", stdin))
		return 99;
	alarm(10);
	for (int which = 0; which < LOOKS; which++) {
		ring = writer_ring_new(0, -1);
		writer_ring_queue(ring, &handle, 0, sizeof memory, 0, 7);
		before = which;
		writer_ring_run(ring);
		if (!writer_ring_reap(ring) || ring->result) {
			printf("lost when asked and stopped before look %d\n", which);
			lost++;
		}
		free(ring);
	}
	return lost;
}
