# SPDX-License-Identifier: Apache-2.0
"""`virtio-crq version`."""

import json
import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from importlib.util import find_spec
from typing import Annotated

import typer

PROBE = "virtio_crq.dataplane.ring"  # one compiled module speaks for all of them: they are built together


def dataplane() -> str:
    """`compiled`, `interpreted`, or `absent` in a tree without a data plane."""
    try:
        if find_spec(PROBE) is None:
            return "absent"
    except ModuleNotFoundError:  # not even the package above it
        return "absent"
    path = import_module(PROBE).__file__ or ""
    return "interpreted" if path.endswith(".py") else "compiled"


def facts() -> dict[str, str]:
    try:
        number = distribution_version("virtio-crq")
    except PackageNotFoundError:
        number = "unpackaged"
    return {"version": number, "dataplane": dataplane(), "python": platform.python_version()}


def version(as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False) -> None:
    """Show the version and whether the data plane is compiled.

    Examples:
      virtio-crq version
      virtio-crq version --json
    """
    known = facts()
    if as_json:
        print(json.dumps(known))
    else:
        print(f"virtio-crq {known['version']} (data plane {known['dataplane']}, Python {known['python']})")
