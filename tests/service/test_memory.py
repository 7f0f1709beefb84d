from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.service.conftest import Served, crop_bytes, file_of

from omnireid.service.memory import prepare_memory, return_free_memory

_IS_GLIBC = sys.platform == "linux" and (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
needs_glibc = pytest.mark.skipif(not _IS_GLIBC, reason="only glibc has pools for threads")

_TRY_THREADS = """
import ctypes, sys, threading
{prepare}
together = threading.Barrier(8)
def take():
    together.wait()
    ctypes.CDLL(None).malloc(1000)
    together.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
ctypes.CDLL(None).malloc_stats()
"""
_PREPARE = "import os; from omnireid.service.memory import prepare_memory; prepare_memory(os.environ)"


def arenas(prepare: str, **environment: str) -> int:
    """Number of pools in a process of eight threads."""
    words = [sys.executable, "-c", _TRY_THREADS.format(prepare=prepare)]
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
    }
    shown = subprocess.run(words, capture_output=True, text=True, env={**inherited, **environment}, check=True)
    return shown.stderr.count("Arena ")


@needs_glibc
def test_the_threads_of_a_service_share_two_pools_unless_the_operator_chose() -> None:
    assert arenas("") > 2
    assert arenas(_PREPARE) == 2
    assert arenas(_PREPARE, MALLOC_ARENA_MAX="3") == arenas(_PREPARE, GLIBC_TUNABLES="glibc.malloc.arena_max=3") == 3


def test_arrow_takes_memory_from_the_system_when_a_service_imports_it() -> None:
    program = (
        "from omnireid.service import server\n"
        "def stop():\n"
        "    import pyarrow as pa; raise SystemExit(pa.default_memory_pool().backend_name)\n"
        "server.require_libraries = stop\n"
        "from omnireid.commands.serve import serve; serve(gallery='nowhere')"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=inherited, check=False)
    assert done.stderr.strip() == "system"


def test_what_the_operator_chose_stays() -> None:
    environment = {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc", "MALLOC_ARENA_MAX": "4"}
    prepare_memory(environment)
    assert environment == {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc", "MALLOC_ARENA_MAX": "4"}


@needs_glibc
def test_free_pages_between_pages_in_use_go_back() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    size = 60_000  # below what glibc maps alone and gives back at once
    blocks = [library.malloc(size) for _ in range(800)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for place, block in enumerate(blocks):
        if place % 2 and place < len(blocks) - 1:
            library.free(ctypes.c_void_p(block))
    before = resident_bytes()
    return_free_memory()
    assert before - resident_bytes() > 15_000_000
    for block in (*blocks[::2], blocks[-1]):
        library.free(ctypes.c_void_p(block))


def resident_bytes() -> int:
    """Memory of this process."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])


def test_memory_is_given_back_after_tidying(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[int] = []
    served = serve()
    monkeypatch.setattr("omnireid.service.backend._WRITES_BEFORE_TIDYING", 2)
    monkeypatch.setattr(
        "omnireid.service.backend.return_free_memory",
        lambda: files.append(len(list((served.folder / "g" / "sightings.lance" / "data").iterdir()))),
    )
    for seed in range(100, 105):
        assert served.client.post("/v1/sightings", files=file_of(crop_bytes(seed))).status_code == 201
    assert files == [1, 1]
