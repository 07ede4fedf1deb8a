# SPDX-License-Identifier: Apache-2.0
"""Binds `message/` to a CRQ: framing, credits, the message area, sessions, loss and return of the partner."""
