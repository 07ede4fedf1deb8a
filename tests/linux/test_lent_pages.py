# SPDX-License-Identifier: Apache-2.0
"""The module's lent pages over a platform of the test's own: what is taken back when, what one costs that is not."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULE = HERE.parents[1] / "linux" / "virtio_crq"
FILES = ("lend.c", "entries.c", "ring.c", "used.c", "push.c")
# What these files include of the kernel; `kernel.h` stands for all of it. What user space has as well is its own.
KERNEL = {
    "linux": "atomic bitmap completion dma-map-ops dma-mapping interrupt kref ktime mutex semaphore slab sort spinlock "
    "virtio workqueue xarray",
    "asm": "firmware hvcall plpar_wrappers vio",
}
VERSION = """
#define KERNEL_VERSION(a, b, c) ((a) << 16 | (b) << 8 | (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(7, 2, 0)
"""
USER = ("virtio_blk.h", "virtio_console.h", "virtio_ids.h")
SECOND = 1_000_000_000
PAGE = 4096


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed, as for the engine"
    place = tmp_path_factory.mktemp("lent")
    for folder, names in KERNEL.items():
        (place / folder).mkdir()
        for name in names.split():
            (place / folder / f"{name}.h").write_text('#include "kernel.h"\n')
    (place / "linux/version.h").write_text(VERSION)
    (place / "uapi/linux").mkdir(parents=True)
    for name in USER:
        (place / "uapi/linux" / name).write_text(f"#include <linux/{name}>\n")
    library = place / "lent.so"
    sources = [str(HERE / "lentpages.c"), *(str(MODULE / name) for name in FILES)]
    words = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wno-unused-variable", "-Wno-unused-but-set-variable"]
    words += [
        f"-I{place}",
        f"-I{HERE}",
        f"-I{MODULE}",
        "-include",
        str(HERE / "kernel.h"),
        *sources,
        "-o",
        str(library),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = ctypes.CDLL(str(library))
    for name in ("map", "elapsed"):
        getattr(found, name).restype = ctypes.c_uint64
    for name in ("enter", "recall", "entered", "complete", "fail"):
        getattr(found, name).restype = ctypes.c_bool
    for name in ("unmap", "lend", "give_back", "entered"):
        getattr(found, name).argtypes = (ctypes.c_uint64,)
    found.keep.argtypes = (ctypes.c_uint64, ctypes.c_bool)
    found.map.argtypes = (ctypes.c_uint, ctypes.c_uint, ctypes.c_bool)
    found.request.argtypes = (ctypes.c_uint, *(ctypes.c_uint64,) * 3)
    return found


def lent(built: ctypes.CDLL, count: int) -> list[int]:
    """Addresses of pages that announced requests name."""
    addresses = [built.map(page, PAGE, False) for page in range(count)]
    for address in addresses:
        built.lend(address)
    assert built.enter()
    return addresses


@pytest.mark.clause("CRQ-F-98", "CRQ-F-99")
def test_many_pages_are_entered_in_one_call_and_taken_back_in_one(built: ctypes.CDLL) -> None:
    built.begin(32, False)
    addresses = lent(built, 20)
    assert built.calls_made() == 1
    for address in addresses:
        assert built.entered(address)
        built.give_back(address)
    assert built.recall()
    assert built.calls_made() == 2
    assert not any(built.entered(address) for address in addresses)


@pytest.mark.clause("CRQ-F-99", "CRQ-F-100")
def test_a_page_that_does_not_come_back_costs_its_wait_once(built: ctypes.CDLL) -> None:
    built.begin(32, False)
    addresses = lent(built, 20)
    built.keep(addresses[3], True)
    for address in addresses:
        built.give_back(address)
    assert not built.recall()
    assert [built.entered(address) for address in addresses].count(True) == 1  # its neighbours came back
    begun, calls = built.elapsed(), built.calls_made()
    for address in addresses:
        built.unmap(address)
    assert built.calls_made() - calls == 1  # its own unmap tried
    assert built.elapsed() - begun < SECOND // 1000
    assert built.sessions_ended() == 0  # whom recall() told has ended it
    given = {built.map(page, PAGE, False) for page in range(31)}
    assert len(given) == 31
    assert addresses[3] not in given | {0}


def test_pages_that_do_not_come_back_one_by_one_do_not_each_cost_a_second(built: ctypes.CDLL) -> None:
    built.begin(32, False)
    addresses = lent(built, 20)
    for address in addresses:
        built.keep(address, True)
    begun = built.elapsed()
    for address in addresses:
        built.unmap(address)  # a reset: none was used
    assert built.elapsed() - begun < 2 * SECOND
    assert built.sessions_ended() == len(addresses)


@pytest.mark.clause("CRQ-F-99", "CRQ-F-100")
def test_a_stuck_page_that_comes_back_is_lent_again(built: ctypes.CDLL) -> None:
    built.begin(3, False)
    first, second, third = lent(built, 3)
    built.keep(second, True)
    for address in (first, second, third):
        built.give_back(address)
    assert not built.recall()
    built.unmap(second)
    assert built.recall()  # nobody has its buffer any more
    built.keep(second, False)
    assert built.recall()
    assert not built.entered(second)
    assert built.map(9, PAGE, False) == second


@pytest.mark.clause("CRQ-F-99")
def test_requests_of_a_broken_disk_end_after_their_pages_came_back(built: ctypes.CDLL) -> None:
    built.begin(32, False)
    addresses = [built.map(page, PAGE, False) for page in range(6)]
    built.request(0, *addresses[:3])
    built.request(0, *addresses[3:])
    assert all(built.entered(address) for address in addresses)
    built.keep(addresses[5], True)  # the second one's status, which a server may still write
    assert not built.fail(0)
    assert built.published(0) == 0
    assert [built.entered(address) for address in addresses] == [False] * 5 + [True]
    assert not built.fail(0)
    built.keep(addresses[5], False)
    assert built.fail(0)
    assert built.published(0) == 2
    assert not built.entered(addresses[5])


def two_disks(built: ctypes.CDLL) -> list[int]:
    """Each has announced a request of three pages, and the platform keeps the first one's data page."""
    built.begin(32, False)
    addresses = [built.map(page, PAGE, False) for page in range(6)]
    built.request(0, *addresses[:3])
    built.request(1, *addresses[3:])
    built.keep(addresses[1], True)
    return addresses


@pytest.mark.clause("CRQ-F-99")
def test_a_stuck_page_holds_up_completions_of_its_own_device_alone(built: ctypes.CDLL) -> None:
    addresses = two_disks(built)
    assert not built.complete(0)
    assert (built.published(0), built.sessions_ended()) == (0, 1)
    assert built.complete(1)
    assert (built.published(1), built.sessions_ended()) == (1, 1)
    assert [built.entered(address) for address in addresses] == [False, True, False, False, False, False]


@pytest.mark.clause("CRQ-F-99")
def test_a_page_that_another_devices_call_found_stuck_still_holds_up_its_own(built: ctypes.CDLL) -> None:
    addresses = two_disks(built)
    for address in addresses[:3]:
        built.give_back(address)
    assert built.fail(1)  # takes back whatever is owed
    assert built.published(1) == 1
    assert not built.recall()
    built.keep(addresses[1], False)
    assert built.recall()
    assert not built.entered(addresses[1])


def test_data_of_requests_that_are_pushed_has_neighbouring_addresses(built: ctypes.CDLL) -> None:
    built.begin(48, True)
    requests = [
        [built.map(3 * number + part, size, size < PAGE) for part, size in enumerate((16, PAGE, 1))]
        for number in range(16)
    ]
    data = [request[1] for request in requests]
    assert data == list(range(data[0], data[0] + 16 * PAGE, PAGE))
    for request in requests[:5]:
        for address in request:
            built.unmap(address)
    again = [built.map(number, PAGE, False) for number in range(5)]
    assert again == data[:5]
    assert built.map(9, PAGE, False)  # of those that records carry, when its own are taken
