# SPDX-License-Identifier: Apache-2.0
"""What a guest has to show: checks as a table, the scene they play in, and what runs them."""
