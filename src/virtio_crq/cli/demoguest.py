# SPDX-License-Identifier: Apache-2.0
"""The end of the demo: a stock Linux kernel mounts the disk that was carried, where the lab has what that needs."""

import hashlib
import re
import subprocess
from pathlib import Path

from virtio_crq.cli.demotree import DemoFailed
from virtio_crq.cli.roles import command
from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import KERNELS, KernelParts, Lab

FILE, IMAGE, LOG = "guest.toml", "root.img", "guest.log"
PATIENCE = 300  # seconds until the guest is off
PROMPT = "guest# "
HASH = re.compile(r"(?P<sha256>[0-9a-f]{64})  /mnt/(?P<path>\S+)")
FILES = "large/00*.bin"  # of the tree, as the guest's shell finds them

MACHINE = """
[machine]
name = "{name}"

[partition.vios1]
memory = "64M"

[partition.linux1]
memory = "512M"
guest = true
kernel = "{kernel}"
command_line = "quiet"  # a kernel message after the prompt would hide it from who types

[[adapter]]
client = "linux1"
slot = 2
server = "vios1"

[[map]]
client = "linux1"
target = "root"
backing = "file:{image}"
"""

TYPED = (
    "uname -srm",
    "cat /sys/bus/vio/devices/30000002/devspec",
    "ls /sys/bus/virtio/drivers/virtio_blk",
    "mkdir /mnt; mount -t ext4 -o ro /dev/vda /mnt && df -h /mnt",
    f"sha256sum /mnt/{FILES}",
    "poweroff -f",
)


def kernel_of_the_lab() -> KernelParts | None:
    """The kernel to show; None while ./lab has not been run."""
    try:
        lab = Lab.open()
        lab.qemu(), lab.userland()
        return lab.kernel(KERNELS[0])
    except UsageError:
        return None


def boot_guest(work: Path, name: str, kernel: KernelParts) -> list[str]:
    """The dialogue with a guest over `root.img` in `work`; what it reads must be what is in the tree beside it."""
    file = work / FILE
    file.write_text(MACHINE.format(name=name, kernel=kernel.name, image=IMAGE))
    typed = "".join(f"{line}\n" for line in TYPED)
    try:
        done = subprocess.run(
            command("boot", str(file), "--log", str(work / LOG)),
            input=typed, capture_output=True, text=True, errors="replace", timeout=PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DemoFailed(f"the guest was not off after {PATIENCE} seconds") from None
    if done.returncode:
        raise DemoFailed(f"the guest ended with status {done.returncode}: {' '.join(done.stderr.split()[-40:])}")
    lines = dialogue(done.stdout)
    read = {found["path"]: found["sha256"] for line in lines if (found := HASH.search(line))}
    here = {str(path.relative_to(work / "tree")): path for path in (work / "tree").glob(FILES)}
    if not here or set(read) != set(here):
        raise DemoFailed(f"the guest read {len(read)} files of {len(here)}")
    wrong = [path for path, place in here.items() if hashlib.sha256(place.read_bytes()).hexdigest() != read[path]]
    if wrong:
        raise DemoFailed(f"the guest read {len(wrong)} files wrong, the first: {wrong[0]}")
    return lines


def dialogue(output: str) -> list[str]:
    """What was typed at the guest's prompt and what it answered, without the kernel's messages and the terminal's."""
    plain = re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", output.replace("\r", ""))
    _, prompt, said = plain.partition(PROMPT)
    return [line.rstrip() for line in (prompt + said).splitlines() if line.strip() and not line.startswith("[")]
