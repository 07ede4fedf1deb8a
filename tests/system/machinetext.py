# SPDX-License-Identifier: Apache-2.0
"""Machine files of tests: the server `vios1`, clients with an adapter in slot 2 each, and what is mapped to them."""

from collections.abc import Sequence


def mapped(target: str, backing: str, *more: str) -> str:
    """A row that maps CLIENT/TARGET, with further lines of its own."""
    client, _, name = target.partition("/")
    return "\n".join(
        ["[[map]]", f'client = "{client}"', f'target = "{name}"', f'backing = "{backing}"', *more],
    )


def machine_text(
    *rows: str, clients: Sequence[str] = ("web1",), memory: str = "32M", machine: str = "", server: str = ""
) -> str:
    """`machine` and `server` are further lines of theirs; each partition has so much `memory`."""
    parts = ["[machine]", 'name = "system"', machine, "[partition.vios1]", f'memory = "{memory}"', server]
    for client in clients:
        parts += [f"[partition.{client}]", f'memory = "{memory}"']
    for client in clients:
        parts += ["[[adapter]]", f'client = "{client}"', "slot = 2", 'server = "vios1"']
    return "\n".join([*parts, *rows, ""])
