# SPDX-License-Identifier: Apache-2.0
"""The host's side of the agent: commands for a guest over a terminal of their own. The other is `scripts/agent.sh`.

Both directions are lines of base64 behind a letter, each request has a number and says its length. So an echo, a
carriage return, a lost byte or the rest of an earlier answer is noticed and passed over.
"""

import base64
import queue
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.terminal import Terminal

READY = b"READY"
PLACE = "/run/virtio-crq-agent"  # where the script keeps its files
START_SECONDS = 60.0
GRACE = 10.0  # seconds beyond a command's own, which the guest itself ends it after
ASK_AGAIN = 2.0  # seconds; a question that came before the agent was there is lost
ATTEMPTS = 3
LONGEST_OUTPUT = 256 << 10
AT_A_TIME = 24 << 10  # bytes sent before the guest has taken them: what a socket holds, whether anybody reads or not
LONGEST_LINE = 64 << 10  # the agent's own are of a few hundred bytes
_PIECE = 540  # bytes in a line: a terminal that is not raw yet takes lines of 4095
_KILLED = 137


class AgentFailed(VirtioCrqError):
    """The guest did not answer, or not in time; the message ends with its last console lines."""


@dataclass(frozen=True)
class Result:
    """`output` is what the command wrote to both of its outputs; `length` says how much it was before it was cut."""

    status: int
    output: bytes
    length: int

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")


class Agent:
    """Over `terminal`, the agent's as its host sees it. What `console` said last ends the message of a failure."""

    def __init__(
        self, terminal: Terminal, console: Terminal | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._terminal = terminal
        self._console = console
        self._clock = clock
        self._news: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._received = bytearray()
        self._number = 0
        self._ready = False
        terminal.listen(self._news.put)

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Until the guest's agent answers."""
        deadline = self._clock() + seconds
        while not self._ready:
            remaining = deadline - self._clock()
            if remaining <= 0:
                raise self._failure(f"the guest did not answer within {seconds:.0f} s")
            self._send(b":\n", b"R", f"{GRACE:.0f} 0")
            for word, _ in self._lines(min(deadline, self._clock() + ASK_AGAIN)):
                if word in (READY, b"E"):
                    self._ready = True
                    break

    def run(self, command: str, seconds: float = 30.0, limit: int = LONGEST_OUTPUT) -> Result:
        """Run a shell command in the guest; one that takes longer than `seconds` is killed there, and is an error."""
        if len(command) > AT_A_TIME:
            raise ValueError(f"a command of {len(command)} characters; put it in a file of the guest and run that")
        self.wait()
        begun = self._clock()
        status, length, output = self._ask(command.encode() + b"\n", b"R", f"{ceil(seconds)} {limit}", seconds)
        if status == _KILLED and self._clock() - begun >= seconds:
            shown = output[-500:].decode(errors="replace").strip()
            raise self._failure(f"the guest's command {_short(command)} did not end within {seconds:g} s: {shown}")
        if len(output) != min(length, limit):
            raise self._failure(f"{len(output)} of {length} bytes that {_short(command)} wrote have arrived")
        return Result(status, output, length)

    def check(self, command: str, seconds: float = 30.0, limit: int = LONGEST_OUTPUT) -> str:
        """What a command writes; one that does not end with status 0 is an error."""
        result = self.run(command, seconds, limit)
        if result.status:
            told = result.text.strip()[-1000:]
            raise VirtioCrqError(f"the guest's command {_short(command)} ended with status {result.status}: {told}")
        return result.text

    def put(self, content: bytes, path: str, mode: int = 0o644, seconds: float = 60.0) -> None:
        """Make a file in the guest; meant for small ones: it gets about 50 KiB a second."""
        self.wait()
        goal = shlex.quote(path)
        self.check(f'mkdir -p "$(dirname {goal})" && : >{goal} && chmod {mode:o} {goal}', seconds)
        for at in range(0, len(content), AT_A_TIME):
            self._ask(content[at : at + AT_A_TIME], b"W", "", seconds)
            self.check(f"cat {PLACE}/put >>{goal}", seconds)

    def get(self, path: str, limit: int = LONGEST_OUTPUT, seconds: float = 60.0) -> bytes:
        """The content of a file in the guest, at most `limit` bytes of it."""
        result = self.run(f"cat {shlex.quote(path)}", seconds, limit)
        if result.status:
            raise VirtioCrqError(f"the guest has no file {path}: {result.text.strip()}")
        return result.output

    def _ask(self, data: bytes, letter: bytes, more: str, seconds: float) -> tuple[int, int, bytes]:
        """Status, length and content of the answer, asked again when the guest missed part of the question."""
        for _ in range(ATTEMPTS):
            number = self._send(data, letter, more)
            status, length, output = self._answer(number, self._clock() + seconds + GRACE, seconds)
            if status != b"again":
                return int(status), length, output
        raise self._failure(f"the agent's terminal lost part of {len(data)} bytes, {ATTEMPTS} times")

    def _answer(self, number: int, deadline: float, seconds: float) -> tuple[bytes, int, bytes]:
        output = bytearray()
        for word, rest in self._lines(deadline):
            if word == b"O":
                try:
                    output += base64.b64decode(rest, validate=True)
                except ValueError:
                    continue  # its length will tell
            elif word == READY:
                raise self._failure("the guest's agent was started anew in the middle of a command")
            elif word == b"E":
                told, status, length = [*rest.split(), b"", b"", b""][:3]
                if told == str(number).encode() and length.isdigit() and (status.isdigit() or status == b"again"):
                    return status, int(length), bytes(output)
                output.clear()  # the end of an earlier answer
        raise self._failure(f"the guest did not answer within {seconds + GRACE:g} s")

    def _send(self, data: bytes, letter: bytes, more: str) -> int:
        """The number of the question."""
        self._number += 1
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
        lines = [b"", b"N", *(b"D " + base64.b64encode(piece) for piece in pieces)]
        lines.append(f"{letter.decode()} {self._number} {len(data)} {more}".encode())
        self._terminal.send(b"\n".join(lines) + b"\n")
        return self._number

    def _lines(self, deadline: float) -> Iterator[tuple[bytes, bytes]]:
        """First word and rest of each line that comes before the deadline."""
        while self._clock() <= deadline:  # a guest may also talk without end
            line, newline, rest = bytes(self._received).partition(b"\n")
            if newline:
                self._received[:] = rest
                word, _, rest = line.strip(b"\r\n \0").partition(b" ")
                yield word, rest
                continue
            try:
                received = self._news.get(timeout=max(0.0, deadline - self._clock()))
            except queue.Empty:
                return
            if len(self._received) > LONGEST_LINE:
                self._received.clear()  # no line of ours; its rest is passed over as well
            self._received += received
            if not received:
                raise self._failure("the guest has ended")

    def _failure(self, what: str) -> AgentFailed:
        last = self._console.last_lines() if self._console is not None else []
        return AgentFailed("\n".join([f"{what}; its console said last:", *last]) if last else what)


def _short(command: str) -> str:
    line = command.strip().replace("\n", "; ")
    return repr(line if len(line) <= 60 else line[:57] + "…")
