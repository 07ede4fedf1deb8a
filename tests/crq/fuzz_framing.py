# SPDX-License-Identifier: Apache-2.0
"""Invariant: any 16 bytes are a message or a named refusal; what is a message is built into the same 16 bytes again.

python tests/crq/fuzz_framing.py -max_total_time=600       (needs atheris)
"""

import sys

from virtio_crq.crq import framing
from virtio_crq.errors import DeviceFault, DriverFault


def one_input(data: bytes) -> None:
    """Entries of 16 bytes each; every second one is made to look like a command."""
    for at in range(0, len(data) - 15, 16):
        entry = data[at : at + 16]
        if at & 16:
            entry = b"\x80" + bytes([entry[1] & 0x0F]) + entry[2:]
        for guilty in (DriverFault, DeviceFault):
            try:
                framed = framing.parse(entry, guilty)
                framing.announcement(framed.message, guilty)
            except guilty:
                continue
            again = framing.parse(framing.build(framed.message, framed.place), guilty)
            assert again == framed


def main() -> None:
    import atheris  # type: ignore[import-not-found, unused-ignore]

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
