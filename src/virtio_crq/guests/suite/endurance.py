# SPDX-License-Identifier: Apache-2.0
"""Checks of a server that dies under the guest, and comes back or does not; and of a platform that suspends it."""

from collections import Counter
from collections.abc import Callable

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.fio import the_job
from virtio_crq.guests.suite.check import Boot, CheckFailed, check
from virtio_crq.guests.suite.consoles import FIRST_OTHER
from virtio_crq.guests.suite.disks import DATA, FIO, MOUNT
from virtio_crq.guests.suite.scene import SERVER, Scene

KILLS = SUSPENSIONS = 10
LOAD_SECONDS = 300  # the load is ended before, when all kills are done
REQUESTS_BETWEEN = 50  # so many I/Os are seen on the disk between two kills
AWAY_SECONDS = 5
BOUND_SECONDS = 30.0
PATIENCE = 60.0
PARAMETER = "/sys/module/virtio_crq/parameters/away_seconds"
# To fio's first process alone, which tells the one that does the I/O by memory of both. That one is not interrupted: it
# allocates for each write, fio's handler prints, and printing would wait for ever for a lock that the allocator has.
ENOUGH = "kill -INT $(cat /run/fio.pid)"


@check("kills", "the server is killed with -9 and restarted ten times under verified I/O: a pause, no error")
def kills(scene: Scene) -> str:
    def kill() -> None:
        scene.house.kill(SERVER)
        scene.house.start(SERVER)

    done, pause = _under_load(scene, kill, KILLS)
    scene.facts["longest_pause_seconds"] = round(pause, 2)
    return f"{KILLS} kills, {done} verified I/Os, none failed; longest pause {pause:.2f} s"


@check(
    "suspended", "the platform suspends the connection ten times under verified I/O: the driver enables its CRQ again"
)
def suspended(scene: Scene) -> str:
    before = Counter(scene.house.calls(SERVER))
    done, pause = _under_load(scene, lambda: scene.house.suspend(SERVER), SUSPENSIONS)
    made = Counter(scene.house.calls(SERVER)) - before
    if made["H_ENABLE_CRQ"] != SUSPENSIONS or made["H_REG_CRQ"]:
        raise CheckFailed(
            f"after {SUSPENSIONS} suspensions: H_ENABLE_CRQ × {made['H_ENABLE_CRQ']}, H_REG_CRQ × {made['H_REG_CRQ']}"
        )
    return f"{SUSPENSIONS} times H_ENABLE_CRQ, {done} verified I/Os, none failed; longest pause {pause:.2f} s"


def _under_load(scene: Scene, act: Callable[[], None], times: int) -> tuple[int, float]:
    """How many I/Os were verified while `act` was done again and again, and the longest pause in seconds."""
    disk = scene.disk(DATA)
    scene.run(f"mkfs.ext4 -q -F {disk} && mount {disk} {MOUNT}", 60)
    load = (
        f"{FIO} --directory={MOUNT} --rw=randwrite --size=8m --time_based --runtime={LOAD_SECONDS} "
        "--verify_backlog=64 --output-format=json --output=/run/fio.json"
    )
    scene.run("rm -f /run/fio.*")
    scene.run(under_way(load))
    for _ in range(times):
        _progress(scene, disk)
        act()
    _progress(scene, disk)
    scene.run(ENOUGH)
    _until(scene, disk, lambda: scene.agent.run("test -s /run/fio.status").status == 0, "end of the load")
    said = scene.run("cat /run/fio.said /run/fio.status")
    job = the_job(scene.agent.get("/run/fio.json").decode(errors="replace"))
    errors = scene.said("I/O error")
    if job["error"] or errors:
        raise CheckFailed(f"fio: error {job['error']}: {said.strip()} {' '.join(errors)}")
    scene.run(f"umount {MOUNT}", 60)
    scene.run(f"fsck.ext4 -fn {disk}", 60)
    pause = max(job[way]["clat_ns"]["max"] for way in ("read", "write")) / 1e9
    return job["read"]["total_ios"] + job["write"]["total_ios"], pause


def under_way(load: str) -> str:
    """Shell text: the load in the background. /run/fio.pid is its first process; /run/fio.status comes at its end."""
    return f"(sh -c 'echo $$ >/run/fio.pid; exec {load}'; echo $? >/run/fio.status) >/run/fio.said 2>&1 &"


def _progress(scene: Scene, disk: str) -> None:
    """Until the disk has done some more."""
    before = _completed(scene, disk)
    _until(scene, disk, lambda: _completed(scene, disk) >= before + REQUESTS_BETWEEN, "progress of the load")


def _until(scene: Scene, disk: str, holds: Callable[[], bool], what: str) -> None:
    """As `scene.until`. What the disk has in flight tells a request that is lost from a load that hangs by itself."""
    try:
        scene.until(holds, what, PATIENCE)
    except VirtioCrqError as error:
        waiting = scene.run(f"cat /sys/block/{disk.removeprefix('/dev/')}/inflight").split()
        raise CheckFailed(f"{error}; reads and writes in flight: {' '.join(waiting)}") from None


def _completed(scene: Scene, disk: str) -> int:
    words = scene.run(f"cat /sys/block/{disk.removeprefix('/dev/')}/stat").split()
    return int(words[0]) + int(words[4])  # reads and writes that ended


@check("shutdown", "the guest shuts down in bounded time", ends_guest=True)
def shutdown(scene: Scene) -> str:
    return switch_off(scene)


@check(
    "away",
    "the server is away for good: I/O errors in bounded time, no printing hangs, and the guest can shut down",
    Boot.MEMORY,
    ends_guest=True,
)
def away(scene: Scene) -> str:
    disk = scene.disk(DATA)
    scene.run(f"echo {AWAY_SECONDS} >{PARAMETER}")
    scene.house.kill(SERVER)
    try:
        read = f"dd if={disk} of=/dev/null bs=4k count=1 iflag=direct"
        begun = scene.run("cut -d' ' -f1 /proc/uptime")
        status = scene.agent.run(read, BOUND_SECONDS).status
        seconds = float(scene.run("cut -d' ' -f1 /proc/uptime")) - float(begun)
        if status == 0:
            raise CheckFailed("a read succeeded although the server was gone")
        _print_to_nobody(scene)
        ended = switch_off(scene)
    finally:
        scene.house.start(SERVER)
    return f"I/O error after {seconds:.1f} s (away_seconds={AWAY_SECONDS}); {ended}"


def _print_to_nobody(scene: Scene) -> None:
    """Who prints to a console of the server's comes to an end, whatever becomes of the output."""
    print_there = (
        f"for t in /dev/hvc[{FIRST_OTHER}-9]; do (: <>$t) 2>/dev/null && seq 1 50 >$t; done; echo >/run/printed"
    )
    scene.run(f"({print_there}) >/dev/null 2>&1 &")
    ended = "end of printing to a console without a server"
    scene.until(lambda: scene.agent.run("test -e /run/printed").status == 0, ended, BOUND_SECONDS)


def switch_off(scene: Scene) -> str:
    assert scene.guest is not None
    guest = scene.guest
    scene.agent.run("(sleep 0.2; poweroff) >/dev/null 2>&1 &")
    ending = guest.wait(BOUND_SECONDS)
    if ending is None or ending.why != "off":
        raise CheckFailed(
            f"the guest was asked to switch off; after {BOUND_SECONDS:.0f} s: {ending or 'it still runs'}"
        )
    return "switched off"
