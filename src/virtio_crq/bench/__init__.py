# SPDX-License-Identifier: Apache-2.0
"""Measuring honestly: cases, rungs, the raw file beside them, and every count per I/O."""
