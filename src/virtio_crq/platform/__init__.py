# SPDX-License-Identifier: Apache-2.0
"""The seam: what a partition may ask of whatever is below it. Interfaces only."""
