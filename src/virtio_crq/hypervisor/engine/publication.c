/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later */
#include "publication.h"

#define HV_SPINS 2000 /* about as long as the longest copy takes */

struct hv_question {
	uint64_t adapter, other; /* indices + 1; other: the partner, when the question is about the connection */
	uint64_t ioba, length;
	int link;
};

static int hv_concerns(const struct hv_publication *publication, const struct hv_question *question)
{
	for (int which = 0; which < 2; which++) {
		uint64_t key = __atomic_load_n(&publication->key[which], __ATOMIC_ACQUIRE);
		uint64_t adapter = key & ~HV_LINKED;
		uint64_t ioba, length;

		if (!key)
			continue;
		if (question->link) {
			if ((key & HV_LINKED) && (adapter == question->adapter || adapter == question->other))
				return 1;
			continue;
		}
		if (adapter != question->adapter)
			continue;
		ioba = __atomic_load_n(&publication->ioba[which], __ATOMIC_RELAXED);
		length = __atomic_load_n(&publication->length[which], __ATOMIC_RELAXED);
		if (ioba < question->ioba + question->length && question->ioba < ioba + length)
			return 1;
	}
	return 0;
}

static int hv_set_in_use(struct hv_header *state, uint64_t first, const uint64_t *claimed, const struct hv_question *question,
			 int *spins)
{
	for (uint64_t bits = __atomic_load_n(claimed, __ATOMIC_ACQUIRE); bits; bits &= bits - 1) {
		const struct hv_publication *publication = hv_publication(state, first + (uint64_t)__builtin_ctzll(bits));

		while (hv_concerns(publication, question)) {
			if (!(*spins)--)
				return 1;
			hv_pause();
		}
	}
	return 0;
}

static int hv_side_in_use(struct hv_header *state, const struct hv_adapter *adapter, const struct hv_question *question,
			  int *spins)
{
	const struct hv_partition *partition = hv_partition(state, adapter->partition);

	return hv_set_in_use(state, adapter->publications, &adapter->claimed, question, spins) ||
	       hv_set_in_use(state, partition->publications, &partition->claimed, question, spins);
}

/* Only the two ends of a connection can reach the window of either. */
static int hv_in_use(struct hv_header *state, const struct hv_adapter *adapter, const struct hv_question *question)
{
	int spins = HV_SPINS;
	int busy = hv_side_in_use(state, adapter, question, &spins);

	if (!busy && adapter->partner != HV_NONE)
		busy = hv_side_in_use(state, hv_adapter(state, adapter->partner), question, &spins);
	/* What those calls stored happened before what we do next. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return busy;
}

int hv_range_in_use(struct hv_header *state, const struct hv_adapter *adapter, uint64_t ioba, uint64_t length)
{
	struct hv_question question = { .adapter = hv_adapter_index(state, adapter) + 1, .ioba = ioba, .length = length };

	return hv_in_use(state, adapter, &question);
}

int hv_range_in_partners_use(struct hv_header *state, const struct hv_adapter *adapter, uint64_t ioba, uint64_t length)
{
	struct hv_question question = { .adapter = hv_adapter_index(state, adapter) + 1, .ioba = ioba, .length = length };
	const struct hv_adapter *partner;
	int spins = HV_SPINS;

	if (adapter->partner == HV_NONE)
		return 0;
	partner = hv_adapter(state, adapter->partner);
	return partner->partition != adapter->partition && hv_side_in_use(state, partner, &question, &spins);
}

int hv_link_in_use(struct hv_header *state, const struct hv_adapter *adapter)
{
	struct hv_question question = { .adapter = hv_adapter_index(state, adapter) + 1, .link = 1 };

	if (adapter->partner != HV_NONE)
		question.other = (uint64_t)adapter->partner + 1;
	return hv_in_use(state, adapter, &question);
}

/* A transfer is made through the connection of the client whose pages it may touch. */
int hv_transfer_in_use(struct hv_header *state, const struct hv_adapter *client, const struct hv_adapter *storage, uint64_t ioba,
		       uint64_t length)
{
	struct hv_question question = { .adapter = hv_adapter_index(state, storage) + 1, .ioba = ioba, .length = length };
	int spins = HV_SPINS;
	int busy = hv_side_in_use(state, hv_adapter(state, client->partner), &question, &spins);

	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return busy;
}
