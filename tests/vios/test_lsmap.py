# SPDX-License-Identifier: Apache-2.0
"""The mapping view shows what an administrator looks for, and its JSON is stable."""

import json

from virtio_crq.vios.lsmap import AdapterView, QueueView, TargetView, render, to_json

DISK = TargetView(
    target="root",
    backing="file:root.img",
    device="block",
    size=256 << 20,
    readonly=True,
    state="available",
    identity="00ff",
    write_cache="write-back",
    features=("FLUSH", "RO"),
    queues=(
        QueueView(0, 128, True, in_flight=3, requests=10),
        QueueView(1, 64, False),
        QueueView(2, 64, True, carrier="window"),
    ),
    counters={"reads": 10, "writes": 0},
    refused={"chain-loop": 2},
)
ADAPTER = AdapterView(
    adapter="vhost0",
    location="U9009.41A.VCRQ001-V1-C2",
    unit_address=0x30000002,
    client="web1",
    client_number=3,
    state="open",
    session=7,
    refused={"unknown-device": 1},
    targets=(DISK,),
)


def test_the_text_names_every_party_and_number() -> None:
    text = render(to_json([ADAPTER]))
    for expected in (
        "vhost0",
        "-V1-C2",
        "web1 (3)",
        "0x30000002",
        "VTD                   root",
        "block, read-only",
        "268435456 (256 MiB)",
        "FLUSH RO",
        "size 128, in flight 3, requests 10",
        "size 64, in flight 0, requests 0, off",
        "size 64, in flight 0, requests 0, pushed by window",
        "reads 10",
        "chain-loop 2",
        "unknown-device 1",
    ):
        assert expected in text
    assert "writes" not in text, "counters at zero are noise"


def test_an_adapter_without_targets_says_so() -> None:
    text = render(to_json([AdapterView("vhost0", "U1-V1-C2", 1, "web1", 2, "closed", 0)]))
    assert "NO VIRTUAL TARGET DEVICE FOUND" in text
    assert render([]) == "no client adapters\n"


def test_the_view_survives_json_unchanged() -> None:
    view = to_json([ADAPTER])
    assert json.loads(json.dumps(view))[0]["targets"][0]["queues"][0]["in_flight"] == 3
    assert render(json.loads(json.dumps(view))) == render(view)
