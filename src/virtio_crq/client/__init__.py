# SPDX-License-Identifier: Apache-2.0
"""The user-space client partition: drivers over a bus that is handed in, a Python API, disk copy, NBD export."""
