# SPDX-License-Identifier: Apache-2.0
"""Virtio as messages, whatever carries them: codec, sessions, both halves. Asks a `Bus` to send; does no I/O."""
