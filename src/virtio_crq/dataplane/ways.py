# SPDX-License-Identifier: Apache-2.0
"""How a request's bytes moved, and why, as numbers. Not compiled: each module keeps its own C copy of them."""

# How a request's data moved.
NOTHING = 0
COPIED = 1
REDIRECTED = 2
# Why.
NO_DATA = 0
ONLY_COPIES = 1  # nothing else is asked for, or possible, for this target
ALWAYS = 2  # redirected, since whatever can be is
CHEAPER = 3  # redirected: expected to cost less
DEARER = 4  # copied: redirecting was expected to cost more
TRIAL = 5  # the way that was not the cheaper one, so that its cost stays known
NO_ADAPTER = 6
LARGE = 7  # larger than a queue may move in one turn
STABLE = 8  # a write that has to be on the medium before it completes
WAITS = 9  # the file system always waits
SHARED = 10  # header or status share a buffer with the data
PIECES = 11  # not whole pages
CROWDED = 12  # no room in this vector of transfers
NOT_WHOLE = 13  # tried, and not moved as a whole
UNKNOWN = 14  # one way or the other in turn, until it is known what each costs
# What was carried without a copy of its own.
HEADER_INLINE = 1
STATUS_INLINE = 2
