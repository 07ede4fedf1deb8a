# SPDX-License-Identifier: Apache-2.0
from virtio_crq.cli import main

main()
