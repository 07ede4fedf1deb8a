# SPDX-License-Identifier: Apache-2.0
"""Client partitions that are up and ask for nothing, all of them one process, until its stdin ends."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from virtio_crq.cli.clientpartition import client_partition
from virtio_crq.errors import VirtioCrqError


def main(state: str, *partitions: str) -> None:
    try:
        with ExitStack() as stack:
            for partition in partitions:
                stack.enter_context(client_partition(Path(state), partition))
            print(json.dumps({"ready": True}), flush=True)
            sys.stdin.read()
    except VirtioCrqError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
