"""What this process runs on: cores, processor, memory, system and versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omnireid.version import __version__

PACKAGES = ("numpy", "onnxruntime", "openvino", "torch", "pillow", "simplejpeg")
"""The libraries whose versions a figure may depend on."""


@dataclass(frozen=True)
class Machine:
    """A machine and what is installed on it, as every figure is published with.

    Attributes:
        processor: Name of the processor.
        cores: Number of cores this process may use.
        memory_bytes: Size of the memory, or None where the system does not say.
        system: Name of the operating system, such as Linux.
        load: Average number of running processes over the last minute, or None where the system does not say.
        versions: Name to version of omnireid, Python and the installed `PACKAGES`.
    """

    processor: str
    cores: int
    memory_bytes: int | None
    system: str
    load: float | None
    versions: Mapping[str, str]

    def json(self) -> dict[str, Any]:
        """Every field by name, as plain JSON values."""
        return asdict(self)

    def text(self) -> str:
        """Two lines for a person: the machine, and the versions."""
        memory = "" if self.memory_bytes is None else f", {self.memory_bytes / 2**30:.0f} GiB"
        load = "" if self.load is None else f", load {self.load:.1f}"
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.processor}, {self.cores} cores{memory}, {self.system}{load}\n{versions}"


def describe() -> Machine:
    """Describe the machine this process runs on. Imports none of the libraries it reports."""
    versions = {"omnireid": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    has_memory = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    return Machine(
        processor=processor_name(),
        cores=usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if has_memory else None,
        system=platform.system(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        versions=versions,
    )


def usable_cores() -> int:
    """The number of cores this process may use, which a container or taskset may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The name of the processor. Linux has it in /proc/cpuinfo, other systems in the platform module."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names[0] if names else "") or platform.processor() or platform.machine() or "unknown"


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor computes in bfloat16, as far as Linux says in /proc/cpuinfo; False on other systems."""
    try:
        words = cpuinfo.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(words)
