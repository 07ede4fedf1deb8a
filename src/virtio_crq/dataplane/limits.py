# SPDX-License-Identifier: Apache-2.0
"""Limits that several modules of the device side share. Not compiled: each module keeps its own C copy of them."""

LANES = 32  # chains walked at a time, and so requests fetched in one batch
SEGMENTS = 130  # of one request: header, status, and 128 of data
UNSURE = 16  # batches in which both ways of data are timed in turn before one of them is chosen
