# SPDX-License-Identifier: Apache-2.0
"""Checks of disks, entropy and processors in a guest that is left in peace."""

from virtio_crq.guests.suite.check import CheckFailed, check
from virtio_crq.guests.suite.scene import GUEST, Scene

MOUNT = "/mnt"
DATA = "data"
FIO = "fio --name=v --bs=4k --direct=1 --ioengine=libaio --iodepth=16 --verify=crc32c --verify_fatal=1"
FIO_SECONDS = 120.0
NARROW, NARROW_WINDOW = "narrow", "1M"
LARGER = 192  # MiB; the data disk has less


@check("filesystem", "mkfs.ext4, fio with verify, fsck on a virtio-crq disk")
def filesystem(scene: Scene) -> str:
    disk = scene.disk(DATA)
    scene.run(f"mkfs.ext4 -q -F {disk} && mount {disk} {MOUNT}", 60)
    try:
        scene.run(f"{FIO} --directory={MOUNT} --rw=randwrite --size=16m --do_verify=1", FIO_SECONDS)
    finally:
        scene.run(f"umount {MOUNT}", 60)
    scene.run(f"fsck.ext4 -fn {disk}", 60)
    return f"16 MiB of verified random writes on {disk}, clean afterwards"


@check("entropy", "the guest's hwrng reads from the virtio-crq entropy device")
def entropy(scene: Scene) -> str:
    current = scene.run("cat /sys/class/misc/hw_random/rng_current").strip()
    if not current.startswith("virtio_rng"):
        raise CheckFailed(f"the random number generator in use is {current}")
    content = scene.run("dd if=/dev/hwrng bs=512 count=4 2>/dev/null | base64 | tr -d '\\n'")
    if len(set(content)) < 60:
        raise CheckFailed("2 KiB of entropy do not have the 64 letters of base64 in them")
    return f"{current}, 2048 bytes"


@check("processors", "two virtual processors, I/O from both")
def processors(scene: Scene) -> str:
    count = int(scene.run("grep -c '^processor' /proc/cpuinfo"))
    if count != scene.vcpus:
        raise CheckFailed(f"the guest has {count} processors, not {scene.vcpus}")
    disk = scene.disk(DATA)
    reads = " & ".join(
        f"taskset {1 << cpu:x} dd if={disk} of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null"
        for cpu in range(scene.vcpus)
    )
    scene.run(f"{reads} & wait", 60)
    return f"{count}, direct reads pinned to each at a time"


@check("narrow", "more requests in flight than the window maps: they wait, and none fails")
def narrow(scene: Scene) -> str:
    disk = scene.disk(NARROW)
    load = FIO.replace("--iodepth=16", "--iodepth=64").replace("--bs=4k", "--bsrange=4k-64k --bs_unaligned=0")
    scene.run(f"{load} --filename={disk} --rw=randwrite --size=8m --do_verify=1", FIO_SECONDS)
    if errors := scene.said(f"I/O error, dev {disk.removeprefix('/dev/')},"):
        raise CheckFailed(errors[0])
    return f"8 MiB of verified writes of 4 to 64 KiB at depth 64 through a window of {NARROW_WINDOW}iB"


@check("resize", "a disk that grows on the server grows in the guest, and can be used to its new end")
def resize(scene: Scene) -> str:
    disk = scene.disk(DATA)
    size = f"/sys/block/{disk.removeprefix('/dev/')}/size"
    before = int(scene.run(f"cat {size}")) >> 11
    scene.house.command("vios", "resize", f"{GUEST}/{DATA}", f"{LARGER}M")
    seconds = scene.until(lambda: int(scene.run(f"cat {size}")) >> 11 == LARGER, f"size of {LARGER} MiB")
    end = f"bs=64k seek={LARGER * 16 - 1} count=1"
    scene.run(
        f"dd if=/dev/urandom of=/run/end bs=64k count=1 2>/dev/null && dd if=/run/end of={disk} {end} oflag=direct"
    )
    scene.run(f"dd if={disk} {end.replace('seek', 'skip')} iflag=direct 2>/dev/null | cmp - /run/end")
    return f"{before} MiB became {LARGER} MiB in the guest after {seconds:.1f} s"
