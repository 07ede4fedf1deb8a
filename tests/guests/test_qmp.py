# SPDX-License-Identifier: Apache-2.0
"""QEMU's monitor: which word of it is which ending of a guest."""

import json
import socket

import pytest

from virtio_crq.guests.qmp import Monitor


def reason(*messages: str) -> str | None:
    """What a monitor makes of these lines."""
    ours, qemu = socket.socketpair()
    monitor = Monitor(ours)
    assert qemu.recv(1000) == b'{"execute": "qmp_capabilities"}\n'
    qemu.sendall("".join(message + "\n" for message in messages).encode())
    qemu.close()
    monitor.join()
    monitor.close()
    return monitor.reason


def shutdown(why: str) -> str:
    return json.dumps({"event": "SHUTDOWN", "data": {"guest": True, "reason": why}})


@pytest.mark.parametrize(
    ("why", "ending"),
    [("guest-shutdown", "off"), ("guest-reset", "reboot"), ("guest-panic", "panic"), ("host-signal", None)],
)
def test_a_shutdown_has_a_reason(why: str, ending: str | None) -> None:
    assert reason('{"QMP": {}}', '{"return": {}}', shutdown(why)) == ending


def test_a_panic_stays_a_panic_however_it_ends() -> None:
    panicked = json.dumps({"event": "GUEST_PANICKED", "data": {"action": "shutdown"}})
    assert reason(panicked, shutdown("guest-reset")) == "panic"


def test_a_qemu_that_says_nothing_or_nonsense_gives_no_reason() -> None:
    assert reason() is None
    assert reason("{", "", "{}") is None


def test_a_command_is_a_line() -> None:
    ours, qemu = socket.socketpair()
    monitor = Monitor(ours)
    monitor.execute("system_powerdown")
    with qemu, qemu.makefile("r") as lines:
        assert [json.loads(lines.readline())["execute"] for _ in range(2)] == ["qmp_capabilities", "system_powerdown"]
    monitor.close()
