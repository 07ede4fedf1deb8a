# SPDX-License-Identifier: Apache-2.0
"""The emulator: a machine of partitions and adapters whose hypercalls run in the caller's process."""
