# SPDX-License-Identifier: Apache-2.0
"""A slow, obviously right hypervisor of one connection: bytes, dictionaries, one step at a time."""

from dataclasses import dataclass, field

from virtio_crq.papr.profiles import Profile

PAGE = 4096
RAM_PAGES = 8  # of each partition; window page 0 is its queue, wherever its TCE points
SLOTS = 256
SUCCESS, CLOSED, DROPPED, RESOURCE, PARAMETER, PERMISSION, S_PARM, D_PARM = 0, 2, -12, -16, -4, -11, -13, -14
READ, WRITE, BOTH = 1, 2, 3


@dataclass
class ModelEnd:
    ram: bytearray = field(default_factory=lambda: bytearray(RAM_PAGES * PAGE))
    tces: dict[int, tuple[int, int]] = field(default_factory=dict)  # window page → RAM page, access
    open: bool = False
    signal: bool = False
    fired: bool = False
    cursor: int = 0  # where the partner's next entry goes

    def at(self, address: int, access: int) -> int | None:
        """RAM offset of a window address, when its TCE grants the access."""
        page, granted = self.tces.get(address // PAGE, (0, 0))
        return page * PAGE + address % PAGE if granted & access == access else None


class Model:
    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.ends = {"c": ModelEnd(), "s": ModelEnd()}

    def partner(self, name: str) -> ModelEnd:
        return self.ends["s" if name == "c" else "c"]

    def register(self, name: str) -> int:
        end = self.ends[name]
        if end.at(0, BOTH) is None:
            return PARAMETER
        if end.open:
            return RESOURCE
        end.open, end.signal, end.cursor = True, False, 0
        return SUCCESS if self.partner(name).open else CLOSED

    def _interrupt(self, end: ModelEnd) -> None:
        end.fired = end.fired or end.signal

    def _enqueue(self, end: ModelEnd, content: bytes, event: bool) -> int:
        slot = end.at(end.cursor * 16, BOTH)
        if slot is None or end.ram[slot]:
            return DROPPED
        following = end.at((end.cursor + 1) % SLOTS * 16, BOTH)
        assert following is not None
        if self.profile.event_slot_reserved and not event and end.ram[following]:
            return DROPPED
        end.ram[slot : slot + 16] = content
        end.cursor = (end.cursor + 1) % SLOTS
        self._interrupt(end)
        return SUCCESS

    def send(self, name: str, content: bytes) -> int:
        if content[0] < 0x80 or content[0] == 0xFF:
            return PARAMETER
        if not (self.ends[name].open and self.partner(name).open):
            return CLOSED
        return self._enqueue(self.partner(name), content, event=False)

    def _tell(self, end: ModelEnd, code: int) -> None:
        if not end.open or self._enqueue(end, bytes([0xFF, code]) + bytes(14), event=True) == SUCCESS:
            return
        last = end.at((end.cursor - 1) % SLOTS * 16, BOTH)
        if last is None or not end.ram[last]:
            return  # nowhere to put it
        mark = 0x20 if self.profile.overwritten_mark else 0
        end.ram[last : last + 8] = bytes([0xFF, code, 0, mark, 0, 0, 0, 0])
        self._interrupt(end)

    def free(self, name: str, code: int = 2) -> int:
        end = self.ends[name]
        if end.open:
            end.open = end.signal = False
            self._tell(self.partner(name), code)
        return SUCCESS

    def die(self, name: str) -> None:
        self.free(name, code=1)
        old = self.ends[name]
        self.ends[name] = ModelEnd(cursor=old.cursor)

    def set_signal(self, name: str, on: bool) -> None:
        end = self.ends[name]
        end.signal = on
        newest = end.at((end.cursor - 1) % SLOTS * 16, BOTH)
        if on and end.open and newest is not None and end.ram[newest]:
            end.fired = True

    def put(self, name: str, page: int, ram_page: int, access: int) -> int:
        if access and ram_page >= RAM_PAGES:
            return PARAMETER
        self.ends[name].tces[page] = (ram_page, access)
        return SUCCESS

    def copy(self, remote: int, local: int, length: int, outward: bool) -> int:
        server, client = self.ends["s"], self.ends["c"]
        if not (server.open and client.open):
            return PERMISSION if self.profile.closed_pane_permission else D_PARM if outward else S_PARM
        source, target = (server, client) if outward else (client, server)
        start, end = (local, remote) if outward else (remote, local)
        froms = [source.at(start + index, READ) for index in range(length)]
        tos = [target.at(end + index, WRITE) for index in range(length)]
        if None in froms or None in tos:
            return PERMISSION
        for from_, to in zip(froms, tos, strict=True):
            assert from_ is not None
            assert to is not None
            target.ram[to] = source.ram[from_]
        return SUCCESS
