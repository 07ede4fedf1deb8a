# SPDX-License-Identifier: Apache-2.0
"""A block device behind vhost-user, from connecting to running queues, in the order in which the protocol wants it.

The back-end maps all of the memory it is given: that is what makes it fast, and what this project does without. So the
memory holds rings and requests and nothing else, and what comes back through it is checked as any device's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtio_crq.errors import DeviceFault, UsageError
from virtio_crq.vhostuser import message
from virtio_crq.vhostuser.conversation import PATIENCE, Conversation
from virtio_crq.vhostuser.memory import SharedMemory
from virtio_crq.vhostuser.message import Request
from virtio_crq.virtio import block, features
from virtio_crq.virtio.block import BlockConfig

# The device sees the memory itself at the addresses it was told, so there is no ACCESS_PLATFORM here.
WANTED = features.feature_set(
    *(features.VERSION_1, features.EVENT_IDX, block.SIZE_MAX, block.SEG_MAX, block.RO, block.BLK_SIZE, block.FLUSH),
    block.MQ,
)
WANTED_OF_PROTOCOL = features.feature_set(message.MQ, message.REPLY_ACK, message.CONFIG)
MOST_SECTORS = (1 << 63) // block.SECTOR_SIZE - 1  # offsets in bytes are signed 64-bit numbers everywhere


@dataclass(frozen=True)
class RingPlace:
    """A ring of `size` entries, by the offsets of its parts in the shared memory."""

    size: int
    descriptors: int
    available: int
    used: int


class Backend:
    """A connected back-end whose features are negotiated and whose configuration was read."""

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self._conversation = Conversation(path, patience)
        try:
            self._negotiate()
            self.config = self._configuration()
        except BaseException:
            self._conversation.close()
            raise

    def _negotiate(self) -> None:
        talk = self._conversation
        offered = talk.ask_number(Request.GET_FEATURES)
        self._need(offered, features.VERSION_1, "VERSION_1, and a legacy device has no place here")
        self._need(offered, message.PROTOCOL_FEATURES, "PROTOCOL_FEATURES, so its configuration cannot be read")
        of_protocol = talk.ask_number(Request.GET_PROTOCOL_FEATURES)
        self._need(of_protocol, message.CONFIG, "CONFIG, so its capacity cannot be read")
        self.protocol = of_protocol & WANTED_OF_PROTOCOL
        talk.tell(Request.SET_PROTOCOL_FEATURES, message.number(self.protocol))
        talk.acknowledged = features.has(self.protocol, message.REPLY_ACK)
        self.queues = talk.ask_number(Request.GET_QUEUE_NUM) if features.has(self.protocol, message.MQ) else 1
        talk.tell(Request.SET_OWNER)
        self.features = offered & WANTED
        # Rings stay disabled until they are enabled one by one, as PROTOCOL_FEATURES asks for.
        talk.tell(Request.SET_FEATURES, message.number(self.features | 1 << message.PROTOCOL_FEATURES))

    def _need(self, offered: int, bit: int, what: str) -> None:
        if not features.has(offered, bit):
            raise UsageError(f"back-end at {self._conversation.path} does not offer {what}")

    def _configuration(self) -> BlockConfig:
        answer = self._conversation.ask(Request.GET_CONFIG, message.config_request(block.CONFIG_SIZE))
        config = BlockConfig.decode(message.config_answer(answer))
        if not 0 < config.capacity <= MOST_SECTORS:
            what = f"back-end at {self._conversation.path} has a disk of {config.capacity} sectors"
            raise DeviceFault("vhost-user-config", what)
        return config

    @property
    def capacity(self) -> int:
        """Bytes."""
        return self.config.capacity * block.SECTOR_SIZE

    @property
    def size_max(self) -> int:
        return self.config.size_max if features.has(self.features, block.SIZE_MAX) else 0

    @property
    def seg_max(self) -> int:
        return self.config.seg_max if features.has(self.features, block.SEG_MAX) else 0

    @property
    def request_queues(self) -> int:
        """As many as the disk has and the back-end serves."""
        most = self.config.num_queues if features.has(self.features, block.MQ) else 1
        return max(1, min(most, self.queues))

    @property
    def readonly(self) -> bool:
        return features.has(self.features, block.RO)

    @property
    def event_idx(self) -> bool:
        return features.has(self.features, features.EVENT_IDX)

    @property
    def partner(self) -> int:
        """The process that serves."""
        return self._conversation.partner

    def fileno(self) -> int:
        """Readable when the back-end is gone."""
        return self._conversation.fileno()

    def share(self, memory: SharedMemory) -> None:
        """From now on the back-end reaches all of this memory."""
        table = message.memory_table(memory.bus, memory.size, memory.address)
        self._conversation.tell(Request.SET_MEM_TABLE, table, [memory.descriptor])

    def start_ring(self, index: int, place: RingPlace, memory: SharedMemory, kick: int, call: int) -> None:
        """Serve this ring: it is told of requests by the eventfd `kick`, and tells of completions by `call`."""
        if index >= self.queues:
            raise UsageError(f"back-end at {self._conversation.path} has {self.queues} queues")
        parts = (memory.address + part for part in (place.descriptors, place.used, place.available))
        steps: Sequence[tuple[Request, bytes, Sequence[int]]] = (
            (Request.SET_VRING_NUM, message.ring_state(index, place.size), ()),
            (Request.SET_VRING_BASE, message.ring_state(index, 0), ()),
            (Request.SET_VRING_ADDR, message.ring_addresses(index, *parts), ()),
            (Request.SET_VRING_CALL, message.number(index), (call,)),
            (Request.SET_VRING_KICK, message.number(index), (kick,)),  # the ring starts
            (Request.SET_VRING_ENABLE, message.ring_state(index, 1), ()),
        )
        for kind, payload, descriptors in steps:
            self._conversation.tell(kind, payload, descriptors)

    def stop_ring(self, index: int) -> None:
        """Nothing is served any more when this returns."""
        self._conversation.ask(Request.GET_VRING_BASE, message.ring_state(index, 0))

    def close(self) -> None:
        self._conversation.close()
