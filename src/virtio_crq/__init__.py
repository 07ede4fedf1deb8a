# SPDX-License-Identifier: Apache-2.0
"""virtio for PowerVM: unmodified virtio drivers over CRQ message passing and hypervisor copies."""
