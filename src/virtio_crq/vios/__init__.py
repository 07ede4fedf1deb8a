# SPDX-License-Identifier: Apache-2.0
"""The I/O server: which targets it maps to which clients, what backs them, and the daemon that serves them."""
