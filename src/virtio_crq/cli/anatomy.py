# SPDX-License-Identifier: Apache-2.0
"""The anatomy of one read: what each hypercall of a trace is for, and the sum beside vSCSI's."""

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from virtio_crq.client.device import REQUEST_QUEUE, Device
from virtio_crq.crq.framing import announcement, parse
from virtio_crq.dataplane.pushfront import list_entries
from virtio_crq.errors import DriverFault
from virtio_crq.message import codec
from virtio_crq.papr.entry import Header, describe_entry, from_registers
from virtio_crq.platform.channel import AVAIL, USED
from virtio_crq.virtio import records

Entry = dict[str, Any]
PAGE = 4096
DESCRIPTOR, ELEMENT, HEADER = 16, 8, 16  # bytes
ACCESS = ("no access", "to read", "to write", "to read and write")  # the low bits of a TCE

GROUPS = ("map and unmap", "CRQ entries", "copies", "interrupt off and on")
# PowerVM's own protocol, as `virtio-crq guests witness` counts IBM's drivers at depth 1: each side maps and unmaps a
# page; command and response; information unit, data, response; each side turns its interrupt off and on.
VSCSI = dict(zip(GROUPS, (4, 2, 3, 4), strict=True))
_GROUP = {
    "H_PUT_TCE": GROUPS[0],
    "H_PUT_TCE_INDIRECT": GROUPS[0],
    "H_STUFF_TCE": GROUPS[0],
    "H_PUT_RTCE": GROUPS[0],
    "H_PUT_RTCE_INDIRECT": GROUPS[0],
    "H_REMOVE_RTCE": GROUPS[0],
    "H_SEND_CRQ": GROUPS[1],
    "H_SEND_SUB_CRQ": GROUPS[1],
    "H_SEND_SUB_CRQ_INDIRECT": GROUPS[1],
    "H_COPY_RDMA": GROUPS[2],
    "H_VIO_SIGNAL": GROUPS[3],
}


@dataclass(frozen=True)
class Rings:
    """Where the client's queue is in its window: I/O addresses."""

    size: int
    descriptors: int
    available: int
    used: int
    pushed: bool = False  # records instead of a ring: requests at `descriptors`, completions at `used`, lists behind

    def part(self, address: int, length: int) -> str | None:
        """What the server copies there; None outside of the queue."""
        if self.pushed:
            return self._record(address, length)
        if self.descriptors <= address < self.descriptors + DESCRIPTOR * self.size:
            count = length // DESCRIPTOR
            return "a descriptor" if count == 1 else f"{count} descriptors: header, data, status"
        if self.available <= address < self.available + 6 + 2 * self.size:
            at = address - self.available
            if at == 4 + 2 * self.size:
                return "used_event: does the client want to be told?"
            return {0: "available flags", 2: "the available index"}.get(at, "ring entry: the chain's head")
        if self.used <= address < self.used + 6 + ELEMENT * self.size:
            at = address - self.used
            if at == 4 + ELEMENT * self.size:
                return "avail_event: tell me of the next one"
            return {0: "used flags", 2: "the used index: the element counts"}.get(at, "used element: chain and length")
        return None

    def _record(self, address: int, length: int) -> str | None:
        if self.descriptors <= address < self.descriptors + records.REQUEST * self.size:
            count = length // records.REQUEST
            return "the request's record" if count == 1 else f"{count} requests' records"
        lists = self.used + records.COMPLETION * self.size
        if self.used <= address < lists:
            return "completion: chain, length and status"
        if lists <= address < lists + DESCRIPTOR * list_entries(self.size):
            return "list: header, data, status"
        return None


def rings_of(device: Device) -> Rings:
    """Of a device that is up."""
    _, setup = device.queues[REQUEST_QUEUE]
    return Rings(int(setup.size), setup.descriptors, setup.driver_area, setup.device_area, device.pushed)


def purposes(entries: Sequence[Entry], rings: Rings) -> list[str]:
    """What each call of one read is for."""
    copies = [entry["inputs"] for entry in entries if entry["call"] == "H_COPY_RDMA"]
    window = _window(entries)
    pages: dict[int, str] = {}
    for copy in copies:
        address, name = _client_end(copy, window, rings)
        if not rings.part(address, 1):
            for page in range(address // PAGE, (address + copy["length"] - 1) // PAGE + 1):
                pages[page] = name
    for entry in entries:
        if entry["call"] == "H_PUT_RTCE":
            first = entry["inputs"]["r_ioba"] // PAGE
            pages |= dict.fromkeys(range(first, first + entry["inputs"]["count"]), "data")
    return [_purpose(entry, window, rings, pages) for entry in entries]


def _window(entries: Sequence[Entry]) -> int | None:
    """The client's. A server learns of a request by fetching; of one that came as a message it puts the data last."""
    copies = [entry["inputs"] for entry in entries if entry["call"] == "H_COPY_RDMA"]
    if not copies:
        return None
    if any(entry["call"].startswith("H_SEND_SUB_CRQ") for entry in entries):
        return int(copies[-1]["destination_liobn"])
    return int(copies[0]["source_liobn"])


def _client_end(copy: dict[str, int], window: int | None, rings: Rings) -> tuple[int, str]:
    """The address in the client's window, and what is there."""
    fetched = copy["source_liobn"] == window
    address = copy["source_ioba" if fetched else "destination_ioba"]
    otherwise = "header" if fetched and copy["length"] == HEADER else "status" if copy["length"] == 1 else "data"
    return address, rings.part(address, copy["length"]) or otherwise


def _purpose(entry: Entry, window: int | None, rings: Rings, pages: dict[int, str]) -> str:
    call, inputs = entry["call"], entry["inputs"]
    if call == "H_COPY_RDMA":
        return _client_end(inputs, window, rings)[1]
    if call == "H_PUT_TCE":
        return f"show the server the {pages.get(inputs['ioba'] // PAGE, 'page')}, {ACCESS[inputs['tce'] & 3]}"
    if call == "H_STUFF_TCE":
        return f"take the {pages.get(inputs['ioba'] // PAGE, 'page')} back"
    if call in ("H_PUT_RTCE", "H_PUT_RTCE_INDIRECT"):
        return "let the storage adapter reach the data"
    if call == "H_REMOVE_RTCE":
        return "the storage adapter reaches the data no more"
    if is_transfer(entry["call"]):
        return "the data, by no copy"
    if call == "H_VIO_SIGNAL":
        return "interrupt on" if inputs["mode"] else "interrupt off while polling"
    return sent(entry)


def sent(entry: Entry) -> str:
    """What a call sends, in words; nothing of one that sends nothing."""
    call, inputs = entry["call"], entry["inputs"]
    if call == "H_SEND_CRQ":
        return meaning(from_registers(inputs["high"], inputs["low"]))
    if call == "H_SEND_SUB_CRQ":
        return _in_words(struct.pack(">4Q", *(inputs[f"word{index}"] for index in range(4))))
    return f"{inputs['count']} records" if call == "H_SEND_SUB_CRQ_INDIRECT" else ""


def _in_words(entry: bytes) -> str:
    """A record that is a message of its own; a completion is filled up with zeroes, and no request is."""
    name, place, *inlined = struct.unpack("<4Q", entry)
    where = f"device {name >> records.NAME_SHIFT & 0xFFFF}, queue {entry[6]}: "
    length, head = place >> records.ADDRESS_BITS, name >> records.HEAD_SHIFT & 0xFFFF
    if not length and not any(inlined):
        return f"{where}completion of {head}, {place & 0xFFFFFFFF} bytes written"
    what = "list" if entry[1] & records.LIST else "data"
    return f"{where}request {head}, {what} of {length} bytes at {place & (1 << records.ADDRESS_BITS) - 1:#x}"


def meaning(entry: bytes) -> str:
    """A CRQ entry in words."""
    if entry[0] != Header.COMMAND:
        return describe_entry(entry).partition(" ")[0]
    try:
        message = parse(entry, DriverFault).message
        seen = announcement(message, DriverFault)
    except DriverFault as fault:
        return str(fault)
    where = f"device {message.device}"
    if seen is not None and seen.kind in (AVAIL, USED):
        what = "requests" if seen.kind == AVAIL else "completions"
        credit = ", credit returned" if seen.credit else ""
        return f"{where}, queue {seen.queue}: {what} up to {seen.position}{credit}"
    if seen is not None:
        return f"{where}, queue {seen.queue}: credit returned"
    row = codec.layout_of(message)
    name = row.NAME if row else f"message {message.msg_id:#04x}"
    kind = "" if message.event else ", response" if message.response else ", request"
    return f"{name}{kind}" if message.bus else f"{where}: {name}{kind}"


def is_transfer(call: str) -> bool:
    """No call: what a storage adapter does by itself."""
    return call.startswith("transfer ")


def comparison(entries: Sequence[Entry]) -> list[tuple[str, int, int]]:
    """Rows (what, this read, a single read of vSCSI), the sum last."""
    calls = [entry for entry in entries if not is_transfer(entry["call"])]
    seen = Counter(_GROUP.get(entry["call"], "others") for entry in calls)
    groups = [*GROUPS, *(name for name in seen if name not in GROUPS)]
    rows = [(name, seen[name], VSCSI.get(name, 0)) for name in groups]
    return [*rows, ("together", len(calls), sum(VSCSI.values()))]


def steps(entries: Sequence[Entry], rings: Rings) -> list[tuple[object, ...]]:
    """Rows for people: number, microseconds since the first, partition, call, what for."""
    first = entries[0]["time_ns"]
    window = _window(entries)
    return [
        (
            *(number, f"{(entry['time_ns'] - first) / 1000:>7.1f}", entry["partition"], entry["call"]),
            *(
                _brief(entry, window),
                why if entry["code"] == "H_SUCCESS" or is_transfer(entry["call"]) else f"{entry['code']}: {why}",
            ),
        )
        for number, (entry, why) in enumerate(zip(entries, purposes(entries, rings), strict=True), 1)
    ]


def _brief(entry: Entry, window: int | None) -> str:
    inputs = entry["inputs"]
    if entry["call"] == "H_COPY_RDMA":
        client, server = "client", "server"
        ends = (client, server) if inputs["source_liobn"] == window else (server, client)
        source, destination = inputs["source_ioba"], inputs["destination_ioba"]
        return f"{inputs['length']:>4} B  {ends[0]} {source:#07x} → {ends[1]} {destination:#07x}"
    if entry["call"] == "H_SEND_CRQ":
        return from_registers(inputs["high"], inputs["low"]).hex(" ", 8)
    if is_transfer(entry["call"]):
        return f"{inputs['length']:>4} B  at {inputs['position']:#x} of the file, {entry['code']}"
    return ", ".join(f"{name}={inputs[name]:#x}" for name in ("r_ioba", "ioba", "mode") if name in inputs)
