# SPDX-License-Identifier: Apache-2.0
"""Invariant: any text is a machine or one UsageError that names the file; nothing else is raised.

python tests/hypervisor/fuzz_machinefile.py -max_total_time=600       (needs atheris)
"""

import sys
from pathlib import Path

from virtio_crq.errors import UsageError
from virtio_crq.hypervisor.machinefile import parse_machine_file

SEED = Path(__file__).parents[2].joinpath("examples")
GOOD = "\n".join(sorted(path.read_text() for path in SEED.glob("*.toml"))[:1])
WORDS = (
    "0",
    "-1",
    "99999999999999999999",
    '""',
    "[]",
    "{}",
    "true",
    "1e9",
    '"\\u0000"',
    "slot",
    "[[map]]",
    "=",
    '"16M"',
)


def one_input(data: bytes) -> None:
    """Either text as it is, or a good file of which pieces were replaced."""
    text = mutated(data[1:]) if data[:1] < b"\x20" else data.decode(errors="replace")
    said = "fuzz.toml: a machine"
    try:
        parse_machine_file(text, Path("fuzz.toml")).definition()
    except UsageError as error:
        said = str(error)
    assert "fuzz.toml" in said, said


def mutated(data: bytes) -> str:
    """Values replaced, lines doubled and taken away; now and then a word in the middle of one."""
    lines = GOOD.splitlines()
    for at in range(0, len(data) - 2, 3):
        place = data[at] % len(lines)
        word = WORDS[data[at + 1] % len(WORDS)]
        key, equals, _value = lines[place].partition("=")
        act = data[at + 2] % 8
        if act < 5 and equals:
            lines[place] = f"{key}= {word}"
        elif act == 5:
            lines.insert(place, lines[data[at + 1] % len(lines)])
        elif act == 6 and len(lines) > 1:
            del lines[place]
        else:
            middle = data[at + 1] % (len(lines[place]) + 1)
            lines[place] = lines[place][:middle] + word + lines[place][middle:]
    return "\n".join(lines)


def main() -> None:
    import atheris  # type: ignore[import-not-found, unused-ignore]

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
