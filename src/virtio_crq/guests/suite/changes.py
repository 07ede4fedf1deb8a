# SPDX-License-Identifier: Apache-2.0
"""Checks of what appears and disappears while the guest runs: disks, adapters, and a client beside it."""

import json

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.suite.check import CheckFailed, check
from virtio_crq.guests.suite.disks import DATA
from virtio_crq.guests.suite.scene import GUEST, SERVER, Scene
from virtio_crq.hypervisor.definition import unit_address

HOT, LATE, LATE_SLOT = "hot", "late", 4
BESIDE_WRITES = 2000
ADD_SLOT = "/sys/bus/pci/slots/control/add_slot"


@check("hotplug", "a disk is added to and taken from the running guest")
def hotplug(scene: Scene) -> str:
    scene.house.command("vios", "map", GUEST, "ram:16M", "--as", HOT, "--server", SERVER)
    appeared = scene.until(lambda: bool(scene.find_disk(HOT)), "new disk")
    disk = scene.find_disk(HOT)
    try_out(scene, disk)
    scene.house.command("vios", "unmap", f"{GUEST}/{HOT}", "--force")
    gone = scene.until(lambda: not scene.find_disk(HOT), "end of the disk that was unmapped")
    return f"{disk} there after {appeared:.1f} s, gone after {gone:.1f} s"


@check("dlpar", "an adapter is added to the running guest (DLPAR), with its disk, whose data is redirected")
def dlpar(scene: Scene) -> str:
    assert scene.guest is not None
    unit = unit_address(LATE_SLOT)
    if scene.find_disk(LATE):
        raise CheckFailed("the disk of the adapter that is to be added is there already")
    scene.agent.put(scene.guest.slot_node(unit), "/run/node")
    scene.run("cat /run/node > /proc/powerpc/ofdt")
    scene.run(f"printf %s '{scene.guest.slot_name(unit)}' > {ADD_SLOT}")
    seconds = scene.until(lambda: bool(scene.find_disk(LATE)), "disk of the new adapter")
    try_out(scene, scene.disk(LATE))
    redirected = _counted(scene, LATE).get("redirected", 0)
    return f"adapter {unit:x}, disk {scene.disk(LATE)} after {seconds:.1f} s, {redirected} reads redirected"


def _counted(scene: Scene, target: str) -> dict[str, int]:
    """What the servers counted for one of the guest's disks."""
    adapters = json.loads(scene.house.command("vios", "lsmap", "--json"))
    found = [row["counters"] for adapter in adapters for row in adapter["targets"] if row["target"] == target]
    return dict(found[0]) if found else {}


def try_out(scene: Scene, disk: str) -> None:
    """1 MiB written and read back."""
    scene.run("dd if=/dev/urandom of=/run/sample bs=64k count=16 2>/dev/null")
    scene.run(f"dd if=/run/sample of={disk} bs=64k oflag=direct 2>/dev/null")
    scene.run(f"dd if={disk} bs=64k count=16 iflag=direct 2>/dev/null | cmp - /run/sample")


@check("beside", "a user-space client works on the same server, at the same time")
def beside(scene: Scene) -> str:
    disk = scene.disk(DATA)
    with scene.house.neighbour() as neighbour:
        before = neighbour.progress()
        scene.run(f"dd if={disk} of=/dev/null bs=64k count=256 iflag=direct 2>/dev/null", 60)
        during = neighbour.progress() - before
        if during <= 0:
            raise VirtioCrqError("the user-space client stood still while the guest read")
        scene.until(lambda: neighbour.progress() >= before + BESIDE_WRITES, "progress of the user-space client", 60)
    return f"{during} verified writes of the client while the guest read 16 MiB"
