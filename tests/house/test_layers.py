# SPDX-License-Identifier: Apache-2.0
"""The layers of the idea, as one table, and the test that keeps them apart."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "virtio_crq"

# Who may import whom. Everyone may import itself, and what is nobody's: how things fail, what to say of a far end that
# does not answer, and names of the copy's axes.
EVERYBODYS = {"errors", "farend", "axes"}
MAY_IMPORT: dict[str, set[str]] = {
    "virtio": set(),
    "papr": set(),
    "platform": set(),
    "message": {"virtio"},
    "crq": {"message", "papr", "platform"},
    "loopback": {"message", "platform"},
    "vhostuser": {"virtio", "platform"},
    "dataplane": {"virtio", "platform"},
    "hypervisor": {"papr", "platform"},
    # The seam's modules are interfaces; servers and clients name them to say what they are given.
    "vios": {"message", "dataplane", "virtio", "platform"},
    "client": {"message", "dataplane", "virtio", "platform"},
    "guests": {"hypervisor", "papr", "platform"},
    "conformance": {"message", "crq", "papr", "platform", "virtio"},
    "bench": {"client", "vios"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)  # the only place that wires all of it together

# Words of one world that must not appear in the code of another.
FOREIGN_WORDS = {
    "virtio": r"\b(papr|crq|tce|liobn|lopar|h_[a-z]+_[a-z]+)\b",
    "message": r"\b(papr|crq|tce|liobn|lopar|h_[a-z]+_[a-z]+)\b",
    "dataplane": r"\b(papr|crq|tce|liobn|lopar|h_[a-z]+_[a-z]+)\b",
    "papr": r"\b(virtio|virtqueue|vring)\b",
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def layer_of(path: Path) -> str | None:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


def imported(tree: ast.AST, path: Path) -> Iterator[str]:
    """Dotted names of this project that a module imports, function-level imports too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = path.relative_to(PACKAGE.parent).with_suffix("").parts[: -node.level]
                yield ".".join([*base, *([node.module] if node.module else [])])
            elif node.module == "virtio_crq":
                yield from (f"virtio_crq.{alias.name}" for alias in node.names)
            elif node.module:
                yield node.module


def cimported(text: str) -> Iterator[str]:
    yield from re.findall(r"^\s*(?:from|cimport)\s+(virtio_crq[.\w]*)", text, re.MULTILINE)


def without_own_names(text: str) -> str:
    """The distribution's name and identifiers of clauses are everybody's."""
    return re.sub(r"virtio[_-]crq|CRQ-[DFH]-\d+", "", text)


def prose_free(path: Path) -> str:
    """The code of a module: no comments, no docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
    return ast.unparse(tree)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    layer = layer_of(path)
    if layer is None or path.name == "__main__.py":
        return
    assert layer in MAY_IMPORT, f"{layer}/ is in no row of the table"
    names = list(imported(ast.parse(path.read_text()), path))
    pxd = path.with_suffix(".pxd")
    if pxd.exists():
        names += cimported(pxd.read_text())
    for name in names:
        parts = name.split(".")
        if parts[0] != "virtio_crq" or len(parts) < 2 or parts[1] in {*EVERYBODYS, layer}:
            continue
        if not (PACKAGE / parts[1]).is_dir():
            continue  # a name of the package itself, such as the version
        assert parts[1] in MAY_IMPORT[layer], f"{layer}/ imports {name}"


@pytest.mark.parametrize("name", sorted(EVERYBODYS))
def test_what_everybody_may_import_imports_no_layer(name: str) -> None:
    path = PACKAGE / f"{name}.py"
    known = {f"virtio_crq.{each}" for each in EVERYBODYS}
    own = {each for each in imported(ast.parse(path.read_text()), path) if each.startswith("virtio_crq")}
    assert own <= known, f"{name}.py imports {own - known}"


@pytest.mark.parametrize("layer", sorted(FOREIGN_WORDS))
def test_a_layer_does_not_know_the_words_of_another_world(layer: str) -> None:
    foreign = re.compile(FOREIGN_WORDS[layer], re.IGNORECASE)
    found = []
    for path in sorted((PACKAGE / layer).rglob("*.py")):
        code = without_own_names(prose_free(path))
        # Identifiers may glue words by underscores; split them so that `tce_count` is seen.
        found += [f"{path.name}: {m.group()}" for m in foreign.finditer(re.sub(r"(?<=[a-z])_(?=[a-z])", " ", code))]
        found += [f"{path.name}: {m.group()}" for m in foreign.finditer(code)]
    assert not found, f"{layer}/ speaks of {found}"


def test_the_seam_is_the_only_thing_that_compiled_code_stands_on() -> None:
    for pxd in sorted((PACKAGE / "dataplane").glob("*.pxd")):
        for name in cimported(pxd.read_text()):
            assert name.split(".")[1] in {"platform", "dataplane", "virtio"}, f"{pxd.name} stands on {name}"


def test_the_table_and_the_folders_agree() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert folders <= set(MAY_IMPORT), f"folders that are in no row: {folders - set(MAY_IMPORT)}"
