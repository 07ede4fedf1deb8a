# SPDX-License-Identifier: Apache-2.0
"""Filling the lab: packages of Debian's archive, fetched, checked, unpacked and built into a cache, without root."""
