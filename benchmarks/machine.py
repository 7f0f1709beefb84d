"""What a figure was measured on: every benchmark ends with this line."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np


def describe() -> str:
    """Processor, cores, memory, system and versions, and the load when it was asked."""
    packages = {}
    for name in ("omnireid", "numpy", "onnxruntime", "openvino", "torch", "pillow"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    versions = ", ".join(f"{name} {number}" for name, number in packages.items())
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gib()} GiB, {platform.system()}{load}\n"
        f"Python {platform.python_version()}, {versions}, BLAS {blas['name']} {blas['version']}"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = dict(line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
        names = {name.strip(): value.strip() for name, value in lines.items()}
        return f"{names.get('model name', 'unknown')} (model {names.get('model', '?')})"
    return platform.processor() or platform.machine()


def _memory_gib() -> str:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f}"
    return "?"
