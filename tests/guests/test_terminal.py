# SPDX-License-Identifier: Apache-2.0
"""A guest's terminal on the host: all is taken at once, kept within bounds, logged whole, and waited for."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_crq.guests import terminal as module
from virtio_crq.guests.terminal import Terminal


@pytest.fixture
def line(tmp_path: Path) -> Iterator[tuple[Terminal, socket.socket]]:
    """A terminal with a log, and the guest's end."""
    ours, theirs = socket.socketpair()
    terminal = Terminal(ours, "test", tmp_path / "log")
    yield terminal, theirs
    terminal.close()
    theirs.close()


def test_output_is_waited_for_from_a_position_on(line: tuple[Terminal, socket.socket]) -> None:
    terminal, guest = line
    guest.sendall(b"login: ")
    found = terminal.wait_for(rb"log(in): ", 10)
    assert found is not None
    assert found[1] == b"in"
    position = terminal.position
    assert terminal.wait_for(b"login", 0, position) is None
    guest.sendall(b"password: ")
    assert terminal.wait_for(b"password", 10, position)
    assert terminal.output(position) == b"password: "


def test_what_is_typed_arrives_and_a_guest_that_ended_is_no_error(line: tuple[Terminal, socket.socket]) -> None:
    terminal, guest = line
    terminal.send(b"root\n")
    assert guest.recv(64) == b"root\n"
    guest.shutdown(socket.SHUT_RDWR)
    assert terminal.wait_for(b"never", 10) is None
    assert terminal.ended
    terminal.send(b"late\n")


def test_a_talkative_guest_is_taken_whole_by_the_log_and_in_part_by_memory(
    line: tuple[Terminal, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 1000)
    terminal, guest = line
    guest.sendall(b"x" * 100_000 + b"end")
    assert terminal.wait_for(b"end", 10)
    assert len(terminal.output()) == 1000
    assert terminal.position == 100_003
    assert terminal.output(100_000) == b"end"
    output, position = terminal.since(0)
    assert (len(output), terminal.since(position)) == (1000, (b"", 100_003))
    assert (tmp_path / "log").read_bytes() == b"x" * 100_000 + b"end"


def test_a_listener_hears_what_comes_and_the_end(line: tuple[Terminal, socket.socket]) -> None:
    terminal, guest = line
    heard: list[bytes] = []
    terminal.listen(heard.append)
    guest.sendall(b"one")
    guest.shutdown(socket.SHUT_RDWR)
    terminal.close()
    assert b"".join(heard) == b"one"
    assert heard[-1] == b""


def test_a_full_disk_under_the_log_does_not_stop_the_guest() -> None:
    """A guest that prints waits for its terminal, so the terminal goes on without its log."""
    ours, guest = socket.socketpair()
    terminal = Terminal(ours, "test", Path("/dev/full"))
    guest.sendall(b"first")
    assert terminal.wait_for(b"first", 10)
    guest.sendall(b"second")
    assert terminal.wait_for(b"second", 10)
    assert "No space left" in terminal.trouble
    terminal.close()
    guest.close()
