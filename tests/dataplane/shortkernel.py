# SPDX-License-Identifier: Apache-2.0
"""A file served while the kernel refuses some calls; run by `test_shortkernel.py`, prints what came of it as JSON.

shortkernel.py lone|flood|apart|stable IMAGE ERRNO TIMES
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from disk import FLUSH, OUT, Disk  # type: ignore[import-not-found]
from rig import USED, Rig  # type: ignore[import-not-found]
from syscallfilter import IO_URING_ENTER, Call, supervise  # type: ignore[import-not-found]

from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.dataplane.worker import Worker

REQUESTS = 300  # more than io_uring has slots here
PWRITE64, PWRITEV2, FDATASYNC = 18, 328, 75  # x86-64
SLOTS = 256  # of a writer's ring


class Kernel:
    """Refuses the first `times` calls with `code`; none is answered before `ready`."""

    def __init__(self, code: int, times: int) -> None:
        self.code, self.times = code, times
        self.calls: list[Call] = []
        self.ready: Callable[[], bool] = lambda: True

    def __call__(self, call: Call) -> int:
        while not self.ready():
            os.sched_yield()
        self.ready = lambda: True
        self.calls.append(call)
        if len(self.calls) <= self.times:
            return self.code
        return 0


class Served:
    """A disk served by a worker's thread; `ended` collects the status of each request as the driver would."""

    def __init__(self, store: FileStore, *, size: int, writethrough: bool = False, polling: int | None = 0) -> None:
        self.disk = Disk(Rig(), size=size, store=store, writethrough=writethrough)
        self.worker = Worker("short", polling)
        self.said = threading.Event()
        announce = self.disk.rig.channel.announce

        def announced(*arguments: int) -> int:
            code: int = announce(*arguments)
            if arguments[0] == USED:
                self.said.set()
            return code

        self.disk.rig.channel.announce = announced
        self.worker.start()
        self.worker.add(self.disk.rig.link)

    def announce(self, credit: int = 0) -> None:
        self.worker.call(lambda: self.disk.announce(credit))

    def until(self, count: int) -> None:
        """Until `count` requests have used elements."""
        while self.worker.call(self.disk.ring.used_index) < count:
            assert self.said.wait(10), f"stalled after {self.disk.ring.used_index()} of {count}"
            self.said.clear()
            self.worker.call(self.disk.rig.give_credit)


def lone(served: Served) -> dict[str, object]:
    served.worker.call(lambda: served.disk.submit(FLUSH, tag="only"))
    served.announce()
    served.until(1)
    return {"statuses": [status for _, status, _ in served.disk.collect()]}


def flood(served: Served) -> dict[str, object]:
    ring, memory = served.disk.ring, served.disk.rig.platform.guest
    for number in range(REQUESTS):
        at = 0x8000 + 32 * number
        memory[at : at + 17] = (1).to_bytes(8, "little") + number.to_bytes(8, "little") + b"\xee"
        data = 0x100000 + 512 * number
        memory[data : data + 512] = number.to_bytes(2, "little") * 256
        ring.make_available(ring.chain([(at, 16, 0), (data, 512, 0), (at + 16, 1, 2)]))
    served.announce()
    served.until(REQUESTS)
    return {"statuses": [memory[0x8000 + 32 * number + 16] for number in range(REQUESTS)]}


def stable(served: Served) -> dict[str, object]:
    served.worker.call(lambda: served.disk.submit(OUT, 4, b"s" * 512))
    served.worker.call(lambda: served.disk.submit(FLUSH))
    served.announce()
    served.until(2)
    return {"statuses": [status for _, status, _ in served.disk.collect()]}


def main(what: str, image: str, code: str, times: str) -> None:
    descriptor = os.open(image, os.O_RDWR)
    kernel = Kernel(int(code), int(times))
    watched = {"stable": (PWRITE64, PWRITEV2, FDATASYNC), "apart": (PWRITE64,)}
    supervise(watched.get(what, (IO_URING_ENTER,)), kernel)
    threads = what in watched
    store = FileStore(descriptor, 1 << 20, "threads" if threads else "uring", own_writer=threads)
    if what == "apart":
        kernel.ready = lambda: store.pending == SLOTS
    served = Served(store, size=1024, writethrough=what == "stable")
    result = {"lone": lone, "flood": flood, "apart": flood, "stable": stable}[what](served)
    served.worker.stop()
    store.close()
    assert served.worker.failure is None
    print(json.dumps(result | {"misses": store.misses, "calls": kernel.calls}))


if __name__ == "__main__":
    main(*sys.argv[1:])
