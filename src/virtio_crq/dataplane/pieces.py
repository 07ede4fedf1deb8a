# SPDX-License-Identifier: Apache-2.0
"""The pieces of a request slot, as bits, and what a device may do with one. Not compiled: each module has its copy."""

PAGE = 4096

HEADER = 1
STATUS = 2
TABLE = 4
DATA = 8

TO_DEVICE = 1  # access of a mapping: Linux lets the device read what it may write, too
FROM_DEVICE = 3
