# SPDX-License-Identifier: Apache-2.0
"""Checks of what runs: the root disk, the package's own bytes, the drivers bound."""

import hashlib
from pathlib import Path
from typing import Any

from virtio_crq.guests.suite.check import Boot, CheckFailed, check
from virtio_crq.guests.suite.scene import Scene

CHECKSUMS = "var/lib/dpkg/info"  # where a package's own list of checksums lies, below the tree it was unpacked to


@check("boot", "the kernel boots with its root file system on a virtio-crq disk")
def boot(scene: Scene) -> str:
    device = scene.run('awk \'$2 == "/" && $1 != "rootfs" { print $1 }\' /proc/mounts').split()[-1]
    if not device.startswith("/dev/vd"):
        raise CheckFailed(f"root is on {device}")
    path = scene.run(f"readlink -f /sys/block/{device.removeprefix('/dev/')}/device").strip()
    if "/vio/" not in path:
        raise CheckFailed(f"the root disk is {path}, no device of a vio adapter")
    release = scene.run("uname -r").strip()
    if release != scene.kernel.release:
        raise CheckFailed(f"the guest runs {release}, asked was {scene.kernel.release}")
    seconds = f"{scene.boot_seconds:.1f}"
    scene.facts["boot_seconds"] = float(seconds)
    return f"{release}, root on {device}, {seconds} s from nothing to the agent"


@check("devices", "every virtio device hangs on a vio adapter and has its stock driver")
def devices(scene: Scene) -> str:
    command = (
        "cd /sys/bus/virtio/devices && for d in *; do "
        'echo "$d $(basename $(readlink $d/driver 2>/dev/null) 2>/dev/null || echo -) $(readlink -f $d)"; done'
    )
    rows = [line.split() for line in scene.lines(command)]
    scene.facts["devices"] = [{"device": name, "driver": driver, "path": path} for name, driver, path in rows]
    astray = [name for name, _driver, path in rows if "/vio/" not in path]
    idle = [name for name, driver, _path in rows if driver == "-"]
    if astray or idle or not rows:
        raise CheckFailed(f"not on a vio adapter: {astray}; without a driver: {idle}; of {len(rows)} devices")
    drivers = sorted({driver for _name, driver, _path in rows})
    missing = {"virtio_blk", "virtio_rng", "virtio_console"} - set(drivers)
    if missing:
        raise CheckFailed(f"no device is bound to {', '.join(sorted(missing))}")
    return f"{len(rows)} devices: {', '.join(drivers)}"


@check("identical", "virtio modules and kernel are the package's, byte for byte", Boot.MEMORY)
def identical(scene: Scene) -> str:
    """On disk against the package's own checksums; in the guest against what is on disk."""
    hashes: dict[str, dict[str, Any]] = {}
    scene.facts["hashes"] = hashes
    kernel = scene.kernel.vmlinux
    hashes[kernel.name] = {"sha256": hashlib.sha256(kernel.read_bytes()).hexdigest(), **_as_packaged(scene, kernel)}
    rows = [line.split() for line in scene.lines("cd /lib/modules && sha256sum *.ko")]
    inside = {name: digest for digest, name in rows}
    for number, carried in enumerate(scene.initramfs.modules):
        if inside.get(f"{number:03}-{carried.name}.ko") != carried.sha256:
            raise CheckFailed(f"module {carried.name} in the guest is not that of {carried.path}")
        facts: dict[str, Any] = {"ours": True} if carried.ours else _as_packaged(scene, carried.path)
        hashes[carried.name] = {"sha256": carried.sha256, **facts}
    scene.facts["builtin"] = list(scene.initramfs.builtin)
    stock = sum(not carried.ours for carried in scene.initramfs.modules)
    return f"{kernel.name}, {stock} modules; built in: {', '.join(scene.initramfs.builtin) or 'none'}"


def _as_packaged(scene: Scene, path: Path) -> dict[str, Any]:
    """The package whose list of checksums has this file with this content."""
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    for tree in scene.kernel.modules.parents:
        lists = sorted((tree / CHECKSUMS).glob("*.md5sums"))
        if not lists:
            continue
        name = str(path.relative_to(tree))
        for each in lists:
            for line in each.read_text().splitlines():
                told, _, place = line.partition("  ")
                if place in (name, f"usr/{name}"):
                    if told != digest:
                        raise CheckFailed(f"{path} is not what package {each.stem} holds")
                    return {"package": each.stem}
        raise CheckFailed(f"{path} stands in no package's list of files")
    raise CheckFailed("the lab has no lists of its packages' files; run ./lab --again")
