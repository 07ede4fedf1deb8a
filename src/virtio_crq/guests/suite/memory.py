# SPDX-License-Identifier: Apache-2.0
"""Checks that need a guest whose disks may all go: the module goes and comes under load, and a hostile server."""

from virtio_crq.guests.suite.changes import try_out
from virtio_crq.guests.suite.check import Boot, check
from virtio_crq.guests.suite.disks import DATA
from virtio_crq.guests.suite.scene import Scene

RELOADS = 3


@check("reload", "the module is unloaded and loaded again under load", Boot.MEMORY)
def reload(scene: Scene) -> str:
    file = scene.run("ls /lib/modules/*-virtio_crq.ko").strip()
    for _ in range(RELOADS):
        disk = scene.disk(DATA)
        load = f"while dd if={disk} of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done"
        scene.run(f"for i in 1 2 3; do ({load}) >/dev/null 2>&1 & done; usleep 300000")
        scene.run("rmmod virtio_crq", 60)
        if scene.find_disk(DATA):
            scene.until(lambda: not scene.find_disk(DATA), "end of the disk")
        scene.run(f"insmod {file} {scene.parameters}", 60)
        scene.until(lambda: bool(scene.find_disk(DATA)), "return of the disk")
        try_out(scene, scene.disk(DATA))
    return f"{RELOADS} times, three readers at each; the disk came back and works"


@check("hostile", "a hostile server: the guest logs, stops that device only, and lives", Boot.MEMORY)
def hostile(scene: Scene) -> str:
    return scene.house.hostile(scene)
