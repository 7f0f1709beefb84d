from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnireid.embedding import choice as module
from omnireid.embedding.choice import Candidate, choose
from omnireid.embedding.network import Network
from omnireid.embedding.options import Precision, RuntimeName
from omnireid.errors import CheckpointError, DeviceMemoryError, MissingDependencyError, ModelError

NO_RATE = '{"name": "openvino fp32", "rates": {}, "refused": {}}'

WEIGHTS = Path("weights")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMNIREID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def means(pixels: Any) -> Any:
    return pixels.mean(axis=(1, 2), dtype=np.float32)


def candidate(
    runtime: RuntimeName, precision: Precision = "fp32", *, seconds: float = 0.0, error: float = 0.0
) -> Candidate:
    """A network that takes `seconds` a batch and is off by `error`."""

    def run(pixels: Any) -> Any:
        time.sleep(seconds)
        return means(pixels) + error * np.array([0, 255, -255], np.float32)

    return Candidate(WEIGHTS, runtime, precision, lambda: Network(runtime, precision, "cpu", run))


def broken(runtime: RuntimeName, error: Exception) -> Candidate:
    def fail() -> Network:
        raise error

    return Candidate(WEIGHTS, runtime, "fp32", fail)


def take(*candidates: Candidate, weights: str = "w") -> tuple[str, Any]:
    network, choice = choose(candidates, height=8, width=4, depends_on=[weights])
    assert choice.name == f"{network.runtime} {network.precision}"
    return choice.name, choice


def test_the_fastest_is_taken_and_said() -> None:
    name, choice = take(candidate("onnxruntime", seconds=0.02), candidate("openvino"))
    assert name == "openvino fp32"
    assert list(choice.rates) == ["openvino fp32", "onnxruntime fp32"]
    assert str(choice).startswith("runtime openvino fp32: ")
    assert "crops/s here (onnxruntime fp32 " in str(choice)
    assert str(choice).endswith("remembered for next time")


def test_what_fails_the_gate_is_not_taken_however_fast() -> None:
    name, choice = take(candidate("onnxruntime", seconds=0.02), candidate("openvino", "bf16", error=1.0))
    assert name == "onnxruntime fp32"
    assert "fails the parity gate: smallest cosine" in choice.refused["openvino bf16"]


def test_a_lower_precision_must_pay() -> None:
    name, _ = take(candidate("onnxruntime", seconds=0.02), candidate("openvino", "bf16", seconds=0.0199))
    assert name == "onnxruntime fp32"
    name, _ = take(candidate("onnxruntime", seconds=0.02), candidate("openvino", "bf16"), weights="others")
    assert name == "openvino bf16"


def test_a_choice_is_remembered_and_depends_on_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = (candidate("onnxruntime", seconds=0.02), candidate("openvino"))
    take(*ways)
    tried: list[object] = []

    def measured(*arguments: object) -> float:
        tried.append(arguments)
        return 1.0

    monkeypatch.setattr(module, "measure_rate", measured)
    name, choice = take(*ways)
    assert (name, choice.is_remembered, tried) == ("openvino fp32", True, [])
    assert str(choice).endswith("as found earlier")
    assert not take(*ways, weights="others")[1].is_remembered
    assert len(tried) == 4  # two turns of two


def test_a_remembered_way_that_is_gone_is_chosen_anew() -> None:
    take(candidate("onnxruntime", seconds=0.02), candidate("openvino"))
    gone = Candidate(WEIGHTS, "openvino", "fp32", broken("openvino", ModelError("gone")).open)
    name, choice = take(candidate("onnxruntime"), gone)
    assert name == "onnxruntime fp32"
    assert choice.refused == {"openvino fp32": "gone"}
    assert str(choice) == "runtime onnxruntime fp32: the only one here that works; not openvino fp32: gone"


def test_a_slow_last_resort_says_what_would_be_faster() -> None:
    missing = "This needs openvino, which is not installed. Install it with: pip install 'omnireid[openvino]'"
    ways = [broken(name, MissingDependencyError(missing)) for name in ("onnxruntime", "openvino")]
    _, choice = take(*ways, Candidate(WEIGHTS, "torch", "fp32", candidate("torch").open, is_last_resort=True))
    told = "runtime torch fp32: slow on a CPU, and the only one here that works; not onnxruntime fp32 or openvino fp32"
    assert str(choice) == f"{told}: {missing}"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"name": 1}', '{"name": "x", "rates": [], "refused": {}}', NO_RATE, "\0"]
)
def test_a_damaged_memory_is_written_again(cache: Path, content: str) -> None:
    ways = (candidate("onnxruntime", seconds=0.02), candidate("openvino"))
    take(*ways)
    (place,) = (cache / "runtimes").iterdir()
    place.write_text(content)
    assert not take(*ways)[1].is_remembered
    assert take(*ways)[1].is_remembered


def test_a_choice_that_cannot_be_written_is_remembered_by_the_process_and_says_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FOUND", {})
    cache.write_text("a file in the way")
    ways = (candidate("onnxruntime", seconds=0.02), candidate("openvino"))
    name, choice = take(*ways)
    assert (name, choice.is_remembered) == ("openvino fp32", False)
    assert "remembered for this process only: Cannot write " in str(choice)
    assert "next time" not in str(choice)
    name, choice = take(*ways)
    assert (name, choice.is_remembered) == ("openvino fp32", True)
    assert str(choice).endswith("as found earlier")
    monkeypatch.setattr(module, "_FOUND", {})  # as another process has it
    assert not take(*ways)[1].is_remembered


def test_a_last_resort_is_opened_only_where_nothing_else_is() -> None:
    slow = Candidate(WEIGHTS, "torch", "fp32", candidate("torch").open, is_last_resort=True)
    name, choice = take(slow, candidate("onnxruntime", seconds=0.02))
    assert (name, choice.rates) == ("onnxruntime fp32", {})
    assert choice.refused == {"torch fp32": "not tried, because another runtime works and is faster on a CPU"}
    assert str(choice) == "runtime onnxruntime fp32: the only one here"
    name, _ = take(broken("onnxruntime", MissingDependencyError("onnx")), slow)
    assert name == "torch fp32"


def test_where_nothing_opens_the_telling_error_is_raised() -> None:
    missing, damaged = MissingDependencyError("pip install it"), CheckpointError("damaged")
    with pytest.raises(CheckpointError, match="damaged"):
        take(broken("onnxruntime", missing), broken("openvino", damaged))
    with pytest.raises(MissingDependencyError, match="pip install it"):
        take(broken("onnxruntime", missing), broken("openvino", MissingDependencyError("another")))


def test_each_reason_is_named_once() -> None:
    missing = MissingDependencyError("OpenVINO is not installed. Install it with: pip install it")
    ways = [replace(broken("openvino", missing), precision=precision) for precision in ("fp32", "bf16")]
    _, choice = take(candidate("onnxruntime", seconds=0.02), *ways, candidate("torch"))
    assert set(choice.refused) == {"openvino fp32", "openvino bf16"}
    assert str(choice).endswith("; not openvino fp32 or openvino bf16: OpenVINO is not installed")


def test_what_opens_but_cannot_run_is_refused() -> None:
    def fail(_pixels: Any) -> Any:
        raise DeviceMemoryError("no memory")

    full = Candidate(WEIGHTS, "torch", "fp32", lambda: Network("torch", "fp32", "cuda", fail))
    name, choice = take(full, candidate("onnxruntime", seconds=0.02), candidate("openvino"))
    assert name == "openvino fp32"
    assert choice.refused == {"torch fp32": "no memory"}
    name, choice = take(full, replace(full, runtime="openvino"), weights="others")
    assert (name, choice.rates) == ("torch fp32", {})  # whoever embeds is told, or a smaller batch fits


def test_a_reference_without_finite_numbers_is_left_to_whoever_embeds() -> None:
    name, choice = take(candidate("onnxruntime", error=np.nan), candidate("openvino", error=np.nan))
    assert (name, choice.rates) == ("onnxruntime fp32", {})
