# SPDX-License-Identifier: Apache-2.0
"""The compiled part: rings by copy, request loops, workers."""

from virtio_crq.dataplane import sources

sources.install()
