# SPDX-License-Identifier: Apache-2.0
"""QEMU's storage daemon under our driver, its start and its end; and the command that compares with it."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from person import Person

from virtio_crq.bench.grammar import case
from virtio_crq.bench.peers import STORAGE_DAEMON
from virtio_crq.bench.run import Setting
from virtio_crq.cli.peerdisk import peer_disk
from virtio_crq.cli.peerstage import PeerBench
from virtio_crq.cli.storagedaemon import MISSING, PROGRAM, arguments, find_daemon, storage_daemon, version
from virtio_crq.errors import UsageError, VirtioCrqError

IMAGE = 4 << 20
needs_daemon = pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=MISSING)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(3).randbytes(IMAGE))
    return path


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where machines are; a socket's path must be short."""
    with TemporaryDirectory(prefix="peers-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name) / "virtio-crq"


def program(path: Path, script: str) -> str:
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(0o755)
    return str(path)


@needs_daemon
@pytest.mark.parametrize("asks", [False, True], ids=["polling", "sleeping"])
def test_the_daemon_serves_our_driver(tmp_path: Path, image: Path, asks: bool) -> None:
    image = image.rename(tmp_path / "disk,1.img")  # a comma separates the daemon's options
    before = image.read_bytes()
    data = random.Random(4).randbytes(8192)
    with (
        storage_daemon(find_daemon(), image, tmp_path, "threads", 0) as socket,
        peer_disk(socket, 4, 65536, asks) as disk,
    ):
        assert disk.backend.capacity == IMAGE
        port, driver = disk.driver.port, disk.driver

        def request(kind: int, sector: int, length: int) -> bytes:
            slot = driver.acquire(length)
            if kind:
                port.write(driver.data(slot), data)
            assert driver.submit(slot, kind, sector, length) == 0
            disk.front.publish()
            disk.front.settle(disk.channel)
            while driver.reap() < 0:
                pass
            assert driver.status(slot) == 0
            found = port.read(driver.data(slot), length)
            driver.release(slot)
            return found

        assert request(0, 9, 65536) == before[9 * 512 : 9 * 512 + 65536]
        request(1, 64, 8192)
        assert request(0, 64, 8192) == data
    assert image.read_bytes()[64 * 512 : 64 * 512 + 8192] == data


@needs_daemon
def test_a_row_is_measured_and_its_processes_are_gone(tmp_path: Path, image: Path) -> None:
    load = case("randread-4k-qd8")
    bench = PeerBench(image, tmp_path, [load], find_daemon(), "threads")
    with bench.stages(0)(Setting(STORAGE_DAEMON, "file", "sleeping")) as stage:
        found = stage.load(load, 0.1)
        daemon = int((tmp_path / "peer.pid").read_text())
    assert found.requests > 8
    assert found.cpu_seconds > 0
    assert stage.counts().hcalls == {}
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)


@needs_daemon
@pytest.mark.parametrize("notify", ["polling", "sleeping"])
def test_the_load_is_spread_over_the_queues_of_the_daemon(tmp_path: Path, image: Path, notify: str) -> None:
    load = case("randread-4k-qd8")
    bench = PeerBench(image, tmp_path, [load], find_daemon(), "threads")
    with bench.stages(0)(Setting(STORAGE_DAEMON, "file", notify, queues=4)) as stage:
        found = stage.load(load, 0.1)
    assert found.requests > 8
    assert found.queues == 4


@needs_daemon
def test_no_more_queues_are_used_than_the_daemon_has(tmp_path: Path, image: Path) -> None:
    with (
        storage_daemon(find_daemon(), image, tmp_path, "threads", 0, queues=2) as socket,
        peer_disk(socket, 8, 4096, False, queues=3) as disk,
    ):
        assert len(disk.queues) == 2
        assert [queue.driver.slots for queue in disk.queues] == [4, 4]


def test_a_missing_daemon_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="sudo apt-get install -y --no-install-recommends qemu-system-common"):
        find_daemon()
    with pytest.raises(UsageError, match="/no/daemon: there is no such program"):
        find_daemon(Path("/no/daemon"))


def test_a_daemon_that_ends_at_once_is_told_by_its_last_words(tmp_path: Path, image: Path) -> None:
    failing = program(tmp_path / "daemon", "import sys\nsys.exit('one\\nfilename: no such option\\n')")
    with pytest.raises(VirtioCrqError, match=r"^filename: no such option$"):
        with storage_daemon(failing, image, tmp_path, "threads", 0):
            pass
    silent = program(tmp_path / "daemon", "import sys\nsys.exit(3)")
    with pytest.raises(VirtioCrqError, match="ended with status 3"):
        with storage_daemon(silent, image, tmp_path, "threads", 0):
            pass


def test_the_file_is_read_through_the_page_cache_as_our_server_reads_it(tmp_path: Path) -> None:
    words = arguments("d", Path("/a,b"), Path("/s"), Path("/p"), "io_uring", 7)
    assert "driver=file,node-name=disk,filename=/a,,b,aio=io_uring,cache.direct=off" in words
    assert "iothread,id=io,poll-max-ns=7" in words
    assert version(program(tmp_path / "daemon", "print('qemu-storage-daemon version 9.9 (x)')")) == "9.9 (x)"


def peers(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "virtio_crq.cli", "bench", "peers", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--case", "fast"], "case 'fast' is not KIND-SIZE-qdDEPTH"),
        (["--rung", "pulled"], "rung 'pulled' is not one of"),
        (["--notify", "loudly"], "notify 'loudly' is not one of polling, sleeping"),
        (["--aio", "native"], "aio 'native' is not one of io_uring, threads"),
        (["--daemon", "/no/daemon"], "/no/daemon: there is no such program"),
        (["--socket", "/no/socket"], "/no/socket: No such file or directory"),
        (["--socket", "/dev/null"], "/dev/null is not a socket"),
        (["--json", "/no/where/x.json"], "/no/where/x.json: no such directory"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words: list[str], said: str) -> None:
    done = peers(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"virtio-crq: {said}")
    assert done.stderr.count("\n") == 1


FAST = ("--case", "randread-4k-qd1", "--rung", "batched", "--rounds", "1", "--seconds", "0.1", "--notify", "sleeping")


@needs_daemon
def test_the_command_measures_both_and_writes_what_it_found(tmp_path: Path, image: Path, runtime: Path) -> None:
    done = peers(*FAST, "--file", str(image), "--json", str(tmp_path / "peers.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "peers.json").read_text())
    assert {row["rung"] for row in found["rows"]} == {"batched", "qemu-storage-daemon"}
    assert [row["vs_peer"] is not None for row in found["summary"]] == [True, True]
    assert found["setting"]["command"][0].endswith(PROGRAM)
    assert "qemu-storage-daemon" in done.stdout
    assert list(runtime.iterdir()) == []


def test_a_daemon_that_is_no_back_end_is_one_line_and_leaves_nothing(
    tmp_path: Path, image: Path, runtime: Path
) -> None:
    script = (
        "import socket, sys\nwords = ' '.join(sys.argv)\n"
        "path = words.partition('addr.path=')[2].partition(',')[0]\n"
        "listener = socket.socket(socket.AF_UNIX)\nlistener.bind(path)\nlistener.listen()\n"
        "open(sys.argv[-1], 'w').write('1')\n"
        "connection, _ = listener.accept()\nconnection.sendall(b'220 mail.example ESMTP ready\\r\\n')\n"
        "connection.recv(1000)\nconnection.recv(1000)\n"
    )
    done = peers(*FAST, "--file", str(image), "--daemon", program(tmp_path / "daemon", script))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "GET_FEATURES was answered by what is no vhost-user message" in done.stderr
    assert list(runtime.iterdir()) == []


@needs_daemon
def test_ctrl_c_leaves_neither_daemon_nor_file(tmp_path: Path, image: Path, runtime: Path) -> None:
    words = ("--case", "randread-4k-qd1", "--rung", "batched", "--seconds", "60", "--notify", "polling")
    with Person(os.environ, tmp_path, "bench", "peers", *words, "--file", str(image), size=(24, 160)) as person:
        person.sees(rb"poll-max-ns 0")
        while not (found := list(runtime.glob("peers-*/peer.pid"))) or not (text := found[0].read_text()):
            pass
        daemon = int(text)
        person.types(b"\x03")
        person.sees(rb"stopped; nothing is left behind")
        assert person.status() == 130
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)
    assert list(runtime.iterdir()) == []
