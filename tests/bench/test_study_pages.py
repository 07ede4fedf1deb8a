# SPDX-License-Identifier: Apache-2.0
"""Tables in documents are those of the results that are kept beside them, and pictures are small enough to keep."""

from pathlib import Path

import pytest

from virtio_crq.bench.studytables import tables
from virtio_crq.cli.studypages import PAGES, RESULTS, regenerate_pages
from virtio_crq.conformance.checkout import find_checkout
from virtio_crq.conformance.generated import SECTION, renewed
from virtio_crq.errors import UsageError

CHECKOUT = find_checkout(Path(__file__).parent)
TABLES = tables(CHECKOUT / RESULTS)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_tables_of_the_study_are_those_of_its_results(page: Path) -> None:
    text = (CHECKOUT / page).read_text()
    assert SECTION.search(text), f"{page} shows nothing of the study"
    assert renewed(text, TABLES) == text, "run: virtio-crq bench study --regenerate"


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_rows(name: str) -> None:
    assert len(TABLES[name]().splitlines()) > (name == "study-setting" or 2) - 1


def test_results_and_pictures_are_small_enough_to_keep() -> None:
    large = {path.name: size for path in (CHECKOUT / RESULTS).iterdir() if (size := path.stat().st_size) >= 150_000}
    assert not large


def test_a_page_that_names_no_table_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match="nothing generates study-colours"):
        renewed("<!-- generated: study-colours -->\n<!-- end -->\n", TABLES)


def test_renewing_writes_only_what_changed(tmp_path: Path) -> None:
    for page in (*PAGES, Path("docs/spec/virtio-over-crq.md")):
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text((CHECKOUT / page).read_text())
    (tmp_path / "tests").mkdir()
    (tmp_path / RESULTS).symlink_to(CHECKOUT / RESULTS)
    readme = tmp_path / "README.md"
    readme.write_text(SECTION.sub(r"\1old\n\3", readme.read_text()))
    assert list(regenerate_pages(tmp_path)) == [readme]
    assert readme.read_text() == (CHECKOUT / "README.md").read_text()
