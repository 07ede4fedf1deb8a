# SPDX-License-Identifier: Apache-2.0
"""What the documents say exists, exists: files, commands, machine files; and the README stays short."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_crq.cli.commands import COMMANDS
from virtio_crq.cli.reference import render
from virtio_crq.hypervisor.machinefile import parse_machine_file, read_machine_file

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GUIDES = [path for path in DOCUMENTS if "spec" not in path.parts]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
# `path/like/this.py`, perhaps below src/virtio_crq, as the tour of the architecture names files.
NAMED_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|toml|md|sh|c|h))`")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> Iterator[str]:
    yield from (body for kind, body in FENCE.findall(path.read_text()) if kind == language)


def commands(path: Path) -> Iterator[list[str]]:
    """Every `virtio-crq …` of a document, in shell blocks and inline."""
    text = path.read_text()
    for line in [*"\n".join(blocks(path, "sh")).splitlines(), *re.findall(r"`([^`\n]+)`", text)]:
        match = re.match(r"(?:\$ )?virtio-crq\s+(.*)", line.strip())
        if match:
            yield match[1].partition("#")[0].split()


@pytest.mark.parametrize("path", GUIDES, ids=ids)
def test_every_link_leads_to_a_file(path: Path) -> None:
    for target in LINK.findall(path.read_text()):
        assert (path.parent / target).exists(), f"{ids(path)} links to {target}"


@pytest.mark.parametrize("path", GUIDES, ids=ids)
def test_every_command_that_is_named_exists(path: Path) -> None:
    known = {command.name: command for command in COMMANDS}
    for words in commands(path):
        name = next((word for word in words if not word.startswith("-")), None)
        if name is None or name == "…":
            continue
        assert name in known, f"{ids(path)} says: virtio-crq {' '.join(words)}"
        target = known[name].load()
        verbs = verbs_of(target)
        if verbs and len(words) > 1 and not (words[1].startswith("--") and target.registered_callback):
            assert words[1] in verbs, f"{ids(path)} says: virtio-crq {' '.join(words)}"


def verbs_of(target: object) -> set[str]:
    registered = getattr(target, "registered_commands", [])
    return {command.name or command.callback.__name__.replace("_", "-") for command in registered}


def test_the_reference_of_commands_is_made_from_the_commands() -> None:
    renew = "python -m virtio_crq.cli.reference > docs/reference/commands.md"
    assert (ROOT / "docs/reference/commands.md").read_text() == render(), f"renew it: {renew}"


@pytest.mark.parametrize("path", GUIDES, ids=ids)
def test_python_blocks_are_python(path: Path) -> None:
    for body in blocks(path, "python"):
        ast.parse(body)


@pytest.mark.parametrize("path", GUIDES, ids=ids)
def test_machine_files_in_documents_are_accepted(path: Path) -> None:
    for body in blocks(path, "toml"):
        if "[machine]" in body:
            parse_machine_file(body, path)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=ids)
def test_examples_are_accepted(path: Path) -> None:
    assert read_machine_file(path).clients()


def test_the_tour_names_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text().partition("## What comes later")[0]
    everything = {p.name for folder in ("src/virtio_crq", "linux") for p in (ROOT / folder).rglob("*")}
    everything |= {p.name for p in ROOT.iterdir()}
    for name in NAMED_FILE.findall(text):
        exists = (ROOT / name).exists() or (ROOT / "src/virtio_crq" / name).exists() or name in everything
        assert exists, f"ARCHITECTURE.md names {name}"


def test_what_comes_later_is_not_here_as_an_empty_file() -> None:
    hollow = [
        ids(path)
        for path in (ROOT / "src").rglob("*.py")
        if path.name != "__init__.py" and len(ast.parse(path.read_text()).body) < 2 and path.name != "__main__.py"
    ]
    assert not hollow, f"nothing in {hollow}"


def test_the_readme_is_short_and_says_where_this_cannot_run() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 150
    top = "\n".join(lines[:20])
    assert "AIX-based VIOS cannot run" in top
    assert "Linux partition" in top.replace("\n> ", " ")


def test_every_page_is_reached_from_the_readme_or_the_tour() -> None:
    reached, waiting = set(), [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [page.parent / target for target in LINK.findall(page.read_text())]
    pages = (ROOT / "docs").rglob("*.md")
    assert not [ids(path) for path in pages if path.resolve() not in reached]
