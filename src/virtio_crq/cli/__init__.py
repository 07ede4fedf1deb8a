# SPDX-License-Identifier: Apache-2.0
"""The command `virtio-crq`: wires hypervisor, buses, servers and clients together. Nothing else may."""

import errno
import io
import logging
import sys


def main() -> None:
    """Entry point. Errors that people cause are one line on stderr and status 2, never a traceback."""
    try:
        from virtio_crq.cli.application import run
        from virtio_crq.cli.standardoutput import finish, open_streams
        from virtio_crq.errors import UsageError, VirtioCrqError
    except KeyboardInterrupt:  # nothing has begun
        sys.exit(130)

    open_streams()
    _show_waits()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that this terminal cannot show are no reason to end
    try:
        status = run()
        finish()
        sys.exit(status)
    except UsageError as error:
        _complain(error)
        sys.exit(2)
    except VirtioCrqError as error:
        _complain(error)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; nothing is left to say
        sys.exit(141)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise  # a mistake of ours
        from virtio_crq.cli.fullplace import told_full

        _complain(told_full(error))
        sys.exit(1)


def _show_waits() -> None:
    """Whoever waits for another process says for whom (`farend`)."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("virtio-crq: %(message)s"))
    waits = logging.getLogger("virtio_crq.waiting")
    waits.addHandler(handler)
    waits.setLevel(logging.INFO)
    waits.propagate = False


def _complain(error: Exception) -> None:
    """Whoever named the file, or wrote what a guest said, gives the terminal no commands."""
    line = " ".join(str(error).split())
    shown = (letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)
    print(f"virtio-crq: {''.join(shown)}", file=sys.stderr)
