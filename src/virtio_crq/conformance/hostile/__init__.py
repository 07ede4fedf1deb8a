# SPDX-License-Identifier: Apache-2.0
"""A server that keeps every rule until it is told which to break, and the table of what it breaks."""
