# SPDX-License-Identifier: Apache-2.0
"""The block device (virtio 1.4 §5.2) over a store: what it offers, its configuration space, its write cache."""

from dataclasses import replace

from virtio_crq.axes import COPY, PLANNED, REDIRECT
from virtio_crq.dataplane.blockservice import BlockService
from virtio_crq.dataplane.disktraits import DiskTraits
from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.dataplane.planned import PlannedBlockService
from virtio_crq.dataplane.redirected import RedirectedBlockService
from virtio_crq.dataplane.store import Store
from virtio_crq.errors import DriverFault
from virtio_crq.message.device import QueueResume, QueueSetup
from virtio_crq.vios.cacherecord import CacheRecord
from virtio_crq.vios.ringdevice import RingDevice
from virtio_crq.virtio import block
from virtio_crq.virtio.block import SECTOR_SIZE, BlockConfig
from virtio_crq.virtio.deviceid import DeviceId
from virtio_crq.virtio.features import Features, feature_set, has
from virtio_crq.virtio.splitring import QueueIndex

QUEUE_SIZE = 256
SIZE_MAX = 1 << 16
SEG_MAX = 126
PHYSICAL_BLOCK_EXPONENT = 3  # 4 KiB, the page of most file systems under an image
OPTIMAL_SECTORS = 256  # 128 KiB, what one H_COPY_RDMA moves on the platforms we know
# How data moves.
SERVICES: dict[str, type[BlockService]] = {
    COPY: BlockService,
    REDIRECT: RedirectedBlockService,
    PLANNED: PlannedBlockService,
}
WRITE_BACK, WRITE_THROUGH = "write-back", "write-through"
OFFERED = feature_set(block.SIZE_MAX, block.SEG_MAX, block.BLK_SIZE, block.TOPOLOGY, block.FLUSH, block.CONFIG_WCE)


class BlockDevice(RingDevice):
    """A disk. Its write cache is the host's page cache: on (write-back) unless the driver turns it off.

    `name` is CLIENT/TARGET; `record` outlives this server. `data` names how data moves. A driver that leaves MQ alone
    has the first of the `queues` and no other (§5.2.2).
    """

    device_id = DeviceId.BLOCK
    config_size = block.CONFIG_SIZE

    def __init__(
        self,
        name: str,
        identity: bytes,
        store: Store,
        *,
        readonly: bool = False,
        queues: int = 1,
        record: CacheRecord | None = None,
        data: str = COPY,
    ) -> None:
        sectors = store.capacity // SECTOR_SIZE
        # GET_ID (§5.2.6): what guests show as the disk's serial number, and what clients call the disk.
        serial = name.rpartition("/")[2].encode()[: block.ID_BYTES]
        traits = DiskTraits(sectors, serial, readonly, seg_max=SEG_MAX, size_max=SIZE_MAX)
        services = [SERVICES[data](store, traits) for _ in range(queues)]
        features = OFFERED | (feature_set(block.RO) if readonly else 0) | (feature_set(block.MQ) if queues > 1 else 0)
        super().__init__(identity, Features(features), services, QUEUE_SIZE)
        self.name = name
        self.store = store
        self.data = data
        self._record = record or CacheRecord()
        self._cache_chosen = False
        self.readonly = readonly
        self._disks = services
        self._config = BlockConfig(
            capacity=sectors,
            size_max=SIZE_MAX,
            seg_max=SEG_MAX,
            blk_size=SECTOR_SIZE,
            physical_block_exp=PHYSICAL_BLOCK_EXPONENT,
            min_io_size=1 << PHYSICAL_BLOCK_EXPONENT,
            opt_io_size=OPTIMAL_SECTORS,
            writeback=1,
            num_queues=queues,
        )

    def counters(self) -> dict[str, int]:
        found = super().counters()
        for service in self._disks:
            if isinstance(service, RedirectedBlockService):
                found["redirected"] = found.get("redirected", 0) + service.redirected
                found["copied"] = found.get("copied", 0) + service.copied
        if isinstance(self.store, FileStore) and self.store.resident is not None:
            found["mapped_reads"] = self.store.resident.reads
        return found

    def carried(self) -> dict[str, str]:
        found = super().carried()
        if not found:
            return found
        enabled = sum(queue.enabled for queue in self.queues())
        return found | {"data": self.data} | ({"queues": str(enabled)} if len(self.services) > 1 else {})

    @property
    def write_cache(self) -> str:
        return WRITE_BACK if self._config.writeback else WRITE_THROUGH

    def read_config(self, offset: int, length: int) -> bytes:
        space = self._config.encode()
        if offset + length > len(space):
            raise DriverFault("config-range", f"{length} bytes at {offset}, but the space has {len(space)}")
        return space[offset : offset + length]

    def write_config(self, offset: int, data: bytes) -> None:
        """Only `writeback` may be written, and only when CONFIG_WCE was negotiated (§5.2.5.1)."""
        if offset != block.CONFIG_WRITEBACK_OFFSET or len(data) != 1:
            raise DriverFault("config-read-only", f"write of {len(data)} bytes at {offset}")
        if not has(self.negotiated, block.CONFIG_WCE):
            raise DriverFault("config-read-only", "writeback without CONFIG_WCE negotiated")
        if data[0] > 1:
            raise DriverFault("config-value", f"writeback {data[0]} is neither 0 nor 1")
        self._cache_chosen = True
        self._record.put(self.name, off=not data[0])
        self._cache(bool(data[0]))

    def driver_features(self, features: Features) -> None:
        super().driver_features(features)
        self._cache_chosen = False
        # A driver that cannot flush relies on every completed write being stable (§5.2.5.2, §5.2.6.2).
        self._cache(has(features, block.FLUSH))

    def pair_queue(self, index: QueueIndex, slots: int, handle: int) -> int:
        self._check_negotiated(index)
        return super().pair_queue(index, slots, handle)

    def enable_queue(self, index: QueueIndex, setup: QueueSetup, resume: QueueResume | None) -> None:
        self._check_negotiated(index)
        if resume is not None and self._record.is_off(self.name):
            self._cache(False)
        elif resume is None and not self._cache_chosen:
            self._record.put(self.name, off=False)  # left by an earlier driver
        super().enable_queue(index, setup, resume)

    def reset(self) -> bool:
        settled = super().reset()
        self._cache(True)
        return settled

    def resize(self, capacity: int) -> bool:
        """The image has `capacity` bytes now; True when the driver must be told (§5.2.4, configuration change)."""
        sectors = capacity // SECTOR_SIZE
        if sectors == self._config.capacity:
            return False
        self.store.resize(sectors * SECTOR_SIZE)
        for service in self._disks:
            service.sectors = sectors
        self._config = replace(self._config, capacity=sectors)
        return True

    def _check_negotiated(self, index: QueueIndex) -> None:
        if index and not has(self.negotiated, block.MQ):
            raise DriverFault("queue-unknown", f"queue {index} of a disk whose driver did not negotiate MQ")

    def _cache(self, on: bool) -> None:
        for service in self._disks:
            service.writethrough = not on
        self._config = replace(self._config, writeback=int(on))
