# SPDX-License-Identifier: Apache-2.0
"""ibmvscsis set up by configfs alone: the shell commands that its guest runs, in the order that the driver needs.

No targetcli: each step is a directory, a link or a word in a file of the kernel's own target subsystem.
"""

from dataclasses import dataclass

CONFIG = "/sys/kernel/config/target"
STORE = f"{CONFIG}/core/fileio_0/disk0"
IMAGE = "/images/disk0"
MIB = 1 << 20


@dataclass(frozen=True)
class Target:
    """The one disk that the server's guest offers on the vio device `device`, named by its unit address."""

    device: str
    size: int = 256 * MIB
    buffered: bool = False  # without O_DSYNC: a write cache, flushed when the client says so

    @property
    def group(self) -> str:
        return f"{CONFIG}/ibmvscsis/{self.device}/tpgt_1"

    def prepare(self) -> str:
        """Store, target, portal group, LUN; in the end nothing listens yet. The name must be that of a bound device."""
        mode = ",fd_buffered_io=1" if self.buffered else ""
        return "\n".join(
            (
                "set -e",
                f"test -e /sys/bus/vio/drivers/ibmvscsis/{self.device}",
                f"mkdir -p {IMAGE.rpartition('/')[0]} && mount -t tmpfs images {IMAGE.rpartition('/')[0]}",
                f"truncate -s {self.size} {IMAGE}",
                "mount -t configfs none /sys/kernel/config",
                f"mkdir -p {STORE}",
                f"echo fd_dev_name={IMAGE},fd_dev_size={self.size}{mode} >{STORE}/control",
                f"echo 1 >{STORE}/enable",
                f"mkdir {CONFIG}/ibmvscsis && mkdir {CONFIG}/ibmvscsis/{self.device} && mkdir {self.group}",
                f"mkdir {self.group}/lun/lun_0 && ln -s {STORE} {self.group}/lun/lun_0/disk0",
            )
        )

    def enable(self) -> str:
        """The driver registers its CRQ; that this failed shows only in the kernel's log."""
        return f"echo 1 >{self.group}/enable"

    def disable(self) -> str:
        """It takes effect a moment later: whoever enables again waits for the queue to be closed."""
        return f"echo 0 >{self.group}/enable"
