# SPDX-License-Identifier: Apache-2.0
"""The client's window as the server reaches it for control messages: short ones by register, long ones by copy."""

from virtio_crq.errors import PlatformError
from virtio_crq.papr.hypercalls import READ_RDMA_LIMIT, WRITE_RDMA_LIMIT, Hypercall
from virtio_crq.papr.returncodes import ReturnCode
from virtio_crq.platform.partition import Arena
from virtio_crq.platform.port import Port


class RemoteWindow:
    """`scratch` is a page of own, mapped RAM; a platform that lacks the register calls is served through it too."""

    def __init__(self, port: Port, liobn: int, size: int, scratch: Arena) -> None:
        self.size = size
        self._port = port
        self._liobn = liobn
        self._scratch = scratch

    def read(self, ioba: int, length: int) -> bytes:
        """Bytes of the client; PlatformError when they cannot be reached."""
        self._check("read", ioba, length)
        if length <= READ_RDMA_LIMIT:
            code, registers = self._port.call(Hypercall.H_READ_RDMA, length, self._liobn, ioba)
            if code == ReturnCode.H_SUCCESS:
                return b"".join(word.to_bytes(8, "big") for word in registers)[:length]
            if code != ReturnCode.H_FUNCTION:
                raise PlatformError("H_READ_RDMA", code, f"{length} bytes at {ioba:#x}")
        self._copy(ioba, length, outward=0)
        return self._port.read(self._scratch.offset, length)

    def write(self, ioba: int, data: bytes) -> None:
        """Store into the client's memory; PlatformError when that cannot be reached."""
        self._check("write", ioba, len(data))
        if len(data) <= WRITE_RDMA_LIMIT:
            padded = data.ljust(-(-len(data) // 8) * 8, b"\0")
            words = [int.from_bytes(padded[at : at + 8], "big") for at in range(0, len(padded), 8)]
            code, _ = self._port.call(Hypercall.H_WRITE_RDMA, len(data), self._liobn, ioba, *words)
            if code == ReturnCode.H_SUCCESS:
                return
            if code != ReturnCode.H_FUNCTION:
                raise PlatformError("H_WRITE_RDMA", code, f"{len(data)} bytes at {ioba:#x}")
        self._port.write(self._scratch.offset, data)
        self._copy(ioba, len(data), outward=1)

    def _copy(self, ioba: int, length: int, outward: int) -> None:
        self._port.stage(ioba, self._scratch.bus, length, outward)
        code = self._port.flush()
        if code != ReturnCode.H_SUCCESS:
            raise PlatformError("H_COPY_RDMA", code, f"{length} bytes at {ioba:#x}")

    def _check(self, what: str, ioba: int, length: int) -> None:
        if length > self._scratch.size or ioba + length > self.size:
            code = ReturnCode.H_S_PARM if what == "read" else ReturnCode.H_D_PARM
            raise PlatformError(what, code, f"{length} bytes at {ioba:#x}, the window ends at {self.size:#x}")
