"""What this process runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnireid.machine import processor_name, usable_cores


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
