# SPDX-License-Identifier: Apache-2.0
"""Ways in which a guest's transport carries a disk: the module's parameters, to be compared in one boot.

Without any the module pushes where the server takes records, and lends pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from virtio_crq.errors import UsageError

SHORT = 512  # bytes: header and status of a request, and no data
PAGE = 4096


@dataclass(frozen=True)
class Rung:
    """`parameters` of virtio_crq.ko; the server would take requests as records, from whom sends them so."""

    name: str
    parameters: str

    @property
    def pushes(self) -> bool:
        return "push=0" not in self.parameters

    @property
    def looks_inside(self) -> bool:
        """Whether the transport finds what is behind its driver's addresses, and inlines it."""
        return "lend_kib=0" not in self.parameters


BASE = Rung("per-request", "push=0 lend_kib=0")
DEFAULT = Rung("push-lent", "")
RUNGS = (
    BASE,
    Rung("pool-short", f"push=0 lend_kib=0 pool_kib=2048 pool_bytes={SHORT}"),
    Rung("pool-4k", f"push=0 lend_kib=0 pool_kib=2048 pool_bytes={PAGE}"),
    Rung("lent", "push=0"),
    Rung("push", "lend_kib=0"),
    DEFAULT,
    Rung("push-lent-pool-4k", f"pool_kib=2048 pool_bytes={PAGE}"),
)


def chosen_rung(name: str) -> Rung:
    return next(rung for rung in chosen_rungs([name]) if rung.name == name)


def chosen_rungs(names: Sequence[str]) -> tuple[Rung, ...]:
    """The rungs of these names, all of them without any; what others are compared with is always there."""
    known = {rung.name: rung for rung in RUNGS}
    for name in names:
        if name not in known:
            raise UsageError(f"rung {name!r} is not one of {', '.join(known)}")
    return tuple(rung for rung in RUNGS if not names or rung.name in names or rung == BASE)
