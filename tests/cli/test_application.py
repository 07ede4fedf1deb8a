# SPDX-License-Identifier: Apache-2.0
"""The command line as people meet it: help, errors of one line, status 2, nothing imported before its time."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from virtio_crq.cli.commands import COMMANDS
from virtio_crq.cli.fullplace import free_bytes, told_full
from virtio_crq.cli.reference import render
from virtio_crq.cli.tables import table


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "virtio_crq.cli", *arguments], capture_output=True, text=True, timeout=60
    )


def refusal(*arguments: str) -> str:
    """The one line on stderr of a command that ends with status 2."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("virtio-crq: ")
    return done.stderr.removeprefix("virtio-crq: ").rstrip("\n")


def test_what_a_message_names_gives_the_terminal_no_commands() -> None:
    assert (
        refusal("up", "/no/\x1b]0;title\x07\x9b2J.toml")
        == "/no/\\x1b]0;title\\x07\\x9b2J.toml: No such file or directory"
    )


def test_a_full_disk_is_one_line() -> None:
    code = (
        "import errno\nfrom virtio_crq.cli import application, main\n"
        "def full(**words):\n    raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "application.app = full\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "virtio-crq: no space left; make some where the command writes\n"


def test_a_full_place_is_named_with_what_names_it(runtime: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    state, temporary = str(runtime / "virtio-crq"), tempfile.gettempdir()
    rooms = {state: 0, temporary: 1 << 30}
    said = str(told_full(full, lambda place: rooms[str(place)]))
    assert said == f"{state}: no space left; make some, or let XDG_RUNTIME_DIR name a place that has some"
    rooms = {state: 1 << 30, temporary: 0}
    said = str(told_full(full, lambda place: rooms[str(place)]))
    assert said == f"{temporary}: no space left; make some, or let TMPDIR name a place that has some"
    assert free_bytes(runtime / "not" / "there") == free_bytes(runtime) > 0


def test_help_names_every_command_that_is_there_and_no_role() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        shown = f"\n  {command.name} " in done.stdout.partition("Commands:")[2]
        assert shown == (not command.hidden), command.name
    assert "..." not in done.stdout.partition("Commands:")[2], "a summary is too long for its line"
    assert "Examples:" in done.stdout


@pytest.mark.parametrize("arguments", [("-h",), ("up", "-h"), ("vios", "lsmap", "-h")])
def test_help_is_asked_for_by_one_letter_too(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).stdout == run(*arguments[:-1], "--help").stdout != ""


def test_the_version_is_an_option_as_of_other_tools() -> None:
    assert run("--version").stdout == run("version").stdout != ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("fly", "no such command 'fly'; see: virtio-crq --help"),
        ("vios fly", "no such command 'fly'; see: virtio-crq vios --help"),
        ("up", "missing argument 'FILE'; see: virtio-crq up --help"),
        ("down nowhere", "got unexpected extra argument(s) (nowhere); see: virtio-crq down --help"),
        ("disk read a/b --offset x", "invalid value for '--offset': "),
        ("vios stat --interval 1e308", "less than or equal to 86400; see: virtio-crq vios stat --help"),
        ("show -m", "option '-m' requires an argument"),
    ],
)
def test_a_command_that_is_typed_wrong_is_told_in_one_line(arguments: str, said: str) -> None:
    assert said in refusal(*arguments.split())


def test_a_group_without_a_verb_shows_its_help() -> None:
    done = run("vios")
    assert done.returncode == 2
    assert done.stderr == run("vios", "--help").stdout


CLOSED = "virtio-crq: standard output is closed; write >/dev/null to do without it\n"


@pytest.mark.parametrize("arguments", ["version --json", "--help", "spec"])
def test_what_is_printed_to_a_closed_output_is_missed(arguments: str) -> None:
    code = f"{sys.executable} -m virtio_crq.cli {arguments} >&-"
    done = subprocess.run(["sh", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, CLOSED)


def test_who_prints_nothing_needs_no_output(runtime: Path) -> None:
    code = f"{sys.executable} -m virtio_crq.cli show >&- 2>&-"
    assert subprocess.run(["sh", "-c", code], check=False).returncode == 2


def test_no_argument_of_the_reference_is_without_a_name() -> None:
    page = render()
    assert "None" not in page
    assert all(line.count("|") - line.count("\\|") == 3 for line in page.splitlines() if line.startswith("| "))


def test_help_imports_no_command() -> None:
    code = (
        "import sys\nfrom virtio_crq.cli import main\nsys.argv = ['virtio-crq', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([n for n in sys.modules if n.startswith('virtio_crq.') and not n.startswith('virtio_crq.cli')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1]
    assert loaded == "['virtio_crq.errors']"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help(command: object) -> None:
    done = run(command.name, "--help")  # type: ignore[attr-defined]
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


@pytest.mark.parametrize("command", ["up", "down", "start", "show", "trace", "version"])
def test_help_of_a_command_has_an_example(command: str) -> None:
    assert f"virtio-crq {command}" in run(command, "--help").stdout.partition("Usage:")[2].partition("\n")[2]


@pytest.mark.parametrize("arguments", [("show",), ("down",), ("trace",), ("start", "vios1"), ("vios", "lsmap")])
def test_without_a_machine_commands_say_so(runtime: Path, arguments: tuple[str, ...]) -> None:
    assert refusal(*arguments) == "no machine is up; start one with: virtio-crq up FILE"


def test_a_machine_that_is_not_up_is_named(runtime: Path) -> None:
    assert refusal("show", "-m", "demo") == "machine 'demo' is not up"


def test_a_malformed_machine_file_is_one_line_and_nothing_starts(runtime: Path) -> None:
    file = runtime / "m.toml"
    file.write_text("[machine]\nnam = 'x'\n")
    assert refusal("up", str(file)) == f"{file}:2: unknown key 'nam' in [machine]; did you mean name?"
    assert not (runtime / "virtio-crq").exists()
    assert "No such file" in refusal("up", str(runtime / "none.toml"))


def test_a_mapping_that_the_server_would_refuse_starts_nothing(runtime: Path) -> None:
    file = runtime / "m.toml"
    file.write_text(
        '[machine]\nname = "x"\n[partition.v]\nmemory = "4MiB"\n[partition.c]\nmemory = "4MiB"\n'
        '[[adapter]]\nclient = "c"\nserver = "v"\nslot = 2\n[[map]]\nclient = "c"\ntarget = "t"\nbacking = "tape:1"\n'
    )
    assert refusal("up", str(file)).startswith(f"{file}:14: map c/t: ")
    assert not (runtime / "virtio-crq").exists()


def test_version_says_whether_the_data_plane_is_compiled() -> None:
    facts = json.loads(run("version", "--json").stdout)
    assert facts.keys() == {"version", "dataplane", "python"}
    assert facts["dataplane"] in ("compiled", "interpreted")
    assert f"(data plane {facts['dataplane']}," in run("version").stdout


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    code = f"{sys.executable} -m virtio_crq.cli --help | head -c 1"
    done = subprocess.run(["sh", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_shell_completion_knows_the_commands() -> None:
    asked = {"_VIRTIO_CRQ_COMPLETE": "complete_bash", "COMP_WORDS": "virtio-crq v", "COMP_CWORD": "1"}
    code = "from virtio_crq.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked})
    assert done.stdout.split() == ["vios", "version"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("bench --rung packed", ["packed-naive", "packed"]),
        ("bench --case seq", ["seqread-128k-qd8"]),
        ("bench clients --crowd 64", ["64-idle"]),
        ("bench clients --rung packed", ["packed-naive", "packed"]),
        ("bench peers --case randread-4k-qd3", ["randread-4k-qd32"]),
        ("guests test --rung per", ["per-request"]),
        ("guests bench --rung per", ["per-request"]),
    ],
)
def test_names_that_tables_know_are_completed_and_in_the_help(words: str, names: list[str]) -> None:
    line = f"virtio-crq {words}"
    asked = {"_VIRTIO_CRQ_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words.split()))}
    code = "from virtio_crq.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked})
    assert done.stdout.split() == names
    command, _, option = words.partition(" --")
    said = run(*command.split(), "--help").stdout.partition(f"--{option.split()[0]} ")[2]
    assert names[0] in " ".join(said.split()).replace("- ", "-")


@pytest.mark.parametrize("group", ["vios", "disk", "console", "guests", "bench"])
def test_help_of_a_group_has_examples(group: str) -> None:
    assert f"  virtio-crq {group}" in run(group, "--help").stdout.partition("Examples:")[2]


def test_columns_are_aligned_and_numbers_stand_right() -> None:
    assert table(("name", "count"), [("a", 5), ("long", 100)]) == "name  count\na         5\nlong    100"
    assert table(("name",), []) == "name"
