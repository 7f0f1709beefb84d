"""How a serving process gives back the memory that it has used.

Decoding, searching and writing take memory in dozens of threads and free it in others. An allocator with a pool for
each thread keeps what was freed, so the process grows with everything it does, although it needs no more than at its
start (docs/results.md).
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from functools import cache
from typing import Any

_MOST_ARENAS = 2
"""Pools of glibc's allocator, which makes up to eight for each core. No page of a pool goes back that has one object in
use."""

_ARENA_LIMIT = -8
"""M_ARENA_MAX in glibc's malloc.h."""


def prepare_memory(environment: MutableMapping[str, str]) -> None:
    """Make Arrow and the C library share few pools in this process. What the environment says already is kept.

    Call it before pyarrow is imported, which reads the environment once. Arrow's own allocator has a pool for each
    thread, and what another thread frees there is not given back.

    Args:
        environment: The process's environment.
    """
    environment.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    library = _glibc()
    if library is not None and not _limits_arenas(environment):
        library.mallopt(_ARENA_LIMIT, _MOST_ARENAS)


def return_free_memory() -> None:
    """Give whole pages that are free back to the system, where the C library can: a millisecond or two."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _limits_arenas(environment: MutableMapping[str, str]) -> bool:
    return "MALLOC_ARENA_MAX" in environment or "glibc.malloc.arena_max" in environment.get("GLIBC_TUNABLES", "")


@cache
def _glibc() -> Any:
    """The C library of this process, if it is glibc; others have neither pools for each thread nor these functions."""
    try:
        is_glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # Windows, macOS, musl
        return None
    if not is_glibc:
        return None
    import ctypes

    return ctypes.CDLL(None)
