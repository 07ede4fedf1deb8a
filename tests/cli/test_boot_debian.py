# SPDX-License-Identifier: Apache-2.0
"""A Debian with systemd whose root disk and console are ours, on each kernel. By hand: it takes minutes, and packages.

./check --guests -m soak tests/cli/test_boot_debian.py
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from person import COMMAND, Person

import virtio_crq
from virtio_crq.guests.cache import lab_directory

pytestmark = [pytest.mark.guest, pytest.mark.soak]
EXAMPLE = Path(__file__).parents[2] / "examples/debian-guest.toml"


class Place:
    """A directory with the example's machine file and its root disk, which was not booted yet."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        self.directory = directory
        self.environment = os.environ | {
            "XDG_RUNTIME_DIR": str(runtime),
            "PYTHONPATH": str(Path(virtio_crq.__file__).parents[1]),
            "VIRTIO_CRQ_LAB": str(lab_directory()),
        }
        shutil.copy(EXAMPLE, directory)
        image = [*COMMAND, "guests", "image", "debian", str(directory / "debian.img")]
        subprocess.run(image, env=self.environment, check=True, capture_output=True)

    def person(self, *words: str) -> Person:
        return Person(self.environment, self.directory, *words, size=(33, 111))


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="vc", dir="/var/tmp") as work, tempfile.TemporaryDirectory() as runtime:
        yield Place(Path(work), Path(runtime))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("vcpus", ["1", "2"])
@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.2"])
def test_debian_is_up_with_a_login_on_a_console_of_virtio(place: Place, kernel: str, vcpus: str) -> None:
    with place.person("boot", EXAMPLE.name, "--kernel", kernel, "--vcpus", vcpus) as host:
        host.sees(rb"runs as process")
        with place.person("console", "attach", "web1/tty") as person:
            person.sees(rb"root@debian:[^\r\n]*# ", 400)  # its first boot takes its time
            person.types(b"tty; systemctl is-system-running --wait; uname -r; nproc; grep ' / ' /proc/mounts\r")
            told = person.sees(rb"/dev/vda / ext4 rw[^\n]*\n[\s\S]*# ", 200)
            assert re.search(rf"/dev/hvc2\s+running\s+{re.escape(kernel)}\.[^\n]*\n{vcpus}\s", told), told
            person.resizes(44, 132)
            person.types(b"until [ \"$(stty size)\" = '44 132' ]; do sleep 0.1; done; echo the si''ze is it\r")
            person.sees(rb"the size is it", 60)
            person.types(b"seq 3000\r")
            counted = re.findall(r"(\d+)\r\n", person.sees(rb"\n3000\r\n"))[-3000:]
            assert [int(line) for line in counted] == list(range(1, 3001))
            person.types(b"echo trou''bles: $(dmesg | grep -cE 'lockup|BUG:|Oops|rcu.*stall|hung task|Call Trace')\r")
            assert person.sees(rb"troubles: \d+\r\n").endswith("troubles: 0\r\n")
            person.types(b"poweroff\r")
            host.sees(rb"guest web1 is off", 200)
            person.types(b"\x1d")
        assert host.status() == 0
