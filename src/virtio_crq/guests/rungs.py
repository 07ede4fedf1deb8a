# SPDX-License-Identifier: Apache-2.0
"""Ways in which a guest's transport carries a disk: the module's parameters, to be compared in one boot.

Without any the module pushes where the server takes records, and lends pages. By their axes they are presets that the
bench has, too (how data moves is the server's affair); beyond these is how much a pool takes, and what becomes of the
rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from virtio_crq.axes import BATCHED, PER_REQUEST, POOL, PUSH
from virtio_crq.errors import UsageError

SHORT = 512  # bytes: header and status of a request, and no data
PAGE = 4096
POOL_KIB = 2048


@dataclass(frozen=True)
class Rung:
    """`fetch` is what a server has to say beside; `pool_bytes`, up to how much a pool takes.

    `lends`: what no pool takes is entered by announcement, many pages in a call; and the transport finds what is behind
    its driver's addresses, and inlines it.
    """

    name: str
    fetch: str
    map: str
    pool_bytes: int = 0
    lends: bool = False

    @property
    def pushes(self) -> bool:
        return self.fetch == PUSH

    @property
    def parameters(self) -> str:
        """Of virtio_crq.ko."""
        words = ["" if self.pushes else "push=0", "" if self.lends else "lend_kib=0"]
        words += [f"pool_kib={POOL_KIB} pool_bytes={self.pool_bytes}"] if self.map == POOL else []
        return " ".join(filter(None, words))


BASE = Rung(PER_REQUEST, BATCHED, PER_REQUEST)
DEFAULT = Rung("push-lent", PUSH, PER_REQUEST, lends=True)
RUNGS = (
    BASE,
    Rung("pool-short", BATCHED, POOL, SHORT),
    Rung("pool-4k", BATCHED, POOL, PAGE),
    Rung("lent", BATCHED, PER_REQUEST, lends=True),
    Rung(PUSH, PUSH, PER_REQUEST),
    DEFAULT,
    Rung("push-lent-pool-4k", PUSH, POOL, PAGE, lends=True),
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
