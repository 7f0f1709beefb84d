"""Crops for runtimes, and an OpenVINO on machines that this one may not be."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import openvino
import pytest

from omnireid.images.probes import probe_crops
from omnireid.weights import runtime_start

PIXELS = probe_crops(7, 64, 32)


def error_of(found: Any, expected: Any) -> float:
    return float((np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


class Processor:
    """An OpenVINO core on a processor, or with devices, that this machine may lack; `hints` is what it was asked."""

    def __init__(self, *able: str, devices: tuple[str, ...] = ("CPU",), compiled: Any = None) -> None:
        self._core = openvino.Core()
        self._able, self._compiled = able, compiled
        self.available_devices = list(devices)
        self.hints: list[tuple[str, str]] = []

    def get_property(self, _device: str, _name: str) -> list[str]:
        return list(self._able)

    def read_model(self, *content: bytes) -> Any:
        return self._core.read_model(*content)

    def compile_model(self, model: Any, device: str, settings: dict[str, str]) -> Any:
        self.hints.append((device, settings["INFERENCE_PRECISION_HINT"]))
        return self._compiled or self._core.compile_model(model, "CPU", settings)


class Compiled:
    """A compiled network that gives zeros, or fails with `error` for more than one crop. Records who runs it."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.requests = 0
        self.threads: list[str] = []

    def create_infer_request(self) -> Any:
        self.requests += 1
        return self

    def infer(self, inputs: dict[int, Any], *, share_inputs: bool) -> Any:
        assert share_inputs
        self.threads.append(threading.current_thread().name)
        if self._error is not None and len(inputs[0]) > 1:
            raise self._error
        return {0: np.zeros((len(inputs[0]), 512), np.float32)}


def on(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> Processor:
    monkeypatch.setattr(runtime_start, "_core", lambda _process: processor)
    return processor
