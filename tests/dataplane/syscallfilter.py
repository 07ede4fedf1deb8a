# SPDX-License-Identifier: Apache-2.0
"""Makes this process's own kernel refuse system calls, as a container or a kernel short of memory does (seccomp).

As a program, `syscallfilter.py COMMAND ...` runs a command, and all that it starts, where io_uring is forbidden.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
import sys
import threading
from collections.abc import Callable

IO_URING_SETUP, IO_URING_ENTER = 425, 426  # the same on all architectures
SECCOMP = {"x86_64": 317, "aarch64": 277, "ppc64le": 358}
SET_MODE_FILTER, NEW_LISTENER = 1, 8
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # classic BPF
ALLOW, REFUSE, ASK = 0x7FFF0000, 0x00050000, 0x7FC00000
NO_NEW_PRIVS = 38
RECEIVE, ANSWER = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND
CONTINUE = 1

_libc = ctypes.CDLL(None, use_errno=True)
Call = tuple[int, tuple[int, ...]]


def _install(numbers: tuple[int, ...], verdict: int, flags: int) -> int:
    code = struct.pack("HBBI", LOAD, 0, 0, 0)  # the call's number is the first word of seccomp_data
    for number in numbers:
        code += struct.pack("HBBI", IF_EQUAL, 0, 1, number) + struct.pack("HBBI", RETURN, 0, 0, verdict)
    code += struct.pack("HBBI", RETURN, 0, 0, ALLOW)
    program = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(program)))
    _libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    found: int = _libc.syscall(SECCOMP[os.uname().machine], SET_MODE_FILTER, flags, head)
    if found < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return found


def forbid(number: int) -> None:
    """From now on this call is answered EPERM, in this thread and all it starts."""
    _install((number,), REFUSE | errno.EPERM, 0)


def supervise(numbers: tuple[int, ...], decide: Callable[[Call], int]) -> None:
    """From now on these calls, of this thread and those it starts, are answered what `decide` says: an errno, or 0 to
    let the call happen. `decide` runs in a thread of its own, which must not make such calls."""
    listener = 0
    ready = threading.Event()
    asked = threading.Event()

    def answer() -> None:
        asked.set()
        ready.wait()
        while True:
            # A completion interrupts the caller, who then asks again: this question is gone, or its answer is late.
            with contextlib.suppress(FileNotFoundError):
                notice = bytearray(80)
                fcntl.ioctl(listener, RECEIVE, notice)
                cookie, _, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", notice)
                code = decide((number, tuple(arguments)))
                reply = struct.pack("QqiI", cookie, 0, -code, 0 if code else CONTINUE)
                fcntl.ioctl(listener, ANSWER, bytearray(reply))

    threading.Thread(target=answer, daemon=True).start()
    asked.wait()  # it exists already, so the filter is not its own
    listener = _install(numbers, ASK, NEW_LISTENER)
    ready.set()


if __name__ == "__main__":
    forbid(IO_URING_SETUP)
    os.execvp(sys.argv[1], sys.argv[1:])
