# SPDX-License-Identifier: Apache-2.0
"""The documents that show results of the study, and the renewing of their tables from docs/study."""

from collections.abc import Iterator
from pathlib import Path

from virtio_crq.bench.studytables import tables
from virtio_crq.conformance.checkout import find_checkout
from virtio_crq.conformance.generated import renewed

RESULTS = Path("docs/study")
PAGES = (Path("docs/copy-study.md"), Path("docs/explanation/what-an-io-costs.md"), Path("README.md"))


def regenerate_pages(start: Path | None = None) -> Iterator[Path]:
    """Each page whose tables were not those of the results."""
    checkout = find_checkout(start)
    parts = tables(checkout / RESULTS)
    for page in (checkout / page for page in PAGES):
        before = page.read_text()
        after = renewed(before, parts)
        if after != before:
            page.write_text(after)
            yield page
