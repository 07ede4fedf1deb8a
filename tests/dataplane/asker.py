# SPDX-License-Identifier: Apache-2.0
"""The asker's side of a writer's ring, for tests."""

import os
import select
import threading
import time

from rig import ARENA, Rig

from virtio_crq.dataplane.kernel import WriterRing

ROOM = 256  # writes that a ring holds


class Asker:
    """A ring and the memory that is written from: block `number` is 512 bytes of it."""

    def __init__(self, descriptor: int, event: int, rig: Rig | None = None) -> None:
        self.ring = WriterRing(descriptor, event)
        self.rig = rig if rig is not None else Rig()
        self.event = event

    def queue(self, number: int, position: int, length: int = 512) -> int:
        at = ARENA.offset + 512 * number
        self.rig.platform.own[at : at + length] = number.to_bytes(2, "little") * (length // 2)
        return self.ring.queue(self.rig.port, at, length, position, number)

    def write(self) -> None:
        """Do what the thread does, until nothing is left."""
        self.ring.ask()
        self.ring.stop()
        self.ring.run()

    def ended(self) -> list[tuple[int, int]]:
        found = []
        while self.ring.reap():
            found.append((self.ring.token, self.ring.result))
        return found

    def told(self) -> bool:
        return bool(select.select([self.event], [], [], 0)[0])

    def one(self) -> tuple[int, int]:
        """The next that ends, asleep until it does."""
        while not self.ring.reap():
            if not self.ring.expect():
                assert select.select([self.event], [], [], 10)[0], "no write ended within 10 seconds"
                os.eventfd_read(self.event)
        return self.ring.token, self.ring.result


class Running:
    """The thread of a ring."""

    def __init__(self, ring: WriterRing) -> None:
        self.ring = ring
        self.thread = threading.Thread(target=ring.run, daemon=True)

    def __enter__(self) -> "Running":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ring.stop()
        self.thread.join(10)
        assert not self.thread.is_alive(), "its thread did not see the stop"

    def asleep(self) -> bool:
        """Whether the thread, which has made a write already, comes to sleep: it has nothing else to sleep on."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with open(f"/proc/self/task/{self.thread.native_id}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "S":
                    return True
            os.sched_yield()
        return False
