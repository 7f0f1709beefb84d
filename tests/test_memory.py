from __future__ import annotations

import os
import subprocess
import sys

import pytest

from omnireid.memory import give_back_memory

_IS_GLIBC = sys.platform == "linux" and (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")

_FREED_BETWEEN = """
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
_GIVE_BACK = "from omnireid.memory import give_back_memory; give_back_memory(os.environ)"

_AGAIN = """
import ctypes, os, resource
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
{prepare}
def step():
    blocks = [library.malloc(40_000_000) for _ in range(3)]
    for block in blocks:
        ctypes.memset(block, 1, 40_000_000)
    for block in blocks:
        library.free(block)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""
_KEEP = "from omnireid.memory import keep_memory; keep_memory(os.environ)"


def kept_bytes(prepare: str, **environment: str) -> int:
    """Memory of a process beyond what it uses, after it freed 32 MB between smaller blocks that it uses."""
    return outcome(_FREED_BETWEEN.format(prepare=prepare), environment)


def mapped_bytes(prepare: str, **environment: str) -> int:
    """Memory that a process gets anew from the system when it takes and frees the same 120 MB five times more."""
    return outcome(_AGAIN.format(prepare=prepare), environment)


def outcome(program: str, environment: dict[str, str]) -> int:
    words = [sys.executable, "-c", program]
    inherited = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    done = subprocess.run(words, capture_output=True, text=True, env={**inherited, **environment}, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not _IS_GLIBC, reason="this is about glibc's allocator")
def test_what_a_service_frees_goes_back_unless_the_operator_chose() -> None:
    assert kept_bytes("") > 25_000_000
    assert kept_bytes(_GIVE_BACK) < 2_000_000
    assert kept_bytes(_GIVE_BACK, MALLOC_MMAP_THRESHOLD_="20000000") > 25_000_000
    assert kept_bytes(_GIVE_BACK, GLIBC_TUNABLES="glibc.malloc.mmap_threshold=20000000") > 25_000_000


@pytest.mark.skipif(not _IS_GLIBC, reason="this is about glibc's allocator")
def test_what_training_frees_is_kept_unless_the_user_chose() -> None:
    assert mapped_bytes("") > 500_000_000
    assert mapped_bytes(_KEEP) < 20_000_000
    assert mapped_bytes(_KEEP, MALLOC_MMAP_MAX_="65536") > 500_000_000
    assert mapped_bytes(_KEEP, MALLOC_ARENA_MAX="2") < 20_000_000


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
    give_back_memory(environment)
    assert environment == {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc", "MALLOC_MMAP_THRESHOLD_": "131072"}
