# SPDX-License-Identifier: Apache-2.0
"""Break the code on purpose, one clause at a time, and demand that the named tests notice.

    python tools/mutants.py                       every row of tests/mutants
    python tools/mutants.py --clause CRQ-D-39     the rows of one clause
    python tools/mutants.py --sample 10 --seed 7  the rows of ten clauses drawn at random

Each row is applied to a scratch copy and its tests are run there; if they still pass, the row is a survivor. The data
plane runs from its sources, so nothing is compiled but rows in the engine. Ends with status 1 if anything survived.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
TABLES = CHECKOUT / "tests/mutants"
TREES = ("src", "tests", "docs", "tools")
FILES = ("pyproject.toml", "setup.py")
SECONDS = 60  # a test may take; a mutant that hangs is a mutant noticed
LIMIT = 600  # for all tests of a row, whatever happens
FAILED = 1  # pytest's exit code when tests ran and failed


@dataclass(frozen=True)
class Mutant:
    """One row: `edits` are exact texts that occur once in `file`, and what takes their place."""

    clause: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    why: str = ""

    @property
    def compiled(self) -> bool:
        return self.file.endswith((".c", ".h"))

    @property
    def interpreted(self) -> bool:
        return "/dataplane/" in self.file

    def applied(self, text: str) -> str:
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.file}: {text.count(old)} times instead of once: {old!r}")
            text = text.replace(old, new)
        return text

    def __str__(self) -> str:
        return f"{self.clause:<10} {self.file.removeprefix('src/virtio_crq/')}: {self.why}"


def read_tables(folder: Path = TABLES) -> list[Mutant]:
    """Rows with exact texts `old` and `new`, or several such `edits`; `file` is in src/virtio_crq, tests in tests/."""
    rows = [row for path in sorted(folder.glob("*.toml")) for row in tomllib.loads(path.read_text())["mutant"]]
    return [
        Mutant(
            row["clause"],
            "src/virtio_crq/" + row["file"],
            tuple((old, new) for old, new in row.get("edits", [[row.get("old"), row.get("new")]])),
            tuple("tests/" + test for test in row["tests"]),
            row["why"],
        )
        for row in rows
    ]


def choose(mutants: list[Mutant], clauses: list[str] | None, sample: int | None, seed: int) -> list[Mutant]:
    """The rows asked for; a sample is drawn from the clauses, and takes all rows of each."""
    wanted = set(clauses or (mutant.clause for mutant in mutants))
    if sample is not None:
        wanted = set(random.Random(seed).sample(sorted(wanted), min(sample, len(wanted))))
    return [mutant for mutant in mutants if mutant.clause in wanted]


@contextmanager
def scratch() -> Iterator[Path]:
    """A copy of the checkout that may be broken; the build comes along and is brought up to date."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        place = Path(name)
        for tree in (*TREES, "build"):
            if (CHECKOUT / tree).exists():
                shutil.copytree(CHECKOUT / tree, place / tree, ignore=shutil.ignore_patterns("__pycache__"))
        for file in FILES:
            shutil.copy2(CHECKOUT / file, place / file)
        build(place)  # ./check installs elsewhere; the scratch copy runs from its own sources
        yield place


def run_tests(place: Path, tests: Iterable[str], interpreted: bool) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(place / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "VIRTIO_CRQ_INTERPRETED": "1" if interpreted else "0",
    }
    options = ["-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=0", f"--timeout={SECONDS}"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=LIMIT)


def build(place: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=place, check=True, capture_output=True)


def check_unbroken(place: Path, mutants: list[Mutant]) -> None:
    """The tests pass while nothing is broken; otherwise their failing would prove nothing."""
    for interpreted in (False, True):
        tests = sorted({test for mutant in mutants if mutant.interpreted == interpreted for test in mutant.tests})
        if tests:
            done = run_tests(place, tests, interpreted)
            if done.returncode:
                sys.exit(f"tests fail before anything is broken:\n{done.stdout[-4000:]}{done.stderr}")


def noticed(place: Path, mutant: Mutant) -> bool:
    """Apply one row, run its tests, take it back. A test that cannot even be collected is a mistake in the row."""
    path = place / mutant.file
    original, times = path.read_text(), path.stat()
    path.write_text(mutant.applied(original))
    try:
        if mutant.compiled:
            build(place)
        done = run_tests(place, mutant.tests, mutant.interpreted)
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(original)
        if not mutant.compiled:  # as old as it was: no build has to look at it
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    if done.returncode not in (0, FAILED):
        sys.exit(f"{mutant}: pytest ended with {done.returncode}\n{done.stdout[-4000:]}{done.stderr}")
    return done.returncode == FAILED


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clause", action="append", metavar="ID", help="only the rows of this clause; may be repeated")
    parser.add_argument("--sample", type=int, metavar="N", help="the rows of N clauses drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="for --sample")
    parser.add_argument("--list", action="store_true", help="print the rows, break nothing")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    mutants = choose(read_tables(), asked.clause, asked.sample, asked.seed)
    if asked.list or not mutants:
        print(*mutants, sep="\n")
        return 0 if mutants else 1
    survivors = []
    with scratch() as place:
        check_unbroken(place, mutants)
        # Rows in the engine last: the one before is taken back by the build of the next.
        for mutant in sorted(mutants, key=lambda mutant: mutant.compiled):
            started = time.monotonic()
            alive = not noticed(place, mutant)
            survivors += [mutant] if alive else []
            print(f"{'SURVIVED' if alive else 'noticed '} {time.monotonic() - started:5.1f} s  {mutant}", flush=True)
    clauses = len({mutant.clause for mutant in mutants})
    print(f"{len(mutants)} mutants of {clauses} clauses, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
