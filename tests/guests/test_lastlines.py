# SPDX-License-Identifier: Apache-2.0
"""The last lines of a console, fit to be shown."""

from virtio_crq.guests.lastlines import LONGEST_LINE, last_lines


def test_only_the_last_lines_are_shown_and_the_one_that_is_not_complete() -> None:
    output = b"".join(b"line %d\r\n\r\n" % number for number in range(10)) + b"guest# "
    assert last_lines(output, 3) == ["line 8", "line 9", "guest#"]


def test_a_line_without_an_end_is_bounded() -> None:
    assert last_lines(b"x" * 1_000_000, 3) == ["x" * LONGEST_LINE]


def test_what_moves_the_cursor_and_what_is_no_text_is_harmless() -> None:
    assert last_lines(b"\x1b[1;31mred\x1b[0m\x07\r\n\x1b[2J\xff\xfe\n", 5) == ["red", "��"]


def test_a_guest_cannot_command_the_terminal_that_shows_its_last_words() -> None:
    """A control sequence may also begin with one character of C1, and text may be told to run backwards."""
    output = "\x9b2Jone\x9d0;title\x9c\x90$q\x85two \u202eevil\u2066\u2028".encode()
    assert last_lines(output, 5) == ["2Jone0;title$qtwo evil"]


def test_nothing_said_is_no_lines() -> None:
    assert last_lines(b"", 5) == []
