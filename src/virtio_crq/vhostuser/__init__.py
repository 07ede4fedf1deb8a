# SPDX-License-Identifier: Apache-2.0
"""A bus that shares memory: the front-end of vhost-user, so that our driver and load meet other back-ends, too."""
