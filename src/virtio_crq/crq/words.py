# SPDX-License-Identifier: Apache-2.0
"""Bytes 0 to 3 of the three announcements: valid command, flags, message id, inline payload of 8 bytes.

Not compiled: `channel` has its C copy.
"""

AVAIL_WORD = 0x80004108
USED_WORD = 0x80004208
CREDIT_WORD = 0x8002C008
