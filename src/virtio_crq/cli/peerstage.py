# SPDX-License-Identifier: Apache-2.0
"""A peer as a stage of the bench: its back-end, and the front-end's process with the load."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from virtio_crq.bench.case import Case
from virtio_crq.bench.grammar import slots, transfer
from virtio_crq.bench.row import Counts, Load
from virtio_crq.bench.run import Setting, Stages
from virtio_crq.cli.benchmachine import processor_time
from virtio_crq.cli.clientprocess import ClientProcess
from virtio_crq.cli.storagedaemon import storage_daemon


@dataclass(frozen=True)
class PeerBench:
    """Either a back-end that listens at `socket`, or a storage daemon of our own on `image` for each row."""

    image: Path
    directory: Path
    cases: Sequence[Case]
    program: str = ""
    aio: str = ""
    socket: Path | None = None

    def stages(self, polling: int) -> Stages:
        """Stages whose back-end polls for that many nanoseconds, where that is ours to say."""

        @contextmanager
        def stage(setting: Setting) -> Iterator["PeerStage"]:
            if self.socket is not None:
                with self._front_end(self.socket, setting) as found:
                    yield found
                return
            with (
                storage_daemon(self.program, self.image, self.directory, self.aio, polling, setting.queues) as socket,
                self._front_end(socket, setting) as found,
            ):
                yield found

        return stage

    @contextmanager
    def _front_end(self, socket: Path, setting: Setting) -> Iterator["PeerStage"]:
        limits = str(slots(self.cases)), str(transfer(self.cases))
        load = ClientProcess("peerload", str(socket), *limits, setting.notify, str(setting.queues))
        try:
            server = int(load.answer()["pid"])
            yield PeerStage(load, server, setting.notify)
            load.end()  # its ring stopped: a back-end of others goes on serving
        finally:
            load.close()

    def clear(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


class PeerStage:
    """`bench.run.Stage` without a hypervisor: there is nothing to count."""

    def __init__(self, load: ClientProcess, server: int, notify: str) -> None:
        self._load = load
        self._server = server
        self._notify = notify

    def counts(self) -> Counts:
        return Counts({}, 0, 0, 0)

    def load(self, case: Case, seconds: float) -> Load:
        before = self._served()
        self._load.order(
            size=case.size,
            depth=case.depth,
            write=case.write,
            sequential=case.sequential,
            seconds=seconds,
            notify=self._notify,
        )
        done = Load(**self._load.answer())
        return replace(done, cpu_seconds=done.cpu_seconds + self._served() - before)

    def _served(self) -> float:
        """Processor time of the back-end, 0 where it cannot be known: whoever listened first may be gone."""
        try:
            return processor_time(self._server) if self._server > 0 else 0.0
        except OSError:
            return 0.0
