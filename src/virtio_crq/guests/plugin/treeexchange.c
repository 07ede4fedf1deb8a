/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "treeexchange.h"

#define TREE_MAGIC 0xd00dfeedu
#define TREE_LARGEST (4u << 20)
#define ANSWER_MS 20000
#define HEADER_LIMIT 32

static uint32_t tree_cell(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

uint32_t tree_at(const uint8_t *memory, uint64_t size, uint64_t offset)
{
	uint32_t bytes;

	if (offset >= size || size - offset < 8 || tree_cell(memory + offset) != TREE_MAGIC)
		return 0;
	bytes = tree_cell(memory + offset + 4);
	return bytes <= TREE_LARGEST && bytes <= size - offset ? bytes : 0;
}

static int tree_send(int control, const void *data, size_t length)
{
	const char *at = data;

	while (length) {
		ssize_t sent = send(control, at, length, MSG_NOSIGNAL);

		if (sent <= 0)
			return -1;
		at += sent;
		length -= (size_t)sent;
	}
	return 0;
}

/* Exactly `length` bytes, each wait bounded. */
static int tree_receive(int control, void *data, size_t length)
{
	char *at = data;

	while (length) {
		struct pollfd ready = { .fd = control, .events = POLLIN };
		ssize_t received = poll(&ready, 1, ANSWER_MS) > 0 ? recv(control, at, length, 0) : -1;

		if (received <= 0)
			return -1;
		at += received;
		length -= (size_t)received;
	}
	return 0;
}

static int tree_header(int control, char header[HEADER_LIMIT])
{
	for (int length = 0; length < HEADER_LIMIT - 1; length++) {
		if (tree_receive(control, header + length, 1) < 0)
			return -1;
		if (header[length] == '\n') {
			header[length] = 0;
			return 0;
		}
	}
	return -1;
}

const char *tree_exchange(int control, uint8_t *tree, uint32_t bytes)
{
	char header[HEADER_LIMIT];
	uint8_t *edited;
	unsigned int length;
	int failed;

	snprintf(header, sizeof header, "tree %u\n", bytes);
	if (tree_send(control, header, strlen(header)) < 0 || tree_send(control, tree, bytes) < 0)
		return "nobody takes the guest's device tree";
	if (tree_header(control, header) < 0)
		return "the guest's device tree was not answered";
	if (sscanf(header, "tree %u", &length) != 1 || !length || length > bytes)
		return "the guest's device tree was refused";
	edited = malloc(length);
	failed = !edited || tree_receive(control, edited, length) < 0;
	if (!failed)
		memcpy(tree, edited, length);
	free(edited);
	return failed ? "the guest's device tree came back short" : 0;
}
