# SPDX-License-Identifier: Apache-2.0
"""What one I/O of IBM's pair costs, counted by the engine: hypercalls of both partitions, copies, bytes, interrupts."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.fio import measured
from virtio_crq.guests.witnesses import CLIENT, SERVER, Pair
from virtio_crq.hypervisor.conversation import Conversation, ask

TCE_CALLS = ("H_PUT_TCE", "H_PUT_TCE_INDIRECT", "H_STUFF_TCE", "H_GET_TCE")
BLOCK = 4096
REQUESTS = 1024
SECONDS = 120.0
ONE_READ = f"fio --name=one --filename=/dev/sda --rw=read --bs={BLOCK} --direct=1 --number_ios=1 --size=1m >/dev/null"
# What is in the engine's sums beside calls by name.
SUMS = ("copies", "bytes", "interrupts")
SETTLED = 4  # looks at the trace without a new call
LOOK_SECONDS = 0.05

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """Per request, both partitions together, and by the side that called."""

    load: str
    requests: int
    calls: float
    tce_calls: float
    signal_calls: float
    copies: float
    bytes: float
    interrupts: float  # raised; those that came while one was under way are not presented by themselves
    by_call: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CountedLoad:
    name: str
    write: bool
    depth: int

    def command(self) -> str:
        kind = "randwrite" if self.write else "randread"
        return (
            f"fio --output-format=json --name={self.name} --filename=/dev/sda --rw={kind} --bs={BLOCK} --direct=1 "
            f"--ioengine=libaio --iodepth={self.depth} --size=64m --norandommap --io_size={REQUESTS * BLOCK}"
        )


LOADS = tuple(
    CountedLoad(f"rand{'write' if write else 'read'}-4k-qd{depth}", write, depth)
    for write in (False, True)
    for depth in (1, 16)
)


def counted(state: Any, pair: Pair, load: CountedLoad) -> Cost:
    """Run `load` and divide. Nothing else uses the connection meanwhile."""
    ask(state, "reset_counters")
    requests = measured(pair.client.run(load.command(), SECONDS)).requests
    counters = ask(state, "counters")
    return cost(load.name, requests, {side: counters[side] for side in (CLIENT, SERVER)})


def cost(name: str, requests: int, counters: Mapping[str, Mapping[str, int]]) -> Cost:
    """The engine's counters of both sides, per request."""
    if not requests:
        raise VirtioCrqError(f"{name}: no request was completed, so nothing can be counted")
    by_call = {
        side: {call: round(count / requests, 3) for call, count in row.items() if call not in SUMS and count}
        for side, row in counters.items()
    }

    def per_request(*names: str) -> float:
        return round(sum(row.get(name, 0) for row in counters.values() for name in names) / requests, 2)

    calls = {call for row in counters.values() for call in row if call not in SUMS}
    return Cost(
        load=name,
        requests=requests,
        calls=per_request(*calls),
        tce_calls=per_request(*TCE_CALLS),
        signal_calls=per_request("H_VIO_SIGNAL"),
        copies=per_request("copies"),
        bytes=per_request("bytes"),
        interrupts=per_request("interrupts"),
        by_call=by_call,
    )


def one_read(state: Any, pair: Pair) -> list[Entry]:
    """Every hypercall of one 4 KiB read, in the engine's order."""
    with Conversation(state) as hypervisor:
        after = 0
        while entries := hypervisor.ask("read_trace", after=after):
            after = entries[-1]["sequence"]
        hypervisor.ask("trace", on=True)
        try:
            pair.client.run(ONE_READ, SECONDS)
            found: list[Entry] = []
            quiet = 0
            while quiet < SETTLED:
                entries = hypervisor.ask("read_trace", after=after)
                quiet = 0 if entries else quiet + 1
                found += entries
                after = entries[-1]["sequence"] if entries else after
                time.sleep(LOOK_SECONDS)
            return found
        finally:
            hypervisor.ask("trace", on=False)


def purpose(entry: Entry) -> str:
    """What a call of the pair is for, in words of virtual SCSI."""
    call, inputs = entry["call"], entry["inputs"]
    client = entry["partition"] == CLIENT
    if call in ("H_PUT_TCE", "H_PUT_TCE_INDIRECT"):
        return "map the buffer for the server" if client else "map the page that was read"
    if call == "H_STUFF_TCE":
        return "take the buffer back" if client else "take the page back"
    if call == "H_VIO_SIGNAL":
        return "interrupt on, then look once more" if inputs["mode"] else "interrupt off"
    if call == "H_COPY_RDMA":
        return _moved(inputs["length"])
    if call == "H_SEND_CRQ":
        length = inputs["high"] & 0xFFFF
        if client:
            return f"a command: {inputs['high'] >> 16 & 0xFFFF} s, {length} bytes at {inputs['low']:#x}"
        return f"a response: {length} bytes for the tag {inputs['low']:#x}"
    return ""


def _moved(length: int) -> str:
    """By the sizes that both drivers use."""
    return {256: "fetch the information unit (an SRP command)", BLOCK: "the data", 36: "store the SRP response"}.get(
        length, "data"
    )
