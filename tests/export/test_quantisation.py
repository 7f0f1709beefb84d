from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from omnireid.embedding.parity import compare_embeddings
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import ExportError
from omnireid.export import quantisation
from omnireid.export.calibration import FEWEST_CROPS, check_calibration
from omnireid.export.quantisation import list_parts, quantise, rank_parts
from omnireid.images.probes import probe_crops
from omnireid.models.graph_builder import INPUT

CROPS = probe_crops(32, 64, 32, seed=1)


@pytest.fixture(scope="module")
def content(untrained: Path) -> bytes:
    return WeightsFile(untrained).graph.content


def int8_weights(content: bytes) -> set[str]:
    """The layers whose weights are int8."""
    found = onnx.load_from_string(content).graph.initializer
    return {
        values.name.removesuffix(".weight_quantized")
        for values in found
        if values.data_type == onnx.TensorProto.INT8 and values.name.endswith(".weight_quantized")
    }


def test_everything_is_quantised_but_what_is_kept(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    kept = list_parts(content)["conv3.0"]
    quantised = quantise(content, CROPS, keep=kept)
    assert not caplog.records  # the quantiser has no advice to give
    model = onnx.load_from_string(quantised)
    assert not model.metadata_props  # until it is sealed
    layers = int8_weights(quantised)
    assert {"conv1", "conv2.0.streams.0.0", "conv5"} <= layers
    assert not {layer for layer in layers if layer.startswith("conv3.0.")}
    assert {"conv3.1.reduce", "conv3.1.restore"} <= layers
    session, exact = (
        onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"]) for one in (quantised, content)
    )
    found, expected = (one.run(None, {INPUT: CROPS})[0] for one in (session, exact))
    assert 0.98 < compare_embeddings(expected, found).mean < 1


def test_too_few_crops_are_refused(content: bytes) -> None:
    check_calibration(CROPS[:FEWEST_CROPS])
    for count in (0, FEWEST_CROPS - 1):
        with pytest.raises(ExportError, match=f"{count} crops are too few to calibrate int8 with: give at least 32"):
            quantise(content, CROPS[:count])


def test_parts_are_stages_blocks_and_single_layers_and_leave_out_the_normalisation(content: bytes) -> None:
    parts = list_parts(content)
    assert list(parts) == [
        "conv1", "pool1", "conv2.0", "conv2.1", "transition2", "pool2", "conv3.0", "conv3.1", "transition3", "pool3",
        "conv4.0", "conv4.1", "conv5", "pool5", "fc",
    ]  # fmt: skip
    names = [name for members in parts.values() for name in members]
    assert len(set(names)) == len(names)
    assert not any(name.startswith("pixels") for name in names)


def test_parts_are_ranked_by_what_each_alone_costs(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = list_parts(content)
    calls: list[int] = []

    def stand_in(_content: bytes, _pixels: np.ndarray, *, keep: list[str]) -> bytes:
        (alone,) = [part for part, names in parts.items() if not set(names) & set(keep)]
        return alone.encode()

    monkeypatch.setattr(quantisation, "quantise", stand_in)
    costs = {name.encode(): index for index, name in enumerate(parts)}
    ranked = rank_parts(content, CROPS, lambda graph: costs[graph], progress=calls.append)
    assert [name for name, _ in ranked] == list(reversed(parts))
    assert calls == [1] * len(parts)
