# SPDX-License-Identifier: Apache-2.0
"""Hostile acts on a disk with several queues: what its second queue must not be, and what breaking it does."""

from hostileacts import IGNORED, RUNNING, SESSION, STOPPED, Act, refused
from intruder import PAGE, QUEUE_SIZE, SPARE, Intruder

from virtio_crq.virtio import block
from virtio_crq.virtio.features import MANDATORY, RING_RESET, feature_set

WITH_QUEUES = MANDATORY | feature_set(RING_RESET, block.MQ)


def second_queue_without_its_feature(it: Intruder) -> None:
    it.negotiate()
    refused(it.ask(it.queue(index=1), may_refuse=True))


def queue_beyond_those_of_the_disk(it: Intruder) -> None:
    it.negotiate(features=WITH_QUEUES)
    refused(it.ask(it.queue(index=2), may_refuse=True))


def announce_on_a_queue_that_is_off(it: Intruder) -> None:
    it.announce(0, queue=1)


def head_out_of_range_of_the_second_queue(it: Intruder) -> None:
    table, available, used = (SPARE + page * PAGE for page in range(3))
    it.port.write(it.memory + SPARE, bytes(3 * PAGE))
    areas = {"descriptors": it.base + table, "driver_area": it.base + available, "device_area": it.base + used}
    it.ask(it.queue(index=1, **areas))
    it.port.store16(it.memory + available + 4, QUEUE_SIZE)
    it.port.release16(it.memory + available + 2, 1)
    it.owed = 0  # a credit that is owed is the first queue's
    it.announce(1, queue=1)


QUEUE_ACTS = (
    Act("queue-unknown", ("CRQ-D-57",), SESSION, IGNORED, second_queue_without_its_feature, "without-mq"),
    Act("queue-unknown", ("CRQ-D-57",), SESSION, IGNORED, queue_beyond_those_of_the_disk, "beyond", WITH_QUEUES),
    Act(
        *("announcement-queue", ("CRQ-D-30",), RUNNING, IGNORED, announce_on_a_queue_that_is_off, "second-queue"),
        WITH_QUEUES,
    ),
    Act(
        *("head-range", ("CRQ-D-67",), RUNNING, STOPPED, head_out_of_range_of_the_second_queue, "second-queue"),
        WITH_QUEUES,
    ),
)
