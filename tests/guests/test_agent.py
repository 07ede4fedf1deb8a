# SPDX-License-Identifier: Apache-2.0
"""The agent's two sides over a socket pair: the guest's side is the real script in a real shell."""

import os
import pty
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.agent import Agent, AgentFailed
from virtio_crq.guests.initramfs import guest_script


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The agent as guests run it, but for where it keeps its files."""
    path = tmp_path / "agent.sh"
    path.write_bytes(guest_script("agent").replace(b"/run/virtio-crq-agent", str(tmp_path / "place").encode()))
    return path


@pytest.fixture
def host(script: Path) -> Iterator[socket.socket]:
    here, there = socket.socketpair()
    shell = subprocess.Popen(["sh", script], stdin=there, stdout=there)
    there.close()
    yield here
    here.close()
    shell.wait(10)


def test_a_command_gives_its_status_and_its_output(host: socket.socket) -> None:
    agent = Agent(host)
    result = agent.run("echo out; echo err >&2; exit 3")
    assert (result.status, result.text) == (3, "out\nerr\n")
    assert agent.check("printf '%s' \"$((6 * 7))\"") == "42"


def test_bytes_of_any_kind_and_length_come_through(host: socket.socket, tmp_path: Path) -> None:
    content = bytes(range(256)) * 200 + b"no newline at the end"
    path = tmp_path / "in the guest"
    agent = Agent(host)
    agent.run("true")
    agent._ask(content, b"W", "", 30)
    agent.check(f"mv '{tmp_path}/place/put' '{path}'")
    assert path.read_bytes() == content
    assert agent.get(str(path)) == content


def test_output_beyond_the_limit_is_cut_and_its_length_told(host: socket.socket) -> None:
    result = Agent(host).run("seq 1 1000", limit=10)
    assert (result.output, result.length) == (b"1\n2\n3\n4\n5\n", 3893)


def test_a_failed_check_names_command_status_and_output(host: socket.socket) -> None:
    with pytest.raises(VirtioCrqError, match=r"command 'echo why; false' ended with status 1: why"):
        Agent(host).check("echo why; false")


def test_a_command_that_takes_too_long_is_killed_in_the_guest(host: socket.socket) -> None:
    agent = Agent(host, lambda: "last words")
    with pytest.raises(AgentFailed, match="did not end within 1 s: begun; its console said last:\nlast words"):
        agent.run("echo begun; exec sleep 60", seconds=1)
    assert agent.check("echo next") == "next\n"


def test_a_guest_that_never_answers_is_one_error_with_its_last_lines() -> None:
    here, there = socket.socketpair()
    with here, there, pytest.raises(AgentFailed, match=r"did not answer within 0 s; its console said last:\nOops"):
        Agent(here, lambda: "Oops\n").wait(0.05)


def test_a_guest_that_ended_is_told_at_once() -> None:
    here, there = socket.socketpair()
    there.close()
    with here, pytest.raises(AgentFailed, match="the guest has ended; its console said nothing"):
        Agent(here).run("true")


def test_echo_carriage_returns_and_old_answers_are_passed_over() -> None:
    here, there = socket.socketpair()

    def guest() -> None:
        asked = there.makefile("rb")
        for line in asked:
            there.sendall(line.replace(b"\n", b"\r\n"))  # a terminal that echoes
            if line.startswith(b"R "):
                number = line.split()[1]
                there.sendall(b"O !not base64!\r\nO b2xk\r\nE 0 0 3\r\nO bmV3\r\nE " + number + b" 0 3\r\n")

    thread = threading.Thread(target=guest, daemon=True)
    thread.start()
    agent = Agent(here)
    assert agent.run("anything").output == b"new"
    here.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    here.close()
    there.close()


def test_a_question_that_lost_bytes_on_its_way_is_asked_again() -> None:
    here, there = socket.socketpair()
    asked = []

    def guest() -> None:
        for line in there.makefile("rb"):
            if line.startswith(b"R "):
                asked.append(line.split()[1])
                there.sendall(b"E %s %s 0\n" % (asked[-1], b"again" if len(asked) == 2 else b"0"))

    thread = threading.Thread(target=guest, daemon=True)
    thread.start()
    assert Agent(here).run("anything").status == 0
    assert len(asked) == 3  # whether it is there, and twice the command
    here.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    here.close()
    there.close()


def test_over_a_terminal_as_a_guest_has_it(script: Path) -> None:
    controller, terminal = pty.openpty()
    shell = subprocess.Popen(["sh", script], stdin=terminal, stdout=terminal, start_new_session=True)
    os.close(terminal)
    here, there = socket.socketpair()

    def carry(read: int, write: int) -> None:
        try:
            while data := os.read(read, 16):  # a vty has 16 bytes
                os.write(write, data)
        except OSError:
            pass

    ends = ((controller, there.fileno()), (there.fileno(), controller))
    threads = [threading.Thread(target=carry, args=end, daemon=True) for end in ends]
    for thread in threads:
        thread.start()
    agent = Agent(here)
    assert agent.check("printf 'a\\r\\n\\003\\004b'") == "a\r\n\x03\x04b"
    assert len(agent.run("seq 1 20000").output) == 108894
    shell.kill()
    shell.wait()
    here.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)
    os.close(controller)
    here.close()
    there.close()
