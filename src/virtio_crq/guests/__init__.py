# SPDX-License-Identifier: Apache-2.0
"""Real guests: stock kernels in a stock QEMU, their hypercalls answered by the engine."""
