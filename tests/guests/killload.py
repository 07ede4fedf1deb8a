# SPDX-License-Identifier: Apache-2.0
"""A load whose server is killed again and again: /dev/vda is written in many places at once, and read back."""

import os
import time

from guestlab import Running
from modulehouse import ModuleHouse

PATIENCE = 60.0
KILLS = 3
# Each turn writes other bytes to eight places at once, and reads them back; the first difference or error ends it.
LOAD = """
turn=0
while [ ! -e /run/enough ]; do
    turn=$((turn + 1))
    for place in 1 2 3 4 5 6 7 8; do
        (dd if=/dev/urandom of=/run/new$place bs=64k count=1 &&
         dd if=/run/new$place of=/dev/vda bs=64k seek=$place oflag=direct &&
         dd if=/dev/vda of=/run/old$place bs=64k skip=$place count=1 iflag=direct &&
         cmp /run/new$place /run/old$place) 2>/run/said$place || cp /run/said$place /run/wrong &
    done
    wait
    echo $turn >/run/turn
done
"""


def turns(running: Running) -> int:
    return int(running.says("cat /run/turn 2>/dev/null || echo 0"))


def until_turn(running: Running, number: int) -> None:
    end = time.monotonic() + PATIENCE
    while turns(running) < number:
        assert time.monotonic() < end, f"turn {number}"
        os.sched_yield()


def load_through_kills(house: ModuleHouse, running: Running) -> None:
    """All that is read back is what was written, whenever the server died."""
    running.says(f"cat >/run/load <<'END'\n{LOAD}\nEND\nsh /run/load >/dev/null 2>&1 &")
    for _ in range(KILLS):
        until_turn(running, turns(running) + 2)
        house.kill()
        house.start()
    until_turn(running, turns(running) + 2)
    running.says("touch /run/enough; wait")
    assert running.says("cat /run/wrong 2>/dev/null; true") == ""
