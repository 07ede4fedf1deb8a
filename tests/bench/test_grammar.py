# SPDX-License-Identifier: Apache-2.0
"""Any load has a name, and a name that makes no sense is one clear line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtio_crq.bench.case import CASES, Case
from virtio_crq.bench.grammar import QUEUE, case, cases, descriptors, slots, transfer
from virtio_crq.errors import UsageError


def test_without_names_it_is_the_table() -> None:
    assert cases([]) == CASES


@pytest.mark.parametrize("row", CASES, ids=lambda row: row.name)
def test_the_rows_of_the_table_are_called_by_the_same_rule(row: Case) -> None:
    assert case(row.name) == row


def test_one_load_has_one_name() -> None:
    assert case("randread-4096-qd8") == case("randread-4k-qd8") == Case("randread-4k-qd8", 4096, 8)
    assert [row.name for row in cases(["seqwrite-1024k-qd1", "seqwrite-1m-qd1"])] == ["seqwrite-1m-qd1"]
    assert case("randwrite-512-qd64") == Case("randwrite-512-qd64", 512, 64, write=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("randread", "is not KIND-SIZE-qdDEPTH"),
        ("randread-4k-qd0", "is not KIND-SIZE-qdDEPTH"),
        ("randtrim-4k-qd1", "is not KIND-SIZE-qdDEPTH"),
        ("randread-4g-qd1", "is not KIND-SIZE-qdDEPTH"),
        ("randread-100-qd1", "100 bytes are not whole sectors"),
        ("seqread-2m-qd1", "2097152 bytes are not whole sectors of 512 bytes up to 1048576"),
        ("randread-4k-qd100", "enough for qd85"),
        ("seqread-1m-qd32", "enough for qd14"),
        ("randread-4k-qd" + "9" * 30, "enough for qd85"),
    ],
)
def test_a_load_that_cannot_be_is_one_clear_line(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        case(name)


@given(
    st.sampled_from(["randread", "randwrite", "seqread", "seqwrite"]), st.integers(1, 2048), st.integers(1, QUEUE // 3)
)
def test_what_is_accepted_fits_the_clients_queue(kind: str, sectors: int, depth: int) -> None:
    try:
        found = case(f"{kind}-{512 * sectors}-qd{depth}")
    except UsageError:
        assert depth * (2 + -(-512 * sectors // 65536)) > QUEUE
        return
    assert case(found.name) == found
    size = 1 << (min(QUEUE, 4 * slots([found])).bit_length() - 1)  # as the client chooses its queue's size
    assert slots([found]) >= depth
    assert size >= descriptors(found)
    assert transfer([found]) >= found.size
