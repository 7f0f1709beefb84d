"""How a serving process gives back the memory that it has used.

Decoding, searching and writing take memory in dozens of threads and free it in others. Allocators keep what was freed,
so a process grows with everything it does, although it needs no more than at its start (docs/results.md).
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from functools import cache
from typing import Any

_MAPPED_BYTES = 2**20
"""Blocks from this size on are mapped alone, and go back to the system as soon as they are free. By itself glibc raises
the limit to 32 MiB with the blocks that it sees, and what is freed below it stays between blocks in use."""

_MAPPING_LIMIT = -3
"""M_MMAP_THRESHOLD in glibc's malloc.h."""


def prepare_memory(environment: MutableMapping[str, str]) -> None:
    """Let this process give back what it frees. What the environment says already is kept.

    Call it before pyarrow is imported, which reads the environment once. Arrow's own allocator has a pool for each
    thread, and what another thread frees there is not given back.

    Args:
        environment: The process's environment.
    """
    environment.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    chosen = "MALLOC_MMAP_THRESHOLD_" in environment or "mmap_threshold" in environment.get("GLIBC_TUNABLES", "")
    library = None if chosen else _glibc()
    if library is not None:
        library.mallopt(_MAPPING_LIMIT, _MAPPED_BYTES)


@cache
def _glibc() -> Any:
    """The C library of this process, if it is glibc."""
    try:
        is_glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # Windows, macOS, musl
        return None
    if not is_glibc:
        return None
    import ctypes

    return ctypes.CDLL(None)
