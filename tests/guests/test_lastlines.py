# SPDX-License-Identifier: Apache-2.0
"""The last lines of a console, however they arrive."""

from virtio_crq.guests.lastlines import LONGEST_LINE, LastLines


def test_only_the_last_lines_are_kept_and_the_one_that_is_not_complete() -> None:
    last = LastLines(3)
    for number in range(10):
        last.feed(b"line %d\r\n\r\n" % number)
    last.feed(b"guest")
    last.feed(b"# ")
    assert last.text() == "line 7\nline 8\nline 9\nguest#"


def test_a_line_without_an_end_is_bounded() -> None:
    last = LastLines()
    for _ in range(100):
        last.feed(b"x" * 1000)
    assert len(last.text()) == LONGEST_LINE


def test_a_panic_is_remembered_though_it_came_in_pieces() -> None:
    last = LastLines(2)
    last.feed(b"[    1.0] Kernel panic - not syn")
    assert last.panic is None
    last.feed(b"cing: VFS: Unable to mount root fs\r\n" + b"trace\n" * 10)
    assert last.panic == "VFS: Unable to mount root fs"
    assert last.text() == "trace\ntrace"


def test_what_moves_the_cursor_is_left_out() -> None:
    last = LastLines()
    last.feed(b"\x1b[1;31mred\x1b[0m\x07\r\n")
    assert last.text() == "red"
