/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inheritance.h"

/* The value of a word that begins with `name` and '=', or null. */
static const char *inherit_value(const char *word, const char *name)
{
	size_t length = strlen(name);

	return !strncmp(word, name, length) && word[length] == '=' ? word + length + 1 : 0;
}

static int inherit_number(int count, char **words, const char *name, uint64_t *number)
{
	for (int index = 0; index < count; index++) {
		const char *value = inherit_value(words[index], name);

		if (value) {
			*number = strtoull(value, 0, 0);
			return 1;
		}
	}
	return 0;
}

/* A memory or a doorbell; words of other names are none of them. */
static int inherit_descriptor(struct hv_attachment *attachment, const char *word)
{
	const char *value;
	unsigned int which;
	int kind, descriptor;

	if ((value = inherit_value(word, "ram")))
		return sscanf(value, "%u:%d", &which, &descriptor) == 2 ? hv_attach_ram(attachment, which, descriptor) : -1;
	if ((value = inherit_value(word, "bell")))
		return sscanf(value, "%u:%d:%d", &which, &kind, &descriptor) == 3
			       ? hv_attach_doorbell(attachment, which, descriptor, kind)
			       : -1;
	if ((value = inherit_value(word, "heard")))
		return sscanf(value, "%u:%d", &which, &descriptor) == 2 ? hv_attach_receiver(attachment, which, descriptor) : -1;
	return 0;
}

const char *inherit(struct inheritance *given, int count, char **words)
{
	uint64_t state, partition, control, hypervisor;
	const char *why;

	memset(given, 0, sizeof *given);
	for (int index = 0; index < count; index++)
		given->probe |= inherit_value(words[index], "probe") != 0;
	if (given->probe)
		return 0;
	if (!inherit_number(count, words, "state", &state) || !inherit_number(count, words, "partition", &partition) ||
	    !inherit_number(count, words, "control", &control) || !inherit_number(count, words, "entry", &given->entry) ||
	    !inherit_number(count, words, "bells", &given->bells))
		return "state, partition, control, entry and bells must be given; virtio-crq does";
	given->control = (int)control;
	given->hypervisor = inherit_number(count, words, "hypervisor", &hypervisor) ? (int)hypervisor : -1;
	given->attachment = hv_attach((int)state, (uint32_t)partition, &why);
	if (!given->attachment)
		return why ? why : "the machine's state cannot be mapped";
	for (int index = 0; index < count; index++)
		if (inherit_descriptor(given->attachment, words[index]) < 0)
			return "a memory or a doorbell cannot be used";
	if (!given->attachment->ram[partition])
		return "the partition's own memory was not given";
	return 0;
}
