# SPDX-License-Identifier: Apache-2.0
"""Machine files: what is read, and that every mistake is told with its line and what would be right."""

from pathlib import Path

import pytest

from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.machinefile import parse_machine_file, read_machine_file
from virtio_crq.hypervisor.machinerows import MachineFile

EXAMPLES = Path(__file__).parents[2] / "examples"

GOOD = """\
[machine]
name = "demo"
profile = "power8"
prices = { call_ns = 300, kib_ns = 100 }
weak_copies = 7

[partition.vios1]
memory = "256MiB"

[partition.web1]
memory = "64MiB"
number = 9

[[adapter]]
client = "web1"
slot = 2
server = "vios1"
window = "64MiB"

[[map]]
client = "web1"
target = "root"
backing = "file:root.img"

[[map]]
client = "web1"
target = "rng"
backing = "entropy:"
device = "entropy"
"""


def parsed(text: str) -> MachineFile:
    return parse_machine_file(text, Path("m.toml"))


def test_a_good_file_is_read_whole() -> None:
    machine = parsed(GOOD)
    assert (machine.name, machine.profile.name, machine.call_ns, machine.kib_ns) == ("demo", "power8", 300, 100)
    assert machine.weak_copies == 7
    assert [(row.name, row.number, row.memory >> 20, row.server) for row in machine.partitions] == [
        ("vios1", 1, 256, True),
        ("web1", 9, 64, False),
    ]
    assert [row.name for row in machine.servers()] == ["vios1"]
    assert [row.name for row in machine.clients()] == ["web1"]
    assert [(row.target, row.device, row.where) for row in machine.maps_of("vios1")] == [
        ("root", "block", "m.toml:20"),
        ("rng", "entropy", "m.toml:25"),
    ]


def test_the_definition_is_one_the_hypervisor_accepts() -> None:
    definition = parsed(GOOD).definition()
    definition.validate()
    assert definition.adapters[0].client_slot == 2
    assert definition.adapters[0].client_window == definition.adapters[0].server_window == 64 << 20


def test_server_slots_are_given_out_around_those_that_are_said() -> None:
    text = GOOD.replace('server = "vios1"\n', 'server = "vios1"\nserver_slot = 2\n')
    text += '[partition.web2]\nmemory = "64MiB"\n[[adapter]]\nclient = "web2"\nslot = 2\nserver = "vios1"\n'
    assert [row.server_slot for row in parsed(text).adapters] == [2, 3]


MISTAKES = [
    ("no TOML", 'name = "demo"', "name = demo", "m.toml:2: "),
    ("unknown key", "slot = 2", "slat = 2", "m.toml:16: unknown key 'slat' in [[adapter]]; did you mean slot?"),
    ("unknown table", "[machine]", "[machin]", "m.toml:1: unknown key 'machin' in the file; did you mean machine?"),
    ("wrong type", "slot = 2", 'slot = "2"', "m.toml:16: slot must be a whole number, not '2'"),
    ("truth is no number", "slot = 2", "slot = true", "m.toml:16: slot must be a whole number, not True"),
    ("missing key", 'target = "root"\n', "", "m.toml:20: [[map]] does not say target; it needs"),
    ("no profile", "power8", "power7", "m.toml:3: profile 'power7' is not one of lopar-minimum, power8, power9"),
    ("bad name", '"demo"', '"a/b"', "m.toml:2: name 'a/b': allowed are"),
    ("negative price", "300", "-1", "m.toml:4: call_ns is -1, but cannot be negative"),
    ("unknown price", "call_ns", "cal_ns", "m.toml:4: unknown key 'cal_ns' in prices; did you mean call_ns?"),
    ("small window", 'window = "64MiB"', 'window = "64KiB"', "m.toml:18: window '64KiB' is too small; allowed"),
    ("large window", 'window = "64MiB"', 'window = "8GiB"', "m.toml:18: window '8GiB' is too large"),
    ("odd window", 'window = "64MiB"', 'window = "1048577"', "m.toml:18: window '1048577' is not a multiple of 4096"),
    ("no size", 'window = "64MiB"', 'window = "much"', "m.toml:18: window 'much' is not a size"),
    ("small memory", 'memory = "64MiB"', 'memory = "1MiB"', "m.toml:11: memory '1MiB' is too small"),
    ("unknown partition", 'server = "vios1"', 'server = "vio"', "m.toml:17: no partition 'vio' here; there are vios1"),
    ("itself", 'server = "vios1"', 'server = "web1"', "m.toml:17: 'web1' is both client and server"),
    ("slot range", "slot = 2", "slot = 1", "m.toml:16: slot 1 is not in 2 to 4095"),
    ("number taken", "number = 9", "number = 1\n[partition.x]\nmemory='4MiB'\nnumber = 1", "is already that of web1"),
    ("number range", "number = 9", "number = 0", "m.toml:12: number 0 is not in 1 to 1048575"),
    ("duplicate target", '"rng"', '"root"', "m.toml:27: web1 has a target 'root' already (line 20)"),
    ("no adapter", 'client = "web1"\ntarget = "root"', 'client = "vios1"\ntarget = "root"', "m.toml:21: vios1 has no"),
    ("wrong server", 'target = "root"', 'target = "root"\nserver = "web1"', "m.toml:23: no partition 'web1'"),
    ("node", "slot = 2", 'slot = 2\nnode = "pci"', "m.toml:17: node 'pci' is not one of"),
    ("client's fetch", "number = 9", 'fetch = "naive"', "m.toml:12: fetch 'naive' is not one of push, batched"),
    ("client's map", "number = 9", 'map = "never"', "m.toml:12: map 'never' is not one of pool, per-request"),
    ("server's map", 'memory = "256MiB"', 'memory = "256MiB"\nmap = "pool"', "m.toml:9: map is for clients, but vios1"),
    ("server's own", "number = 9", "workers = 2", "m.toml:12: workers is for servers, but web1 is no adapter's server"),
    ("gathering", 'memory = "256MiB"', 'memory = "256MiB"\ngathering = -1', "m.toml:9: gathering -1 is not in 0 to"),
    ("polling", 'memory = "256MiB"', 'memory = "256MiB"\npolling = -5', "m.toml:9: polling -5 is not in -1 to 1000000"),
    ("no workers", 'memory = "256MiB"', 'memory = "256MiB"\nworkers = 0', "m.toml:9: workers 0 is not in 1 to 4094"),
    ("workers", 'memory = "256MiB"', 'memory = "256MiB"\nworkers = 100000', "m.toml:9: workers 100000 is not in 1 to"),
    ("pin", 'memory = "256MiB"', 'memory = "256MiB"\npin = -2', "m.toml:9: pin -2 is not in -1 to 4095; -1: any"),
    ("fetch", 'memory = "256MiB"', 'memory = "256MiB"\nfetch = "x"', "m.toml:9: fetch 'x' is not one of"),
    ("not a table", "[partition.web1]\n", "[partition]\nweb1 = 3\n[[map]]\n", "m.toml:11: partition.web1 must"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "right", "message"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_told_with_its_line(wrong: str, right: str, message: str) -> None:
    assert wrong in GOOD
    with pytest.raises(UsageError) as refused:
        parsed(GOOD.replace(wrong, right))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_duplicate_unit_address_names_both_lines() -> None:
    text = GOOD + '[partition.v2]\nmemory = "4MiB"\n[[adapter]]\nclient = "web1"\nserver = "v2"\nslot = 2\n'
    with pytest.raises(UsageError, match=r"m.toml:35: slot 2 of web1 \(unit address 0x30000002\) is .* line 14"):
        parsed(text)


def test_two_adapters_of_one_pair_are_refused() -> None:
    text = GOOD + '[[adapter]]\nclient = "web1"\nserver = "vios1"\nslot = 3\n'
    with pytest.raises(UsageError, match=r"m.toml:30: web1 has an adapter to vios1 already"):
        parsed(text)


def test_a_client_of_two_servers_must_say_which() -> None:
    text = GOOD + '[partition.v2]\nmemory = "4MiB"\n[[adapter]]\nclient = "web1"\nserver = "v2"\nslot = 3\n'
    with pytest.raises(UsageError, match="web1 has adapters to vios1, v2; say which with server="):
        parsed(text)
    told = text.replace('target = "root"', 'target = "root"\nserver = "v2"').replace(
        'target = "rng"', 'target = "rng"\nserver = "vios1"'
    )
    assert [row.server for row in parsed(told).maps] == ["v2", "vios1"]


def test_lines_are_right_after_multi_line_strings_and_comments() -> None:
    text = "# [machine]\n" + GOOD.replace('"demo"', '"""demo"""').replace("slot = 2", "slot = 1 # slot = 2")
    with pytest.raises(UsageError, match=r"m.toml:17: slot 1 is not"):
        parsed(text)


@pytest.mark.parametrize("text", ["", "[machine]\nname='x'\n", "[[machine]]\nname='x'", "partition = 3"])
def test_an_empty_machine_is_refused_with_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^m\.toml:\d+: "):
        parsed(text)


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_machine_file(tmp_path / "none.toml")
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(UsageError, match="not a UTF-8 text"):
        read_machine_file(tmp_path / "latin")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_the_examples_are_good(path: Path) -> None:
    read_machine_file(path).definition().validate()


GUEST = """\
[machine]
name = "lab"
[partition.vios1]
memory = "64MiB"
[partition.web1]
memory = "512MiB"
guest = true
vcpus = 2
kernel = "6.1"
initrd = "boot/initrd.img"
command_line = "quiet"
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
boot = false
"""


def test_a_guest_is_read_whole() -> None:
    machine = parse_machine_file(GUEST, Path("files/m.toml"))
    (guest,) = machine.guests()
    assert (guest.name, guest.vcpus, guest.kernel, guest.command_line) == ("web1", 2, "6.1", "quiet")
    assert guest.initrd == Path("files/boot/initrd.img")
    assert [row.boot for row in machine.adapters] == [False]
    definition = machine.definition()
    assert [row.guest for row in definition.partitions] == [False, True]
    assert [row.boot for row in definition.adapters] == [False]


def test_a_guest_that_serves_gets_no_server_of_ours() -> None:
    machine = parsed(GUEST.replace("[partition.vios1]\n", "[partition.vios1]\nguest = true\n").replace("64M", "256M"))
    assert machine.servers() == ()
    assert [row.name for row in machine.guests()] == ["vios1", "web1"]


GUEST_MISTAKES = [
    ("no guest", "guest = true", "number = 3", "m.toml:16: boot is for guests, and web1 is none"),
    ("kernel", "[partition.web1]", "vcpus = 1\n[partition.web1]", "m.toml:5: vcpus is for guests; say guest = true"),
    ("blocks", "512MiB", "300MiB", "m.toml:6: memory '300MiB' of a guest is not a multiple of 256 MiB"),
    ("too little", "512MiB", "64MiB", "m.toml:6: memory '64MiB' of a guest is not a multiple of 256 MiB"),
    ("vcpus", "vcpus = 2", "vcpus = 0", "m.toml:8: vcpus 0 is not in 1 to 16"),
    ("many", "vcpus = 2", "vcpus = 17", "m.toml:8: vcpus 17 is not in 1 to 16"),
    ("our server", '"64MiB"', '"256MiB"\nguest = true\nworkers = 2', "m.toml:6: workers is for partitions of ours"),
    ("late", "[partition.web1]", "[partition.x]\nmemory='4MiB'\n[partition.web1]",
     "m.toml:18: boot is for guests, and x is none"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "right", "message"), [row[1:] for row in GUEST_MISTAKES], ids=[row[0] for row in GUEST_MISTAKES]
)
def test_a_mistake_about_a_guest_is_told_with_its_line(wrong: str, right: str, message: str) -> None:
    text = GUEST.replace(wrong, right)
    if "[partition.x]" in right:
        text = text.replace('client = "web1"', 'client = "x"')
    with pytest.raises(UsageError) as refused:
        parsed(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


REDIRECTS = GUEST.replace('"64MiB"', '"64MiB"\ndata = "redirect"') + '[[storage]]\nserver = "vios1"\nslot = 9\n'


def test_a_server_that_redirects_has_a_storage_adapter() -> None:
    machine = parsed(REDIRECTS)
    assert machine.partition("vios1").data == "redirect"
    (storage,) = machine.definition().storage
    assert (storage.owner, storage.slot, storage.window) == ("vios1", 9, 256 << 20)
    machine.definition().validate()


STORAGE_MISTAKES = [
    ("none", '[[storage]]\nserver = "vios1"\nslot = 9\n', "", 'add [[storage]] with server = "vios1" and slot ='),
    ("way", 'data = "redirect"', 'data = "teleport"', "m.toml:5: data 'teleport' is not one of redirect, planned"),
    ("guest", 'server = "vios1"\nslot = 9', 'server = "web1"\nslot = 9', "m.toml:19: 'web1' is no server of ours"),
    ("slot", "slot = 9", "slot = 1", "m.toml:20: slot 1 is not in 2 to 4095"),
    ("taken", "slot = 9", "slot = 2", "m.toml:20: slot 2 of vios1 is taken; use a free one"),
    ("window", "slot = 9", 'slot = 9\nwindow = "4K"', "m.toml:21: window '4K' is too small"),
    ("twice", "[[storage]]", '[[storage]]\nserver = "vios1"\nslot = 8\n[[storage]]',
     "m.toml:22: vios1 has a storage adapter already"),
    ("no slot", "slot = 9", "", "m.toml:18: [[storage]] does not say slot; it needs server, slot"),
    ("no table", "[[storage]]", "[storage]", "storage must be an array"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "right", "message"), [row[1:] for row in STORAGE_MISTAKES], ids=[row[0] for row in STORAGE_MISTAKES]
)
def test_a_mistake_about_a_storage_adapter_is_told_with_its_line(wrong: str, right: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parsed(REDIRECTS.replace(wrong, right))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
