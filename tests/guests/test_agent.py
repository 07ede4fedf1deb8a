# SPDX-License-Identifier: Apache-2.0
"""The agent's two sides over a socket pair: the guest's side is the real script in a real shell."""

import contextlib
import os
import pty
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.agent import Agent, AgentFailed
from virtio_crq.guests.initramfs import guest_script
from virtio_crq.guests.terminal import Terminal


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The agent as guests run it, but for where it keeps its files."""
    path = tmp_path / "agent.sh"
    path.write_bytes(guest_script("agent").replace(b"/run/virtio-crq-agent", str(tmp_path / "place").encode()))
    return path


@pytest.fixture
def agent(script: Path) -> Iterator[Agent]:
    here, there = socket.socketpair()
    shell = subprocess.Popen(["sh", script], stdin=there, stdout=there)
    there.close()
    with terminal(here) as connected:
        yield Agent(connected)
    shell.wait(10)


@contextmanager
def terminal(connection: socket.socket) -> Iterator[Terminal]:
    made = Terminal(connection, "agent")
    try:
        yield made
    finally:
        made.close()


@contextmanager
def guest(answer: Callable[[bytes], bytes]) -> Iterator[Terminal]:
    """A guest that answers each line that it is sent by what `answer` makes of it."""
    here, there = socket.socketpair()

    def run() -> None:
        with there, there.makefile("rb") as lines:
            for line in lines:
                there.sendall(answer(line))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with terminal(here) as connected:
        yield connected
    thread.join(10)


@contextmanager
def console(said: bytes) -> Iterator[Terminal]:
    """A console that has said all this and no more."""
    here, there = socket.socketpair()
    there.sendall(said)
    there.close()
    with terminal(here) as connected:
        connected.wait_for(b"never", 10)
        yield connected


def test_a_command_gives_its_status_and_its_output(agent: Agent) -> None:
    result = agent.run("echo out; echo err >&2; exit 3")
    assert (result.status, result.text) == (3, "out\nerr\n")
    assert agent.check("printf '%s' \"$((6 * 7))\"") == "42"


def test_bytes_of_any_kind_and_length_come_through(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virtio_crq.guests.agent.PLACE", str(tmp_path / "place"))
    content = bytes(range(256)) * 200 + b"no newline at the end"
    path = tmp_path / "in the guest/it's"
    agent.put(content, str(path), 0o750)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o750
    assert agent.get(str(path)) == content


def test_output_beyond_the_limit_is_cut_and_its_length_told(agent: Agent) -> None:
    result = agent.run("seq 1 1000", limit=10)
    assert (result.output, result.length) == (b"1\n2\n3\n4\n5\n", 3893)


def test_a_failed_check_names_command_status_and_output(agent: Agent) -> None:
    with pytest.raises(VirtioCrqError, match=r"command 'echo why; false' ended with status 1: why"):
        agent.check("echo why; false")


def test_a_command_that_takes_too_long_is_killed_in_the_guest(agent: Agent) -> None:
    with pytest.raises(AgentFailed, match="did not end within 1 s: begun"):
        agent.run("echo begun; exec sleep 60", seconds=1)
    assert agent.check("echo next") == "next\n"


def test_a_guest_that_never_answers_is_one_error_with_its_last_lines() -> None:
    with guest(lambda line: b"") as silent, console(b"one\r\nOops\r\n") as said:
        with pytest.raises(AgentFailed, match=r"did not answer within 0 s; its console said last:\none\nOops"):
            Agent(silent, said).wait(0.05)


def test_a_guest_that_ended_is_told_at_once() -> None:
    here, there = socket.socketpair()
    with terminal(here) as connected:
        agent = Agent(connected)
        there.close()
        with pytest.raises(AgentFailed, match="the guest has ended"):
            agent.run("true")


def test_echo_carriage_returns_and_old_answers_are_passed_over() -> None:
    def echoing(line: bytes) -> bytes:
        echo = line.replace(b"\n", b"\r\n")
        if not line.startswith(b"R "):
            return echo
        return echo + b"O !not base64!\r\nO b2xk\r\nE 0 0 3\r\nO bmV3\r\nE " + line.split()[1] + b" 0 3\r\n"

    with guest(echoing) as connected:
        assert Agent(connected).run("anything").output == b"new"


def test_a_question_that_lost_bytes_on_its_way_is_asked_again() -> None:
    asked = []

    def losing(line: bytes) -> bytes:
        if not line.startswith(b"R "):
            return b""
        asked.append(line.split()[1])
        return b"E %s %s 0\n" % (asked[-1], b"again" if len(asked) == 2 else b"0")

    with guest(losing) as connected:
        assert Agent(connected).run("anything").status == 0
    assert len(asked) == 3  # whether it is there, and twice the command


def test_a_guest_that_loses_every_question_is_an_error() -> None:
    with guest(lambda line: b"E %s again 0\n" % line.split()[1] if line.startswith(b"R ") else b"") as connected:
        with pytest.raises(AgentFailed, match="lost part of 9 bytes, 3 times"):
            Agent(connected).run("anything")


def test_a_guest_that_starts_anew_in_the_middle_of_a_command_is_an_error() -> None:
    asked = []

    def restarting(line: bytes) -> bytes:
        asked.append(line)
        answers = [b"E %s 0 0\n" % each.split()[1] for each in asked if each.startswith(b"R ")]
        return b"" if not line.startswith(b"R ") else answers[0] if len(answers) == 1 else b"READY\n"

    with guest(restarting) as connected, pytest.raises(AgentFailed, match="started anew in the middle of a command"):
        Agent(connected).run("anything")


def test_over_a_terminal_as_a_guest_has_it(script: Path) -> None:
    controller, device = pty.openpty()
    shell = subprocess.Popen(["sh", script], stdin=device, stdout=device, start_new_session=True)
    os.close(device)
    here, there = socket.socketpair()

    def carry(read: int, write: int) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(read, 16):  # a vty has 16 bytes
                os.write(write, data)

    ends = ((controller, there.fileno()), (there.fileno(), controller))
    threads = [threading.Thread(target=carry, args=end, daemon=True) for end in ends]
    for thread in threads:
        thread.start()
    with terminal(here) as connected:
        agent = Agent(connected)
        assert agent.check("printf 'a\\r\\n\\003\\004b'") == "a\r\n\x03\x04b"
        assert len(agent.run("seq 1 20000").output) == 108894
        shell.kill()
        shell.wait()
    for thread in threads:
        thread.join(10)
    os.close(controller)
    there.close()


@pytest.mark.parametrize("noise", [b"x" * 4096, b"O eHh4\n" * 512, b"?\n" * 2048])
def test_a_guest_that_talks_without_end_is_given_up_in_time(noise: bytes) -> None:
    here, there = socket.socketpair()
    ticks = iter(range(1_000_000))

    def talk() -> None:
        with there, contextlib.suppress(OSError):
            while True:
                there.sendall(noise)

    with terminal(here) as connected:
        agent = Agent(connected, clock=lambda: next(ticks) / 100)
        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(AgentFailed, match="did not answer within 2 s"):
            agent.wait(2)
    thread.join()
