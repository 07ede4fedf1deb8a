# SPDX-License-Identifier: Apache-2.0
"""How long it is worth looking at one's own queue before sleeping: it grows where looking paid off, and ends where not.

Told how long each wait turned out to be. One that looking a little longer would have spared the sleep makes the next
look twice as long, up to what the administrator allows; one that was longer than that ends all looking, until a short
wait shows that it would pay again. So an idle queue costs a sleep and nothing else, and a busy one costs no sleep.
"""

FIRST = 4000  # nanoseconds: the first look that is worth anything


class Patience:
    """`most` is the administrator's limit in nanoseconds (0: sleep at once); `granted` is for the next wait."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.granted = 0

    def waited(self, nanoseconds: int) -> int:
        """From the end of work to the next work it took so long, asleep or looking; what is granted now."""
        if nanoseconds > self.most:
            self.granted = 0
        elif nanoseconds > self.granted:
            self.granted = min(self.most, max(FIRST, 2 * self.granted))
        return self.granted
