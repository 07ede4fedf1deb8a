# SPDX-License-Identifier: Apache-2.0
"""Runs the data plane from its sources: the same files, interpreted, over the same compiled bindings.

A compiled file shadows its source. With VIRTIO_CRQ_INTERPRETED=1 in the environment this finder is installed when the
package is imported, and finds the source. The bindings (`kernel` here, and `platform`) are always compiled.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

VARIABLE = "VIRTIO_CRQ_INTERPRETED"
PACKAGE = "virtio_crq.dataplane."
COMPILED = {"kernel"}  # bindings: they have no interpreted form


class SourceFinder:
    """A meta-path finder for the modules of this package."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        module = name.removeprefix(PACKAGE)
        if module == name or "." in module or module in COMPILED:
            return None
        source = Path(__file__).parent / f"{module}.py"
        if not source.exists():
            return None
        return spec_from_file_location(name, source, loader=SourceFileLoader(name, str(source)))


def interpreted() -> bool:
    """Whether the data plane is to run from its sources."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def install() -> None:
    """Put the finder in front, once, if the environment asks for it."""
    if interpreted() and not any(isinstance(finder, SourceFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, SourceFinder())


def form(module: ModuleType) -> str:
    """How a module was loaded: "compiled" or "interpreted"."""
    return "interpreted" if str(module.__file__).endswith(".py") else "compiled"
