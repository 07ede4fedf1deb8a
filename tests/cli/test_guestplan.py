# SPDX-License-Identifier: Apache-2.0
"""Which partition, kernel and initramfs a boot means, and each refusal in one line that says what to do."""

import json
import struct
from pathlib import Path

import pytest

from virtio_crq.cli.guestplan import Wishes, check_images, guest_partition, make_plan
from virtio_crq.errors import UsageError
from virtio_crq.guests.cache import KERNELS
from virtio_crq.hypervisor.machinefile import parse_machine_file
from virtio_crq.hypervisor.machinerows import MachineFile

TEXT = """
[machine]
name = "one"
[partition.vios1]
memory = "64M"
[partition.web1]
memory = "256M"
guest = true
vcpus = 2
command_line = "root=/dev/vda"
[partition.plain]
memory = "64M"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
"""
SECOND = '[partition.web2]\nmemory = "256M"\nguest = true\n'


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where no lab is."""
    monkeypatch.setenv("VIRTIO_CRQ_LAB", str(tmp_path / "lab"))
    return tmp_path / "lab"


@pytest.fixture
def machine(tmp_path: Path) -> MachineFile:
    return parse_machine_file(TEXT, tmp_path / "machine.toml")


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinux"
    path.write_bytes(struct.pack("<4s3B9xHHIQ", b"\x7fELF", 2, 1, 1, 3, 21, 1, 0xC000000000000000) + bytes(64))
    return path


def test_a_disk_that_nobody_has_made_is_refused_with_how_it_is_made(tmp_path: Path) -> None:
    for name, kind in (("root.img", "small"), ("debian.img", "debian")):
        row = f'[[map]]\nclient = "web1"\ntarget = "root"\nbacking = "file:{name}"\n'
        machine = parse_machine_file(TEXT + row, tmp_path / "machine.toml")
        image = tmp_path / name
        told = f"machine.toml:17: .*{name}: no such image; make a root disk by: virtio-crq guests image {kind} {image}"
        with pytest.raises(UsageError, match=told):
            check_images(machine, guest_partition(machine, None))
        image.touch()
        check_images(machine, guest_partition(machine, None))


def test_the_only_guest_needs_no_name(machine: MachineFile, tmp_path: Path) -> None:
    assert guest_partition(machine, None).name == "web1"
    assert guest_partition(machine, "web1").name == "web1"
    two = parse_machine_file(TEXT + SECOND, tmp_path / "machine.toml")
    with pytest.raises(UsageError, match="several guests; name one of web1, web2"):
        guest_partition(two, None)


def test_a_partition_that_is_no_guest_is_refused(machine: MachineFile, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="partition plain is no guest; give it guest = true"):
        guest_partition(machine, "plain")
    with pytest.raises(UsageError, match="no partition 'web9'; there are"):
        guest_partition(machine, "web9")
    bare = parse_machine_file('[machine]\nname = "one"\n[partition.a]\nmemory = "64M"\n', tmp_path / "machine.toml")
    with pytest.raises(UsageError, match="no partition is a guest; give one guest = true"):
        guest_partition(bare, None)


def test_the_command_lines_words_come_before_the_files(machine: MachineFile, kernel: Path, tmp_path: Path) -> None:
    (tmp_path / "initrd").write_bytes(b"")
    row = guest_partition(machine, None)
    plan = make_plan(machine, row, Wishes(str(kernel), tmp_path / "initrd", "quiet", 4, "slof"), tmp_path)
    assert (plan.kernel, plan.initrd, plan.vcpus, plan.firmware) == (kernel, tmp_path / "initrd", 4, "slof")
    assert plan.command_line == "console=hvc0 root=/dev/vda quiet"
    plain = make_plan(machine, row, Wishes(str(kernel)), tmp_path)
    assert (plain.initrd, plain.vcpus, plain.firmware) == (None, 2, "vof")


def test_the_files_kernel_is_counted_from_the_file(kernel: Path, tmp_path: Path) -> None:
    text = TEXT.replace("vcpus = 2", 'kernel = "vmlinux"')
    machine = parse_machine_file(text, tmp_path / "machine.toml")
    assert make_plan(machine, guest_partition(machine, None), Wishes(), tmp_path).kernel == kernel


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        (Wishes(), r"no lab in .*lab: run \./lab once"),
        (Wishes("6.12"), r"no lab in .*lab: run \./lab once"),
        (Wishes("6.99"), "no kernel '6.99': neither a file nor one of the lab's, 6.1, 6.12, 7.2"),
        (Wishes("/nowhere/vmlinux"), "/nowhere/vmlinux: No such file or directory; name a ppc64le vmlinux"),
        (Wishes("/bin/sh"), "/bin/sh is no kernel for ppc64le"),
        (Wishes(firmware="bios"), "firmware 'bios' is not one of vof, slof"),
    ],
)
def test_what_cannot_run_is_one_line(wishes: Wishes, why: str, machine: MachineFile, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why) as refused:
        make_plan(machine, guest_partition(machine, None), wishes, tmp_path)
    assert "\n" not in str(refused.value)


def test_an_initrd_that_is_not_there_is_one_line(machine: MachineFile, kernel: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="initrd: no such initial file system"):
        make_plan(machine, guest_partition(machine, None), Wishes(str(kernel), tmp_path / "initrd"), tmp_path)


def test_a_lab_without_the_kernels_modules_is_one_line(
    machine: MachineFile, kernel: Path, lab: Path, tmp_path: Path
) -> None:
    (lab / "modules/6.1.0-test").mkdir(parents=True)
    (lab / "userland").mkdir()
    (lab / "virtio_crq.ko").write_bytes(b"")
    (lab / "vmlinux").write_bytes(kernel.read_bytes())
    name = KERNELS[0]
    part = {"release": "6.1.0-test", "vmlinux": "vmlinux", "modules": "modules/6.1.0-test", "packages": []}
    manifest = {
        f"kernel-{name}": part,
        f"transport-{name}": {"path": "virtio_crq.ko"},
        "userland": {"path": "userland"},
    }
    (lab / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=r"kernel 6\.1\.0-test has no module virtio, nor is it built in"):
        make_plan(machine, guest_partition(machine, None), Wishes(), tmp_path)
