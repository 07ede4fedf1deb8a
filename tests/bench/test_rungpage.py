# SPDX-License-Identifier: Apache-2.0
"""The page that says which keys of a machine file make a rung."""

import re
import tomllib
from pathlib import Path

import pytest

from virtio_crq.bench.case import RUNGS, Rung
from virtio_crq.hypervisor.machinefile import parse_machine_file

PAGE = (Path(__file__).parents[2] / "docs/how-to/choose-how-requests-are-carried.md").read_text()
ROWS = re.findall(r"^\| `([^`]+)` \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)


def keys(cell: str) -> dict[str, str]:
    found: dict[str, str] = tomllib.loads("\n".join(re.findall(r"`([^`]+)`", cell)))
    return found


def test_each_rung_has_its_row_in_the_order_of_the_table() -> None:
    assert [name for name, _, _ in ROWS] == [rung.name for rung in RUNGS]


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_a_row_says_what_the_rung_is(rung: Rung) -> None:
    server, client = next((keys(server), keys(client)) for name, server, client in ROWS if name == rung.name)
    path = {"carrier": rung.carrier} if rung.fetch == "push" else {"ring": rung.ring}
    assert server == {"fetch": rung.fetch, "data": rung.data, **path}
    assert client == {"map": rung.map}


def test_the_files_of_the_page_are_machine_files(tmp_path: Path) -> None:
    whole, storage = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "root.img").write_bytes(bytes(4096))
    parse_machine_file(whole, tmp_path / "mine.toml")
    planned = whole.replace('"sub-crq"', '"window"').replace('"copy"', '"planned"') + storage
    parse_machine_file(planned, tmp_path / "mine.toml")
