# SPDX-License-Identifier: Apache-2.0
"""The specification as something to check: its clauses, who tests them, and what of it the code's tables generate."""
