"""What this process runs on."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import numpy as np
import pytest

from omnireid import __version__
from omnireid.machine import describe, has_bfloat16, processor_name, usable_cores


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: {0, 5, 7}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert usable_cores() == 1


def test_the_processors_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A Processor: 2.0 GHz\nmodel name\t: Another\n")
    assert processor_name(info) == "A Processor: 2.0 GHz"
    info.write_text("processor : 0\n")
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert processor_name(info) == processor_name(tmp_path / "gone") == "arm64"
    monkeypatch.setattr("platform.machine", lambda: "")
    assert processor_name(info) == "unknown"


def test_a_machine_is_described_in_plain_values() -> None:
    machine = describe()
    assert json.loads(json.dumps(machine.json())) == machine.json()
    assert machine.cores == usable_cores()
    assert machine.versions["omnireid"] == __version__
    assert machine.versions["numpy"] == np.__version__
    shown = machine.text()
    assert f"{machine.cores} cores" in shown
    assert f"python {platform.python_version()}" in shown


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx2 avx512f", False),
        ("flags : fpu avx512f avx512_bf16", True),
        ("flags : amx_bf16 amx_tile", True),
        ("Features : fp asimd bf16", True),
        ("flags : avx512_bf16x", False),
    ],
)
def test_bfloat16_is_what_the_processor_says(flags: str, expected: bool, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\n{flags}\n")
    assert has_bfloat16(cpuinfo) == expected


def test_a_system_without_cpuinfo_is_not_said_to_have_bfloat16(tmp_path: Path) -> None:
    assert not has_bfloat16(tmp_path / "gone")
