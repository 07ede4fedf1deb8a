# SPDX-License-Identifier: Apache-2.0
"""The virtio standard as data: identifiers, features, status, ring layout, device types. Knows no bus."""
