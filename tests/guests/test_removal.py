# SPDX-License-Identifier: Apache-2.0
"""The guest's transport is taken from its adapter at the worst time; memory that is freed is poisoned."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from guestlab import Running, booted, fit_qemu, machine_of
from test_guest import INIT, INIT_COMPLETE, Server

from virtio_crq.guests.cache import BUSYBOX, Lab
from virtio_crq.guests.guest import GuestPlan
from virtio_crq.guests.initramfs import make_initramfs
from virtio_crq.guests.modules import ModuleTree
from virtio_crq.hypervisor.attachment import attach

pytestmark = pytest.mark.guest

MACHINE = """\
[machine]
name = "gm"
[partition.vios1]
memory = "16M"
[partition.web1]
memory = "512M"
guest = true
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
"""
DRIVER = "/sys/bus/vio/drivers/virtio_crq"
AWAY = "/sys/module/virtio_crq/parameters/away_seconds"


@pytest.fixture
def directory() -> Iterator[Path]:
    with machine_of(MACHINE) as directory:
        yield directory


@pytest.fixture
def guest(directory: Path, tmp_path: Path) -> Iterator[Running]:
    lab = Lab.open()
    parts = lab.kernel("6.1")
    image = make_initramfs(ModuleTree(parts.modules), lab.userland() / BUSYBOX, transport=parts.transport)
    initrd = image.write(tmp_path / "initrd")
    plan = GuestPlan(parts.vmlinux, initrd, "panic=-1 oops=panic slub_debug=FZPU", 2)
    with booted(directory, "web1", plan, fit_qemu()) as running:
        yield running


def test_no_timer_survives_an_adapter_that_is_unbound_while_its_partner_leaves(guest: Running, directory: Path) -> None:
    """The session's work ended only after the timers were cancelled, and started one of them again."""
    guest.says(f"echo 2 >{AWAY}")
    with attach(directory, "vios1") as vios:
        server = Server(vios, vios.adapters()[0].unit_address)
        server.register()
        assert server.port.send(int.from_bytes(INIT, "big") << 48, 7) == 0
        assert server.take().startswith(INIT_COMPLETE)
        assert server.take().startswith(b"\x80\x0a")  # HELLO, which nobody answers
        unbind = f"(echo 30000002 >{DRIVER}/unbind; echo gone >/tmp/gone) >/dev/null 2>&1 &"
        guest.says(f"{unbind} sleep 1; [ ! -e /tmp/gone ]")
        assert server.free() == 0
    assert guest.says("for n in 1 2 3 4 5; do [ -e /tmp/gone ] && break; sleep 1; done; cat /tmp/gone") == "gone"
    assert "30000002" not in guest.says(f"sleep 4; ls {DRIVER}").split()
