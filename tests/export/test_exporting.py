"""What is exported loads again and gives torch's embeddings; what does not is never seen, and its first layer named."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from tests.embedding.colours import colour_network
from tests.quantised import CALIBRATION, quantise_once

from omnireid import create_model, load_embedder
from omnireid.embedding.options import Precision, RuntimeName, RuntimeOptions
from omnireid.embedding.parity import GATES, Parity, compare_embeddings
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import ExportError, MissingDependencyError, OutputError, ParityError
from omnireid.export import exporting, graph_network, parity_gate, quantisation
from omnireid.export.calibration import MOST_CROPS, read_calibration
from omnireid.export.exporting import ExportedGraph, export_weights
from omnireid.export.options import ExportOptions
from omnireid.export.parity_gate import BATCH_SIZES
from omnireid.export.quantisation import list_parts
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import METADATA_KEY, WeightsMetadata, write_artefact
from omnireid.weights.graph_file import Graph, GraphFormat, GraphPrecision, read_graph, seal_onnx, write_graph

CROPS = CALIBRATION
WAYS: list[Any] = [
    ("onnx", "fp32", True),
    ("onnx", "fp32", False),
    ("onnx", "fp16", True),
    ("onnx", "int8", True),
    ("openvino", "fp32", True),
    ("openvino", "fp16", True),
    pytest.param("openvino", "int8", True, marks=pytest.mark.slow),
]


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """int8 is taken as it comes: whether parts are kept out of it has tests of its own."""
    monkeypatch.setattr(quantisation, "LARGEST_ERROR", 2.0)
    monkeypatch.setattr(quantisation, "quantise", quantised_once)


def quantised_once(content: bytes, pixels: Any, *, keep: Any = ()) -> bytes:
    """The same graph for all formats."""
    assert np.array_equal(pixels, CROPS)
    assert not keep
    return quantise_once(content)


def export(path: Path, *, calibration: Any = None, progress: bool = False, **asked: Any) -> ExportedGraph:
    if calibration is None and asked.get("precision") == "int8":
        calibration = CROPS
    return export_weights(path, ExportOptions(**asked), calibration=calibration, progress=progress)


@pytest.mark.parametrize(("to", "precision", "takes_pixels"), WAYS)
def test_an_exported_graph_loads_again_and_gives_torchs_embeddings(
    tmp_path: Path, untrained: Path, to: GraphFormat, precision: GraphPrecision, takes_pixels: bool
) -> None:
    exported = export(untrained, to=to, precision=precision, float_input=not takes_pixels)
    assert tuple(exported.parities) == BATCH_SIZES
    assert all(GATES[precision].passes(parity) for parity in exported.parities.values())
    assert exported.compared_on == ("32 crops of yours" if precision == "int8" else "64 drawn patches of colour")
    path = tmp_path / ("w.onnx" if to == "onnx" else "w.xml")
    exported.write(path)
    assert read_graph(path).metadata == exported.graph.metadata
    metadata = exported.graph.metadata
    assert (metadata.precision, metadata.takes_pixels, metadata.kept_in_float) == (precision, takes_pixels, ())
    asked: Precision = "fp32" if to == "openvino" and precision != "int8" else "auto"  # auto might take bfloat16
    runtime: RuntimeName = "onnxruntime" if to == "onnx" else "openvino"
    embedder = load_embedder(path, RuntimeOptions(runtime=runtime, precision=asked, device="cpu"))
    expected = load_embedder(untrained, RuntimeOptions(runtime="torch", device="cpu")).embed(CROPS)
    assert GATES[precision].passes(compare_embeddings(expected, embedder.embed(CROPS)))


@pytest.mark.parametrize(
    ("layer", "precision"), [("conv1", "fp32"), ("conv3.1.restore", "fp32"), ("fc", "fp32"), ("transition2", "fp16")]
)
def test_the_gate_names_the_first_layer_that_differs(
    untrained: Path, monkeypatch: pytest.MonkeyPatch, layer: str, precision: GraphPrecision
) -> None:
    disturb(monkeypatch, layer)
    name = "fc.norm" if layer == "fc" else layer
    with pytest.raises(ParityError, match=rf"The first layer that differs is {name}: relative error") as caught:
        export(untrained, precision=precision)
    message = str(caught.value)
    assert message.startswith(f"The exported graph of {untrained} gives other embeddings than torch at batch 1: ")
    assert f"at least {GATES[precision].smallest} and {GATES[precision].mean} are required in {precision}" in message
    assert "Nothing was written." in message


def test_the_gate_of_another_format_says_how_to_see_the_layer(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disturb(monkeypatch, "conv5")
    with pytest.raises(ParityError, match=r"Export it to onnx \(--to onnx\) to see which layer differs"):
        export(untrained, to="openvino")


def test_embeddings_that_differ_although_no_layer_does_name_the_furthest_layer(
    untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity_gate, "compare_embeddings", lambda *_: replace(compare_embeddings(*_), smallest=0.5))
    with pytest.raises(ParityError, match=r"No layer differs by more than 0\.0001; the furthest is \w"):
        export_weights(untrained)


def disturb(monkeypatch: pytest.MonkeyPatch, layer: str) -> None:
    """Graphs are built with other weights in one layer."""
    build = WeightsFile.make_graph

    def make(self: WeightsFile, precision: Any, *, takes_pixels: bool = True) -> Graph:
        graph = build(self, precision, takes_pixels=takes_pixels)
        model = onnx.load_from_string(graph.content)
        (weights,) = [values for values in model.graph.initializer if values.name == f"{layer}.weight"]
        values = onnx.numpy_helper.to_array(weights)
        other = np.random.default_rng(0).permutation(values.ravel()).reshape(values.shape)
        weights.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(-2 * other), weights.name))
        return replace(graph, content=model.SerializeToString())

    monkeypatch.setattr(WeightsFile, "make_graph", make)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"precision": "int8", "calibration": CROPS[:31]}, "31 crops are too few to calibrate int8 with: give at least 32"),
    (
        {"precision": "int8", "float_input": True},
        r"An int8 graph takes pixels.*Leave out float_input \(--float-input\)",
    ),
    ({"calibration": CROPS[:0]}, "Calibration needs images, at least one; got none"),
    ({"precision": "bf16"}, r"No export to 'onnx' in 'bf16'\. Known: onnx, openvino; fp32, fp16, int8"),
    ({"to": "tensorrt"}, "No export to 'tensorrt' in 'fp32'"),
]


@pytest.mark.parametrize(("asked", "message"), REFUSED)
def test_what_cannot_be_exported_is_refused_with_a_reason(untrained: Path, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        export(untrained, **asked)


def test_int8_asks_for_crops_to_calibrate_with(untrained: Path) -> None:
    with pytest.raises(ExportError, match=r"int8 needs crops of yours.*calibration=… \(--calibration FOLDER\)"):
        export_weights(untrained, ExportOptions(precision="int8"))


def test_calibration_takes_images_of_any_size_and_as_many_as_are_of_use(tmp_path: Path) -> None:
    size = Preprocessing(64, 32)
    Image.fromarray(CROPS[0]).resize((40, 90)).save(tmp_path / "crop.png")
    found = read_calibration([tmp_path / "crop.png", CROPS[1]], size)
    assert found.shape == (2, 64, 32, 3)
    assert np.array_equal(found[1], CROPS[1])
    assert np.array_equal(found[0], size.resize(tmp_path / "crop.png"))
    many = read_calibration([CROPS[0], *[CROPS[1]] * 2000, CROPS[2]], size)
    assert len(many) == MOST_CROPS
    assert np.array_equal(many[[0, 1, -1]], CROPS[[0, 1, 2]])


def test_weights_of_an_ablation_are_exported_by_the_name_they_were_trained_under(tmp_path: Path) -> None:
    model = create_model("osnet_x0_25_one_stream")
    metadata = WeightsMetadata("osnet_x0_25_one_stream", model.embedding_width, Preprocessing(64, 32))
    path = tmp_path / "w.safetensors"
    write_artefact(path, {name: tensor.numpy() for name, tensor in model.state_dict().items()}, metadata)
    exported = export(path)
    assert exported.graph.metadata.weights == metadata
    assert tuple(exported.parities) == BATCH_SIZES


def test_a_graph_is_not_exported_again(tmp_path: Path, untrained: Path) -> None:
    exported = export(untrained)
    exported.write(tmp_path / "w.onnx")
    with pytest.raises(ExportError, match=r"w\.onnx is a graph already\. Export from the weights it was made from"):
        export_weights(tmp_path / "w.onnx")
    with pytest.raises(OutputError, match=r"name ends in \.onnx; got .*w\.xml"):
        exported.write(tmp_path / "w.xml")


@pytest.mark.parametrize(
    ("library", "asked", "message"),
    [
        ("openvino", {"to": "openvino"}, r"OpenVINO.s graphs needs openvino.*omnireid\[openvino\]"),
        ("onnx", {}, r"needs onnx.*pip install onnx"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    untrained: Path, monkeypatch: pytest.MonkeyPatch, library: str, asked: dict[str, Any], message: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=message):
        export(untrained, **asked)


def test_parts_that_int8_costs_too_much_stay_in_float32(
    tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quantising is stood in for: a graph is as far from float32 as the parts in it that are int8 say."""
    costs = {"conv1": 0.003, "conv2.0": 0.02, "conv3.1": 0.01}
    tried: list[int] = []
    pretend(monkeypatch, costs)
    monkeypatch.setattr(exporting, "progress_bar", lambda *_, **__: nullcontext(tried.append))
    exported = export(untrained, precision="int8", progress=True)
    metadata = exported.graph.metadata
    assert metadata.kept_in_float == ("conv2.0", "conv3.1")  # the worst first, and no more than are needed
    assert metadata.precision == "int8"
    assert tried == [1] * len(list_parts(WeightsFile(untrained).graph.content))
    write_graph(tmp_path / "w.onnx", exported.graph)
    assert read_graph(tmp_path / "w.onnx").metadata.kept_in_float == ("conv2.0", "conv3.1")


def test_weights_of_which_int8_leaves_nothing_are_refused(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = list_parts(WeightsFile(untrained).graph.content)
    pretend(monkeypatch, dict.fromkeys(parts, 0.5))
    with pytest.raises(ExportError, match=r"int8 leaves nothing of these weights.*--precision fp16"):
        export(untrained, precision="int8")


def pretend(monkeypatch: pytest.MonkeyPatch, costs: dict[str, float]) -> None:
    """`quantise` writes what was kept into the graph, which stays in float32; its error is the sum of the others'."""
    monkeypatch.setattr(quantisation, "LARGEST_ERROR", 0.004)

    def stand_in(content: bytes, pixels: Any, *, keep: Any = ()) -> bytes:
        model = onnx.load_from_string(content)
        model.doc_string = " ".join(keep)
        done: bytes = model.SerializeToString()
        return done

    last: list[str] = []

    def remember(graph: Graph) -> Any:
        last[:] = [onnx.load_from_string(graph.content).doc_string]
        measured = graph.metadata.precision != "int8"  # what is held to the gate in the end really runs
        return colour_network() if measured else real_open(graph)

    def compare(_reference: Any, _found: Any) -> Parity:
        kept = set(last[0].split())
        error = sum(cost for part, cost in costs.items() if not set(parts_of(part)) <= kept)
        return Parity(1 - error, 1 - error, len(CROPS))

    real_open = graph_network.open_graph
    parts: dict[str, list[str]] = {}

    def noted(content: bytes) -> dict[str, list[str]]:
        parts.update(list_parts(content))
        return dict(parts)

    def parts_of(part: str) -> list[str]:
        return parts.get(part, [f"not yet asked for {part}"])

    monkeypatch.setattr(quantisation, "list_parts", noted)
    monkeypatch.setattr(quantisation, "quantise", stand_in)
    monkeypatch.setattr(exporting, "open_graph", remember)
    monkeypatch.setattr(exporting, "compare_embeddings", compare)


def test_a_pair_that_cannot_be_written_whole_leaves_the_old_one(
    tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = export(untrained, to="openvino").graph
    write_graph(tmp_path / "w.xml", graph)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write = Path.write_bytes

    for full in (".bin", ".xml"):

        def write_bytes(path: Path, content: bytes, full: str = full) -> int:
            if path.suffix == full:
                raise OSError(28, "No space left on device")
            return write(path, content)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", write_bytes)
            with pytest.raises(OutputError, match="No space left on the disk"):
                write_graph(tmp_path / "w.xml", replace(graph, values=b"others"))
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_nothing_is_said_before_the_graph_is_sealed(untrained: Path) -> None:
    graph = WeightsFile(untrained).graph
    assert not onnx.load_from_string(graph.content).metadata_props
    (entry,) = onnx.load_from_string(seal_onnx(graph.content, graph.metadata)).metadata_props
    assert entry.key == METADATA_KEY
