from __future__ import annotations

import os
import subprocess
import sys

import pytest

from omnireid.service.memory import prepare_memory

_IS_GLIBC = sys.platform == "linux" and (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")

_KEEP = """
import ctypes, os
from pathlib import Path
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
def resident():
    return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])
def take(size):
    block = library.malloc(size)
    ctypes.memset(block, 1, size)
    return block
{prepare}
library.free(take(16_000_000))  # from now on glibc takes blocks below this size from its pools
before, blocks = resident(), []
for _ in range(16):
    blocks += [take(2_000_000), take(100_000)]
for block in blocks[::2]:
    library.free(block)
print(resident() - before - 16 * 100_000)
"""
_PREPARE = "from omnireid.service.memory import prepare_memory; prepare_memory(os.environ)"


def kept_bytes(prepare: str, **environment: str) -> int:
    """Memory of a process beyond what it uses, after it freed 32 MB between smaller blocks that it uses."""
    words = [sys.executable, "-c", _KEEP.format(prepare=prepare)]
    inherited = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    done = subprocess.run(words, capture_output=True, text=True, env={**inherited, **environment}, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not _IS_GLIBC, reason="this is about glibc's allocator")
def test_what_a_service_frees_goes_back_unless_the_operator_chose() -> None:
    assert kept_bytes("") > 25_000_000
    assert kept_bytes(_PREPARE) < 2_000_000
    assert kept_bytes(_PREPARE, MALLOC_MMAP_THRESHOLD_="20000000") > 25_000_000
    assert kept_bytes(_PREPARE, GLIBC_TUNABLES="glibc.malloc.mmap_threshold=20000000") > 25_000_000


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


def test_what_the_operator_chose_for_arrow_stays() -> None:
    environment = {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc", "MALLOC_MMAP_THRESHOLD_": "131072"}
    prepare_memory(environment)
    assert environment == {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc", "MALLOC_MMAP_THRESHOLD_": "131072"}
