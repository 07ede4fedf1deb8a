# SPDX-License-Identifier: Apache-2.0
"""A method that raises NotImplementedError is for subclasses to write, and every class that is used has written it.

Compiled classes cannot be ABCs, so nothing else would say so before the method is called.
"""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
Class = tuple[str, str]  # module and name
# Its device announces nothing, and does not return: nobody asks (see its docstring).
NEVER_ASKED = {"SharedFront": {"confirm", "suspend", "standing"}}


def unwritten(method: ast.stmt) -> bool:
    """Nothing but a docstring and `raise NotImplementedError`."""
    if not isinstance(method, ast.FunctionDef):
        return False
    last = method.body[-1]
    bare = isinstance(last, ast.Raise) and isinstance(last.exc, ast.Name) and last.exc.id == "NotImplementedError"
    return bare and len(method.body) <= 2


class Tree:
    """All classes of the project: what they are made from, and which of their methods are written or not."""

    def __init__(self) -> None:
        self.bases: dict[Class, list[Class]] = {}
        self.methods: dict[Class, dict[str, bool]] = {}
        for path in SOURCE.rglob("*.py"):
            module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
            tree = ast.parse(path.read_text())
            origins = {
                alias.asname or alias.name: (node.module or "", alias.name)
                for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
            }  # fmt: skip
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    names = [base.id for base in node.bases if isinstance(base, ast.Name)]
                    self.bases[module, node.name] = [origins.get(name, (module, name)) for name in names]
                    methods = [method for method in node.body if isinstance(method, ast.FunctionDef)]
                    self.methods[module, node.name] = {method.name: not unwritten(method) for method in methods}

    def missing(self, one: Class) -> set[str]:
        """Methods of a class that neither it nor what it is made from has written."""
        found: set[str] = set()
        for base in self.bases.get(one, []):
            found |= self.missing(base)
        own = self.methods.get(one, {})
        return (found - set(own)) | {name for name, written in own.items() if not written}

    def leaves(self) -> set[Class]:
        return set(self.bases) - {base for bases in self.bases.values() for base in bases}


def test_no_class_that_is_used_has_a_method_that_nobody_wrote() -> None:
    tree = Tree()
    assert {one for one in tree.bases if tree.missing(one)}, "there are such methods, and they are found"
    missing = {name: found for module, name in tree.leaves() if (found := tree.missing((module, name)))}
    assert missing == NEVER_ASKED


def test_whoever_raises_it_besides_would_not_be_seen_by_this_test() -> None:
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        raised = path.read_text().count("raise NotImplementedError")
        assert raised == sum(unwritten(node) for node in ast.walk(tree) if isinstance(node, ast.stmt)), path
