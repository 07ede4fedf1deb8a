# SPDX-License-Identifier: Apache-2.0
"""The entropy device (virtio 1.4 §5.4): one queue of device-writable buffers, no features, no configuration."""

REQUEST_QUEUE = 0
QUEUES = 1
CONFIG_SIZE = 0
