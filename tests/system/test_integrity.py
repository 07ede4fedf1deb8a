# SPDX-License-Identifier: Apache-2.0
"""Ordinary tools at the far end of the CRQ: what fio, qemu-img, nbdcopy and e2fsck write and read is what is there.

Hypervisor, I/O server and client are processes; the tools speak NBD to the client's export.
"""

import json
import os
import random
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from runningmachine import COMMAND, PATIENCE, RunningMachine

from combinations import PLAIN, Combination, selected
from virtio_crq.cli.axes import NOTE

MIB = 1 << 20
SIZE = 40 * MIB
TOOLS = ("fio", "qemu-img", "nbdcopy", "mke2fs", "e2fsck")
ADMINISTRATION = os.environ["PATH"] + ":/usr/sbin:/sbin"  # where e2fsprogs live, in the path of root alone

MACHINE = """
[machine]
name = "system"
{platform}
[partition.vios1]
memory = "32M"
{server}
[partition.web1]
memory = "32M"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
{adapter}
[[map]]
client = "web1"
target = "root"
backing = "file:root.img"
[[map]]
client = "web1"
target = "cd"
backing = "file:cd.img"
readonly = true
"""
STRETCHES = {"small": 4 * MIB, "mixed": 16 * MIB, "large": 16 * MIB}
# Three loads side by side, each on its own stretch: small and alone, mixed and deep, large. Each writes, then reads
# back what it wrote and checks the crc32c of every block.
LOADS = """
[global]
ioengine=nbd
uri={uri}
thread=1
verify=crc32c
verify_fatal=1
do_verify=1
randseed={seed}
verify_state_save=0
group_reporting=1
[small]
rw=randwrite
bs=4k
iodepth=1
offset=0
size={small}
[mixed]
rw=randwrite
bssplit=512/10:4k/40:12k/20:64k/20:128k/10
iodepth=32
offset=8m
size={mixed}
[large]
rw=write
bs=1m
iodepth=4
offset=24m
size={large}
"""


def tool(*arguments: str | Path, seconds: float = PATIENCE, status: int = 0) -> str:
    """A command that ends with `status`; what it said, to either stream."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        env=os.environ | {"PATH": ADMINISTRATION},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == status, f"{arguments}: status {done.returncode}\n{done.stdout}"
    return done.stdout


@pytest.fixture(autouse=True)
def tools() -> None:
    missing = [name for name in TOOLS if shutil.which(name, path=ADMINISTRATION) is None]
    assert not missing, f"./check installs what is missing: {', '.join(missing)}"


@contextmanager
def machine(directory: Path, image: bytes, combination: Combination = PLAIN) -> Iterator[RunningMachine]:
    with (directory / "root.img").open("wb") as file:
        file.truncate(SIZE)
    (directory / "cd.img").write_bytes(image)
    with RunningMachine(directory, combination.described(MACHINE)) as running:
        yield running


@contextmanager
def exported(running: RunningMachine, disk: str, combination: Combination = PLAIN) -> Iterator[str]:
    """The disk's NBD URI while `virtio-crq disk export` serves it."""
    path = running.state / "nbd.sock"
    client = disk.partition("/")[0]
    (running.state / NOTE).write_text(json.dumps({client: combination.choices}))
    process = subprocess.Popen(
        [*COMMAND, "disk", "export", "--nbd", str(path), disk],
        env=running.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert select.select([process.stdout], [], [], PATIENCE)[0], "the export says nothing"
        assert disk in process.stdout.readline()
        yield f"nbd+unix:///{disk.partition('/')[2]}?socket={path}"
        assert process.poll() is None, f"the export ended by itself\n{running.logs()}"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        process.stdout.close()


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def verified_load(directory: Path, uri: str, seed: int, share: int = 1, seconds: float = PATIENCE) -> None:
    """fio writes a `share`th of each stretch and reads it back; a block that is not what it wrote is a failure."""
    job, report = directory / "load.fio", directory / "fio.json"
    sizes = {name: size // share for name, size in STRETCHES.items()}
    job.write_text(LOADS.format(uri=uri, seed=seed, **sizes))
    tool("fio", "--output", report, "--output-format=json", job, seconds=seconds)
    text = report.read_text()
    jobs = json.loads(text[text.index("{") :])["jobs"]  # the engine's own chatter comes first
    assert [job["error"] for job in jobs] == [0]
    done = {way: sum(job[way]["io_bytes"] for job in jobs) for way in ("read", "write")}
    assert done == dict.fromkeys(done, sum(sizes.values()))  # all of it was written, and all of it verified


@pytest.mark.timeout(90)
@pytest.mark.parametrize("combination", selected())
def test_fio_reads_back_what_it_wrote_and_the_image_holds_the_same(tmp_path: Path, combination: Combination) -> None:
    with machine(tmp_path, noise(MIB), combination) as running:
        with exported(running, "web1/root", combination) as uri:
            combination.seen_in(running.adapter("web1")["targets"][0])
            verified_load(tmp_path, uri, seed=20261122, share=2)
            said = tool("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, tmp_path / "root.img")
            assert "Images are identical" in said
        assert not running.refused("web1")


@pytest.mark.timeout(90)
@pytest.mark.parametrize("copies", ["", "weak"])
def test_nbdcopy_both_ways_and_qemu_img_say_identical(tmp_path: Path, copies: str) -> None:
    plain = replace(PLAIN, copies=copies)
    source, back = tmp_path / "source.img", tmp_path / "back.img"
    source.write_bytes(noise(SIZE))
    with machine(tmp_path, noise(MIB), plain) as running, exported(running, "web1/root") as uri:
        tool("nbdcopy", "--flush", source, uri)
        tool("nbdcopy", uri, back)
        assert back.read_bytes() == source.read_bytes()
        assert "Images are identical" in tool("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, source)


@pytest.mark.timeout(90)
def test_a_read_only_disk_is_read_by_all_and_written_by_none(tmp_path: Path) -> None:
    image = noise(3 * MIB, seed=2)
    (tmp_path / "other.img").write_bytes(noise(3 * MIB, seed=3))
    with machine(tmp_path, image) as running:
        with exported(running, "web1/cd") as uri:
            assert "Images are identical" in tool(
                "qemu-img", "compare", "-f", "raw", "-F", "raw", uri, tmp_path / "cd.img"
            )
            tool("nbdcopy", tmp_path / "other.img", uri, status=1)
            tool("qemu-io", "-r", "-f", "raw", "-c", "read 0 64k", uri)
        done = running.run("disk", "copy", "other.img", "web1/cd")
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1, done.stderr
    assert (tmp_path / "cd.img").read_bytes() == image


@pytest.mark.timeout(90)
def test_a_file_system_that_was_copied_in_is_clean_in_the_backing(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(200):
        path = tree / f"{number % 7}" / f"file{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(number * 97, seed=number))
    tool("mke2fs", "-q", "-t", "ext4", "-d", tree, tmp_path / "source.img", f"{SIZE // MIB}M")
    with machine(tmp_path, noise(MIB)) as running:
        running.must("disk", "copy", "source.img", "web1/root")
        running.must("disk", "copy", "web1/root", "back.img")
        with exported(running, "web1/root") as uri:
            tool("nbdcopy", uri, tmp_path / "again.img")
    for name in ("root.img", "back.img", "again.img"):
        tool("e2fsck", "-fn", tmp_path / name)
        assert (tmp_path / name).read_bytes() == (tmp_path / "source.img").read_bytes(), name


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("combination", selected())
def test_soak_fio_stays_clean_while_the_server_is_killed_again_and_again(
    tmp_path: Path, combination: Combination
) -> None:
    """SOAK_SECONDS (300) a way: new loads with new seeds, and a kill -9 of the I/O server every few seconds."""
    seconds = float(os.environ.get("SOAK_SECONDS", "300"))
    over = threading.Event()
    timer = threading.Timer(seconds, over.set)
    with (
        machine(tmp_path, noise(MIB), combination) as running,
        exported(running, "web1/root", combination) as uri,
    ):

        def kill() -> None:
            while not over.wait(4.0):
                running.kill("vios1")
                running.start("vios1")

        killer = threading.Thread(target=kill)
        timer.start()
        killer.start()
        try:
            seed = 0
            while not over.is_set():
                seed += 1
                verified_load(tmp_path, uri, seed, seconds=10 * PATIENCE)
        finally:
            over.set()
            timer.cancel()
            killer.join()
        assert "Images are identical" in tool(
            "qemu-img", "compare", "-f", "raw", "-F", "raw", uri, tmp_path / "root.img"
        )
