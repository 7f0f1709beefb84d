"""ONNX Runtime, as its makers publish it, reports what it runs to them. Under omnireid it must not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EMBED = """
import numpy as np
from omnireid import RuntimeOptions, load_embedder
load_embedder(options=RuntimeOptions(runtime="onnxruntime")).embed([np.zeros((64, 32, 3), np.uint8)])
"""
LOADED_BEFORE = """
import sys, types
called = []
sys.modules["onnxruntime"] = types.SimpleNamespace(disable_telemetry_events=lambda: called.append(True))
import omnireid
print(called)
"""


def run(program: str, home: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "OMNIREID_CACHE": str(home / "omnireid")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_no_device_id_and_no_events_are_stored(tmp_path: Path) -> None:
    run(EMBED, tmp_path)
    assert [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name.lower() or path.name == "deviceid"] == []


def test_events_stop_where_it_was_loaded_before(tmp_path: Path) -> None:
    assert run(LOADED_BEFORE, tmp_path).strip() == "[True]"
