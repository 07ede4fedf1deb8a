# SPDX-License-Identifier: Apache-2.0
"""A second bus, over a Unix socket pair: proof that what stands on a bus needs no CRQ."""
