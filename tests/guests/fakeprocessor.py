# SPDX-License-Identifier: Apache-2.0
"""The plugin without QEMU: `fakeqemu.c` is one virtual processor that a test makes hypercalls with."""

import socket
import subprocess
from pathlib import Path

from virtio_crq.guests import qemu
from virtio_crq.hypervisor.machine import Machine

SOURCE = Path(__file__).with_name("fakeqemu.c")
PLUGIN = Path(qemu.__file__).parent / "plugin"


def compiled(directory: Path) -> Path:
    """The processor as a program."""
    program = directory / "fakeqemu"
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-rdynamic", "-I", str(PLUGIN), "-o", str(program), str(SOURCE), "-ldl"],
        check=True,
    )
    return program


class Processor:
    """A partition of `machine`, as its guest would be started; `control` is the host's end of the plugin's socket."""

    def __init__(self, program: Path, machine: Machine, name: str) -> None:
        handover = machine.descriptors_for(name)
        self.description = handover.description
        self.control, theirs = socket.socketpair()
        self.control.settimeout(20)
        self.hypervisor, conversation = socket.socketpair()
        plan = {"firmware": "vof", "vcpus": 1, "kernel": "k", "initrd": None, "command_line": "", "extra": []}
        sockets = {"control": theirs.fileno(), "hypervisor": conversation.fileno()}
        sockets |= {"console": 0, "agent": 0, "monitor": 0}
        words = qemu.arguments({**plan, "entry": 0x400000}, handover.description, sockets, handover.descriptors)
        self.arguments = words
        self._process = subprocess.Popen(
            [str(program), *words[words.index("-plugin") + 1].split(",")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[*handover.descriptors, theirs.fileno(), conversation.fileno()],
            text=True,
            bufsize=1,
        )
        theirs.close()
        conversation.close()
        assert self.line() == f"api {qemu.PLUGIN_API}"

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def ask(self, line: str) -> str:
        self.say(line)
        return self.line()

    def call(self, opcode: int, *arguments: int, order: str = "little") -> tuple[str, int, list[int]]:
        """`answered` or `passed`, R3 as a signed number, R4 to R12."""
        values = [opcode, *arguments, *[0] * (9 - len(arguments))]
        word, *registers = self.ask(f"sc {order} " + " ".join(f"{value:x}" for value in values)).split()
        numbers = [int(register, 16) for register in registers]
        return word, numbers[0] - (numbers[0] >> 63 << 64), numbers[1:]

    def ended(self) -> int:
        """Its exit status, when it ends by itself."""
        return self._process.wait(20)

    def end(self) -> int:
        """Its exit status, when it has no more to do."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        status = self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.control.close()
        self.hypervisor.close()
        return status
