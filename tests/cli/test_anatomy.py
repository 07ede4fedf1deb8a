# SPDX-License-Identifier: Apache-2.0
"""What the demo says about each call of one read is what the call does."""

from typing import Any

from virtio_crq.cli.anatomy import GROUPS, Rings, comparison, meaning, purposes, steps
from virtio_crq.papr.entry import to_registers

RINGS = Rings(size=256, descriptors=0x22000, available=0x23000, used=0x23208)
CLIENT, SERVER = 0x10000001, 0x10000000


def call(name: str, **inputs: int) -> dict[str, Any]:
    return {"time_ns": 1000, "partition": "p", "call": name, "inputs": inputs, "code": "H_SUCCESS", "outputs": {}}


def fetch(length: int, address: int) -> dict[str, Any]:
    ends = {"source_liobn": CLIENT, "source_ioba": address, "destination_liobn": SERVER, "destination_ioba": 0x24000}
    return call("H_COPY_RDMA", length=length, **ends)


def put(length: int, address: int) -> dict[str, Any]:
    ends = {"source_liobn": SERVER, "source_ioba": 0x22000, "destination_liobn": CLIENT, "destination_ioba": address}
    return call("H_COPY_RDMA", length=length, **ends)


def entry(text: str) -> bytes:
    return bytes.fromhex(text)


READ = [
    (call("H_PUT_TCE", ioba=0x24000, tce=0x24001), "show the server the header, to read"),
    (call("H_PUT_TCE", ioba=0x27000, tce=0x25003), "show the server the data, to read and write"),
    (fetch(2, 0x23002), "the available index"),
    (fetch(2, 0x23006), "ring entry: the chain's head"),
    (fetch(16, 0x22010), "a descriptor"),
    (fetch(48, 0x22000), "3 descriptors: header, data, status"),
    (fetch(16, 0x24000), "header"),
    (put(4096, 0x27000), "data"),
    (put(1, 0x25040), "status"),
    (put(8, 0x23214), "used element: chain and length"),
    (put(2, 0x2320A), "the used index: the element counts"),
    (put(2, 0x23A0C), "avail_event: tell me of the next one"),
    (fetch(2, 0x23204), "used_event: does the client want to be told?"),
    (call("H_VIO_SIGNAL", ua=1, mode=0), "interrupt off while polling"),
    (call("H_STUFF_TCE", ioba=0x25000, tce=0, count=1), "take the status back"),
]


def test_each_call_of_a_read_is_named_by_what_it_reaches() -> None:
    assert purposes([entry for entry, _ in READ], RINGS) == [purpose for _, purpose in READ]


def test_the_copies_of_a_pushed_read_are_named() -> None:
    rings = Rings(size=256, descriptors=0x22000, available=0, used=0x24000, pushed=True)
    copies = [
        (fetch(32, 0x22020), "the request's record"),
        (fetch(96, 0x22040), "3 requests' records"),
        (fetch(48, 0x25000), "list: header, data, status"),
        (fetch(16, 0x28000), "header"),
        (put(4096, 0x29000), "data"),
        (put(1, 0x28040), "status"),
        (put(16, 0x24010), "completion: chain, length and status"),
    ]
    assert purposes([entry for entry, _ in copies], rings) == [purpose for _, purpose in copies]


def test_a_read_whose_records_are_messages_is_named() -> None:
    rings = Rings(size=256, descriptors=0x22000, available=0, used=0x24000, pushed=True)
    words = (0x8070000000000001, 0xC0020000001000, 0, 0), (0x8020000000000001, 0x110000000000000, 0, 0)
    request, completion = (
        call("H_SEND_SUB_CRQ", **{f"word{index}": word for index, word in enumerate(record)}) for record in words
    )
    read = [request, put(4096, 0x2C000), completion]
    assert purposes(read, rings) == [
        "device 0, queue 0: request 0, data of 4096 bytes at 0x2c000",
        "data",
        "device 0, queue 0: completion of 0, 4097 bytes written",
    ]
    assert steps(read, rings)[1][-2].startswith("4096 B  server ")
    assert ("CRQ entries", 2, 2) in comparison(read)
    assert purposes([call("H_SEND_SUB_CRQ_INDIRECT", count=16)], rings) == ["16 records"]


def test_the_sum_counts_every_call_once() -> None:
    rows = comparison([entry for entry, _ in READ])
    assert [name for name, _, _ in rows] == [*GROUPS, "together"]
    assert rows[-1] == ("together", len(READ), 13)
    assert sum(count for _, count, _ in rows[:-1]) == len(READ)
    assert sum(count for _, _, count in rows[:-1]) == 13


def test_a_call_that_failed_says_so() -> None:
    failed = call("H_SEND_CRQ", **dict(zip(("high", "low"), to_registers(entry("c001" + 14 * "00")), strict=True)))
    failed["code"] = "H_Dropped"
    assert steps([failed], RINGS)[0][-1] == "H_Dropped: initialize"


def test_entries_are_said_in_words() -> None:
    assert meaning(entry("8000410800000301 0000000002000000")) == (
        "device 0, queue 0: requests up to 2, credit returned"
    )
    assert meaning(entry("8000420801000300 0200000005000000")) == "device 1, queue 2: completions up to 5"
    assert meaning(entry("8000020000000301 0000000000000000")) == "device 0: GET_DEVICE_INFO, request"
    assert "frame" in meaning(entry("80ff020000000301 0000000000000000"))


def transfer(code: str) -> dict[str, Any]:
    inputs = {"ioba": 0, "length": 4096, "position": 0x8000}
    return call("transfer from file to memory", **inputs) | {"code": code}


def test_a_redirected_read_is_told_as_one() -> None:
    clone = {"r_liobn": CLIENT, "r_ioba": 0x27000, "liobn": 7, "ioba": 0, "count": 1}
    read = [
        call("H_PUT_TCE", ioba=0x27000, tce=0x25003),
        fetch(16, 0x24000),
        call("H_PUT_RTCE", **clone),
        transfer("4096 bytes"),
        call("H_REMOVE_RTCE", **clone, tce=0),
    ]
    assert purposes(read, RINGS) == [
        "show the server the data, to read and write",
        "header",
        "let the storage adapter reach the data",
        "the data, by no copy",
        "the storage adapter reaches the data no more",
    ]
    assert comparison(read)[-1] == ("together", 4, 13)
    assert steps(read, RINGS)[3][-2:] == ("4096 B  at 0x8000 of the file, 4096 bytes", "the data, by no copy")
