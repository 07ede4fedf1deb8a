# SPDX-License-Identifier: Apache-2.0
"""What a trace says to people: words of the adapter's own protocol, true outputs, long runs folded."""

from collections import Counter
from typing import Any

from virtio_crq.cli.trace import summary
from virtio_crq.cli.tracewords import Fold, render, words

ROW = {"client": "a", "unit_address": 2, "server": "b", "server_unit_address": 3}
SRP = 0x8001000000780100


def call(name: str, partition: str = "a", unit: int = 2, code: str = "H_SUCCESS", **inputs: int) -> dict[str, Any]:
    row = {"time_ns": 2500, "partition": partition, "unit_address": unit, "call": name, "inputs": inputs}
    return {**row, "code": code, "outputs": {}}


def test_an_entry_is_read_by_the_protocol_of_its_adapter() -> None:
    sent = call("H_SEND_CRQ", ua=2, high=SRP, low=0xC010800)
    assert words([{**ROW, "node": "vscsi"}])(sent) == "SRP request: 256 bytes at 0xc010800, within 120 s"
    assert "SRP" not in words([{**ROW, "node": "virtio-crq"}])(sent)
    answer = call("H_SEND_CRQ", "b", 3, ua=3, high=0x8001000000000024, low=5)
    assert words([{**ROW, "node": "vscsi"}])(answer).startswith("SRP response: 36 bytes")
    assert words([{**ROW, "node": "vscsi"}])(call("H_VIO_SIGNAL", ua=2, mode=0)) == ""


def test_a_register_that_the_call_left_alone_is_no_output() -> None:
    asked = call("H_VIOCTL", ua=2, subfunction=0x1D)
    asked["outputs"] = {"out0": 1, "out1": 0x1D}
    line = render(asked, 500, words(()))
    assert line.endswith("H_VIOCTL(ua=0x2, subfunction=0x1d) = H_SUCCESS out0=0x1")
    assert line.split()[0] == "2.0"


def folded(*calls: dict[str, Any]) -> list[str]:
    fold = Fold()
    shown = [line for number, each in enumerate(calls) for line in fold.add(each, f"{number}")]
    return [line.strip() for line in [*shown, *fold.end()]]


def test_a_run_of_one_call_is_its_first_a_count_and_its_last() -> None:
    put, stuff = call("H_PUT_TCE"), call("H_STUFF_TCE")
    assert folded(put, put, put, put, stuff) == ["0", f"{'…':<6}2 more H_PUT_TCE", "3", "4"]
    assert folded(put, put, stuff, put) == ["0", "1", "2", "3"]
    assert folded(put, put, put) == ["0", f"{'…':<6}1 more H_PUT_TCE", "2"]
    assert folded() == []


def test_another_partition_and_another_answer_end_a_run() -> None:
    put = call("H_PUT_TCE")
    assert folded(put, put, put, call("H_PUT_TCE", "b"), call("H_PUT_TCE", "b", code="H_PARAMETER"))[2:] == list("234")


def test_the_sum_of_a_trace_names_transfers_and_does_not_count_them_as_calls() -> None:
    shown = Counter({"H_PUT_RTCE": 1, "H_REMOVE_RTCE": 1, "transfer from file to memory": 3})
    assert summary(shown) == "2 calls: 1 H_PUT_RTCE, 1 H_REMOVE_RTCE, 3 transfer from file to memory"
    assert summary(Counter()) == "no calls"
