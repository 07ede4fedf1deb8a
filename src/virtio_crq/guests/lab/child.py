# SPDX-License-Identifier: Apache-2.0
"""Programs that the lab runs: none outlives us, or the next run would find it at work in the same folders."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence


def run_child(words: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end with its output captured. However this process dies, the kernel kills it."""
    bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []  # of util-linux
    return subprocess.run([*bound, *words], env=environment, capture_output=True, text=True, check=False)
