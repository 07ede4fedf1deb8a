# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport int64_t, uint64_t

cpdef int64_t refuse(str rule, uint64_t first, uint64_t second) except -1 with gil
