# SPDX-License-Identifier: Apache-2.0
"""The load of the kill checks, in a shell of the host: who is told that it is enough, and what is known of its end."""

import os
import subprocess
import sys
from pathlib import Path

from virtio_crq.guests.suite.endurance import ENOUGH, under_way

# As fio: a first process, and one that does the I/O and learns from the first, not by a signal, that it is enough.
LOAD = """
import os, signal, sys
told, over = os.pipe()
interrupt = {signal.SIGINT}
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"job "))
signal.pthread_sigmask(signal.SIG_BLOCK, interrupt)
job = os.fork()
if not job:
    os.close(over)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupt)
    open("ready", "w").close()
    os.read(told, 1)
    os.write(1, b"ended ")
    sys.exit(0)
signal.sigwait(interrupt)
os.write(1, b"first ")
os.close(over)
os.waitpid(job, 0)
sys.exit(3)
"""


def shell(text: str, place: Path) -> str:
    said = text.replace("/run/", f"{place}/")
    return subprocess.run(["sh", "-c", said], cwd=place, capture_output=True, text=True, check=True, timeout=60).stdout


def until_there(file: Path) -> None:
    while not file.exists() or (file.name != "ready" and not file.read_text()):
        os.sched_yield()


def test_only_the_first_process_of_the_load_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "load.py").write_text(LOAD)
    shell(under_way(f"{sys.executable} -I load.py"), tmp_path)
    until_there(tmp_path / "ready")
    until_there(tmp_path / "fio.pid")
    shell(ENOUGH, tmp_path)
    until_there(tmp_path / "fio.status")
    assert (tmp_path / "fio.status").read_text() == "3\n"
    assert (tmp_path / "fio.said").read_text() == "first ended "
