# SPDX-License-Identifier: Apache-2.0
"""The one error tree.

    VirtioCrqError
    ├── UsageError            the user's input: machine files, images, arguments; the command ends with status 2
    ├── PlatformError         the hypervisor refused a call; carries the operation and the return code
    │   └── OutOfBounds       a partition reached outside its own memory
    ├── DriverFault           the driver side (client) broke a rule of the transport or of virtio
    ├── DeviceFault           the device side (server) broke a rule of the transport or of virtio
    └── PartnerLost           the other partition is gone or was reset; the session is over, not the data

Every message says which side broke which rule, with the numbers.
"""


class VirtioCrqError(Exception):
    """Root of every error this project raises on purpose."""


class UsageError(VirtioCrqError):
    """Bad input from a person; printed as one line, exit status 2."""


class PlatformError(VirtioCrqError):
    """The platform answered `code` to `operation`."""

    def __init__(self, operation: str, code: int, detail: str = "") -> None:
        super().__init__(f"{operation} answered {code}" + (f": {detail}" if detail else ""))
        self.operation = operation
        self.code = code


class OutOfBounds(PlatformError):
    """An access outside the partition's own memory."""

    def __init__(self, offset: int, width: int, size: int) -> None:
        super().__init__("memory access", -1, f"{width} bytes at {offset:#x}, but memory ends at {size:#x}")


class _RuleBroken(VirtioCrqError):
    """`rule` is a short stable name (it is counted by that name); the text carries the numbers."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


class DriverFault(_RuleBroken):
    """The driver side broke `rule`."""


class DeviceFault(_RuleBroken):
    """The device side broke `rule`."""


class PartnerLost(VirtioCrqError):
    """The partner partition is gone, was reset, or this session was replaced."""
