"""What a process does with the memory that it has used: give it back, or keep it for what it needs next.

Both ways set glibc's allocator for the whole process, so only commands choose one. What the environment says already
(``MALLOC_…``, ``GLIBC_TUNABLES``) is kept. Where the C library is another one, nothing happens.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from functools import cache
from typing import Any

_SETTINGS = {"trim_threshold": -1, "top_pad": -2, "mmap_threshold": -3, "mmap_max": -4}
"""The settings of glibc's allocator that are used here, with their numbers in its malloc.h."""

_MAPPED_BYTES = 2**20
"""Blocks from this size on are mapped alone, and go back to the system as soon as they are free. By itself glibc raises
the limit to 32 MiB with the blocks that it sees, and what is freed below it stays between blocks in use."""

_KEPT_BYTES = 2**31 - 1
"""The most that the setting can say: free memory at the end of the heap goes back only beyond it."""

_GROWTH_BYTES = 2**26
"""Memory that the heap grows by."""


def give_back_memory(environment: MutableMapping[str, str]) -> None:
    """Let this process give back what it frees, as a service should that runs for weeks.

    Decoding, searching and writing take memory in dozens of threads and free it in others. Allocators keep what was
    freed, so a process grows with everything it does, although it needs no more than at its start (docs/results.md).

    Call it before pyarrow is imported, which reads the environment once. Arrow's own allocator has a pool for each
    thread, and what another thread frees there is not given back.

    Args:
        environment: The process's environment.
    """
    environment.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _set_allocator(environment, mmap_threshold=_MAPPED_BYTES)


def keep_memory(environment: Mapping[str, str]) -> None:
    """Let this process keep what it frees, as training should, which needs the same memory again in the next step.

    Maps of many megabytes are taken and freed hundreds of times a step. By itself glibc gives them back to the system,
    which then clears and maps every page anew (docs/results.md, "Memory that training keeps").

    Args:
        environment: The process's environment.
    """
    _set_allocator(environment, mmap_max=0, trim_threshold=_KEPT_BYTES, top_pad=_GROWTH_BYTES)


def _set_allocator(environment: Mapping[str, str], **values: int) -> None:
    library = _glibc()
    if library is None:
        return
    tunables = environment.get("GLIBC_TUNABLES", "")
    for name, value in values.items():
        if f"MALLOC_{name.upper()}_" not in environment and f"glibc.malloc.{name}" not in tunables:
            library.mallopt(_SETTINGS[name], value)


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
