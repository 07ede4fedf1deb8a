# SPDX-License-Identifier: Apache-2.0
"""What PowerVM defines for virtual I/O: calls, codes, entries, TCEs, device-tree nodes and profiles, as data."""
