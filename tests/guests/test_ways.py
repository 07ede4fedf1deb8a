# SPDX-License-Identifier: Apache-2.0
"""Ways of the guest's module, as the page about them has them."""

import re
from pathlib import Path

from virtio_crq.guests.rungs import DEFAULT, RUNGS

PAGE = (Path(__file__).parents[2] / "docs/explanation/three-disks.md").read_text()


def test_the_page_names_each_way_with_the_parameters_of_the_module() -> None:
    rows = re.search(r"\| rung \| parameters of the module \|.*?\n((?:\|.*\n)+)", PAGE)
    assert rows is not None
    found = [[cell.strip(" `") for cell in line.split("|")[1:3]] for line in rows[1].splitlines()[1:]]
    assert found == [[way.name, way.parameters] for way in RUNGS]


def test_the_module_as_it_comes_needs_no_parameters() -> None:
    assert [way for way in RUNGS if not way.parameters] == [DEFAULT]
