# SPDX-License-Identifier: Apache-2.0
"""What a guest's kernel says when something is wrong with it, as extended regular expressions that grep has, too."""

OF_ANY = (
    "Oops",
    "BUG:",
    "cut here",
    "Kernel panic",
    "soft lockup",
    "hard LOCKUP",
    "detected stall",
    "blocked for more than",
)
# A guest with nothing of ours inside has never reason to say these; one whose disk is stopped may show where it waits.
OF_STOCK = ("WARNING: (CPU|[^ ]+:[0-9]+)", "Call Trace", "lockup", "[Tt][Cc][Ee].* failed")

TROUBLE = "|".join(OF_ANY)
STOCK_TROUBLE = "|".join((*OF_ANY, *OF_STOCK))
