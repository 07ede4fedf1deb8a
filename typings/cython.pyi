# SPDX-License-Identifier: Apache-2.0
"""What the data plane uses of Cython's shadow module, typed for mypy."""
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

compiled: bool
nogil: AbstractContextManager[None]
gil: AbstractContextManager[None]

def locals(**types: Any) -> Callable[[Any], Any]: ...
