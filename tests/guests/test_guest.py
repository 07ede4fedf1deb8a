# SPDX-License-Identifier: Apache-2.0
"""Real guests in a stock QEMU, nothing of ours inside but a shell: adapters, interrupts, slots, lives and deaths."""

import hashlib
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from guestlab import Running, booted, fit_qemu, machine_of, plan_of

from virtio_crq.errors import UsageError
from virtio_crq.guests.guest import Guest, GuestPlan
from virtio_crq.guests.qemu import Qemu
from virtio_crq.hypervisor.attachment import AttachedPartition, attach
from virtio_crq.hypervisor.conversation import ask
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.platform.partition import UnitAddress
from virtio_crq.platform.port import Port

pytestmark = pytest.mark.guest

MACHINE = """\
[machine]
name = "gm"
[partition.vios1]
memory = "16M"
[partition.vios2]
memory = "16M"
[partition.web1]
memory = "512M"
guest = true
[partition.web2]
memory = "256M"
guest = true
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
node = "vscsi"
[[adapter]]
client = "web1"
slot = 3
server = "vios2"
boot = false
[[adapter]]
client = "web2"
slot = 2
server = "vios1"
node = "vscsi"
"""
STOCK = ("scsi_transport_srp", "ibmvscsi", "sd_mod", "virtio_pci", "virtio_blk", "rpaphp", "rpadlpar_io")
FIRST = UnitAddress(0x3000_0002)
LATE = UnitAddress(0x3000_0003)
FIRST_IRQ = 0x1110
INIT, INIT_COMPLETE = b"\xc0\x01", b"\xc0\x02"
PARTNER_FAILED = b"\xff\x01"
RING = 0x10000


class Server:
    """Our end of one connection: a ring that a test looks at."""

    def __init__(self, partition: AttachedPartition, unit: UnitAddress) -> None:
        self.unit = unit
        self.port: Port = partition.open(unit)
        self.cursor = 0
        assert self.port.map(RING, RING, 0x1000, 3) == 0

    def register(self) -> int:
        self.port.write(RING, bytes(0x1000))
        self.cursor = 0
        code, _ = self.port.call(Hypercall.H_REG_CRQ, self.unit, RING, 0x1000)
        self.port.signal(1)
        return code

    def free(self) -> int:
        return self.port.call(Hypercall.H_FREE_CRQ, self.unit)[0]

    def take(self, seconds: float = 10.0) -> bytes:
        """The next entry; sleeps on the doorbell until it is there."""
        while not self.port.acquire8(RING + self.cursor):
            assert select.select([self.port], [], [], seconds)[0], "nothing came"
            os.read(self.port.fileno(), 8)
        entry = self.port.read(RING + self.cursor, 16)
        self.port.release8(RING + self.cursor, 0)
        self.cursor = (self.cursor + 16) % 0x1000
        return entry


@pytest.fixture(scope="module")
def qemu() -> Qemu:
    return fit_qemu()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    path.write_bytes(os.urandom(4 << 20))
    return path


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, disk: Path) -> GuestPlan:
    """Two processors, and two disks of QEMU's own: by its vSCSI adapter and by PCI."""
    own = f"file={disk},format=raw,if=none,readonly=on"
    return plan_of(
        tmp_path_factory.mktemp("plan"),
        "6.1",
        STOCK,
        vcpus=2,
        extra=[
            *("-device", "spapr-vscsi,id=scsi", "-drive", f"{own},id=d0", "-device", "scsi-hd,drive=d0,bus=scsi.0"),
            *("-drive", f"{own},id=d1", "-device", "virtio-blk-pci,drive=d1"),
        ],
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> GuestPlan:
    return plan_of(tmp_path_factory.mktemp("small"), "6.1", STOCK[:2])


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with machine_of(MACHINE) as directory:
        yield directory


@pytest.fixture(scope="module")
def web1(directory: Path, plan: GuestPlan, qemu: Qemu) -> Iterator[Running]:
    """One boot for all tests that only look."""
    with booted(directory, "web1", plan, qemu) as running:
        yield running


def test_the_kernel_finds_its_adapters_and_no_borrowed_terminal(web1: Running) -> None:
    devices = web1.says("ls /sys/bus/vio/devices").split()
    assert "30000002" in devices
    assert "30000003" not in devices
    assert [name for name in devices if name.startswith("72")] == []
    assert web1.says("cat /sys/bus/vio/devices/30000002/modalias") == "vio:TvscsiSIBM,v-scsi"
    assert web1.says("basename $(readlink /sys/bus/vio/devices/30000002/driver)") == "ibmvscsi"
    assert web1.says("tr '\\0' ' ' </proc/device-tree/ibm,partition-name") == "web1"
    functions = web1.says("tr '\\0' ' ' </proc/device-tree/rtas/ibm,hypertas-functions").split()
    assert {"hcall-crq", "hcall-rdma", "hcall-vioctl", "hcall-tce"} <= set(functions)
    assert web1.says("grep -c ^processor /proc/cpuinfo") == "2"


def test_disks_of_qemu_itself_are_as_if_we_were_not_there(web1: Running, disk: Path) -> None:
    wanted = hashlib.md5(disk.read_bytes()).hexdigest()
    assert web1.says("md5sum </dev/sda").split()[0] == wanted
    assert web1.says("md5sum </dev/vda").split()[0] == wanted


def test_every_return_of_the_server_interrupts_the_guest(web1: Running, directory: Path) -> None:
    with attach(directory, "vios1") as vios:
        server = Server(vios, vios.adapters()[0].unit_address)
        for life in range(5):
            before = web1.interrupts(FIRST_IRQ)
            assert server.register() == 0
            assert server.port.send(int.from_bytes(INIT, "big") << 48, 0) == 0
            assert server.take().startswith(INIT_COMPLETE)
            assert server.take()[:2] == b"\x80\x02"  # the driver's first management datagram
            assert web1.interrupts(FIRST_IRQ) > before, f"life {life}"
            assert server.free() == 0
            web1.says("grep . /sys/class/scsi_host/host*/state")


def test_a_driver_that_is_loaded_again_hears_interrupts_again(web1: Running, directory: Path) -> None:
    with attach(directory, "vios1") as vios:
        server = Server(vios, vios.adapters()[0].unit_address)
        for _ in range(3):
            web1.says("echo 30000002 >/sys/bus/vio/drivers/ibmvscsi/unbind")
            web1.says("echo 30000002 >/sys/bus/vio/drivers/ibmvscsi/bind")
            before = web1.interrupts(FIRST_IRQ)
            assert server.register() == 0
            assert server.port.send(int.from_bytes(INIT, "big") << 48, 0) == 0
            assert server.take().startswith(INIT_COMPLETE)
            assert web1.interrupts(FIRST_IRQ) > before
            assert server.free() == 0


def test_debians_own_dlpar_module_adds_and_removes_a_slot(web1: Running) -> None:
    name = web1.guest.slot_name(LATE)
    web1.agent.put(web1.guest.slot_node(LATE), "/tmp/node")
    for _ in range(2):
        web1.says("cat /tmp/node >/proc/powerpc/ofdt")
        web1.says(f"echo -n {name} >/sys/bus/pci/slots/control/add_slot")
        assert web1.says("cat /sys/bus/vio/devices/30000003/modalias") == "vio:Tvirtio-crqSvirtio-crq,client"
        web1.says(f"echo -n {name} >/sys/bus/pci/slots/control/remove_slot")
        web1.says("echo -n remove_node /vdevice/virtio-crq@30000003 >/proc/powerpc/ofdt")
        assert "30000003" not in web1.says("ls /sys/bus/vio/devices").split()


def test_a_second_guest_lives_dies_and_leaves_nothing(
    web1: Running, directory: Path, small: GuestPlan, qemu: Qemu
) -> None:
    with attach(directory, "vios1") as vios:
        server = Server(vios, vios.adapters()[1].unit_address)
        with booted(directory, "web2", small, qemu) as web2:
            with pytest.raises(UsageError, match=f"partition web2 runs already, as process {web2.guest.pid}"):
                Guest.start(directory, "web2", small, qemu)
            assert server.register() == 0
            ending = web2.guest.kill()
            assert (ending.why, ending.detail) == ("killed", "signal SIGKILL")
            assert server.take().startswith(PARTNER_FAILED)
        with attach(directory, "web2") as empty:  # a user-space client in the guest's place
            port = empty.open(FIRST)
            step = 1 << 20
            used = [at for at in range(0, empty.memory_size, step) if port.read(at, step).count(0) != step]
            assert used == []
            assert port.map(0, 0, 0x1000, 3) == 0
            assert port.call(Hypercall.H_REG_CRQ, FIRST, 0, 0x1000)[0] == 0
            port.signal(1)
            assert server.port.send(0x80 << 56, 0) == 0
            assert select.select([port], [], [], 10)[0]
        assert server.take().startswith(PARTNER_FAILED)
        assert server.free() == 0  # the driver's probe would wait for a server that is there and does not let it log in
        for _ in range(2):  # a guest that reboots is a fresh QEMU on the same doorbells
            with booted(directory, "web2", small, qemu) as web2:
                assert server.register() == 0
                assert server.port.send(int.from_bytes(INIT, "big") << 48, 0) == 0
                assert server.take().startswith(INIT_COMPLETE)
                web2.guest.console.send(b"reboot -f\n")
                ending = web2.guest.wait(30)
                assert ending is not None
                assert ending.why == "reboot"
            assert server.free() == 0
        assert {row["name"]: row["state"] for row in ask(directory, "show")["partitions"]}["web1"] == "running"
    assert web1.says("echo alive") == "alive"


@pytest.mark.parametrize(
    ("command", "why"), [("poweroff -f", "off"), ("echo c >/proc/sysrq-trigger", "panic")], ids=["off", "panic"]
)
def test_an_ending_is_told(directory: Path, small: GuestPlan, qemu: Qemu, command: str, why: str) -> None:
    with booted(directory, "web2", small, qemu) as web2:
        web2.guest.console.send(command.encode() + b"\n")
        ending = web2.guest.wait(30)
        assert ending is not None
        assert ending.why == why
        assert ending.detail.endswith("Kernel panic - not syncing: sysrq triggered crash") == (why == "panic")


@pytest.mark.parametrize(("kernel", "firmware"), [("6.12", "vof"), ("7.2", "vof"), ("6.1", "slof")])
def test_the_other_kernels_and_the_other_firmware(
    directory: Path, qemu: Qemu, tmp_path: Path, kernel: str, firmware: str
) -> None:
    plan = plan_of(tmp_path, kernel, STOCK[:2], vcpus=2, firmware=firmware)
    with booted(directory, "web2", plan, qemu) as web2:
        assert web2.says("uname -r").startswith(kernel)
        assert web2.says("basename $(readlink /sys/bus/vio/devices/30000002/driver)") == "ibmvscsi"
