"""Graphs as files: what they carry, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from omnireid import load_embedder
from omnireid.embedding.options import RuntimeName, RuntimeOptions
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import CheckpointError, ModelError, WeightsNotFoundError
from omnireid.export.exporting import export_weights
from omnireid.export.options import ExportOptions
from omnireid.files import sha256_of
from omnireid.tracking.detector import load_detector
from omnireid.weights import graph_file as module
from omnireid.weights.artefact import METADATA_KEY, read_metadata
from omnireid.weights.graph_file import read_graph, record_of, seal_onnx, write_graph


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, untrained: Path) -> Path:
    """A folder with ``w.onnx``, and ``w.xml`` beside ``w.bin``."""
    folder = tmp_path_factory.mktemp("graphs")
    write_graph(folder / "w.onnx", export_weights(untrained).graph)
    write_graph(folder / "w.xml", export_weights(untrained, ExportOptions(to="openvino")).graph)
    return folder


@pytest.mark.parametrize(("name", "runtime"), [("w.onnx", "onnxruntime"), ("w.xml", "openvino")])
def test_a_graph_says_what_its_weights_say(exported: Path, untrained: Path, name: str, runtime: RuntimeName) -> None:
    found = read_graph(exported / name)
    assert found.metadata.weights == read_metadata(untrained)
    assert found.metadata.weights_sha256 == sha256_of(untrained)
    assert (found.metadata.precision, found.metadata.takes_pixels, found.metadata.kept_in_float) == ("fp32", True, ())
    options = RuntimeOptions(runtime=runtime, precision="fp32")
    embedder = load_embedder(exported / name, options)
    assert embedder.weights_sha256 == load_embedder(untrained, options).weights_sha256
    assert embedder.metadata == read_metadata(untrained)
    with pytest.raises(ModelError, match="holds osnet_x0_25, not osnet_x1_0"):
        load_embedder(exported / name, RuntimeOptions(architecture="osnet_x1_0"))


@pytest.mark.parametrize("name", ["w.onnx", "w.xml", "w.bin"])
def test_any_altered_byte_is_noticed(exported: Path, tmp_path: Path, name: str) -> None:
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / name).read_bytes())
    graph = tmp_path / name.replace(".bin", ".xml")
    place = content.index(b"conv5") if name != "w.bin" else len(content) // 2
    for position in (place, place + 4):
        altered = bytearray(content)
        altered[position] ^= 1
        (tmp_path / name).write_bytes(altered)
        with pytest.raises(CheckpointError, match=r"altered or damaged after the export|cannot be read"):
            read_graph(graph)


def test_an_altered_weight_of_an_onnx_file(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported / "w.onnx")
    weights = next(values for values in model.graph.initializer if values.name == "fc.weight")
    weights.raw_data = b"\0" * len(weights.raw_data)
    onnx.save(model, tmp_path / "w.onnx")
    with pytest.raises(CheckpointError, match="the graph or its weights were altered"):
        load_embedder(tmp_path / "w.onnx")


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_files_that_are_no_graph(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    with pytest.raises(WeightsNotFoundError, match="No such file of weights"):
        read_graph(path)
    (tmp_path / "w.bin").write_bytes(b"")
    for content, message in (
        (b"", "is empty"),
        (b"<html>", "is a web page"),
        (b"\0" * 100, "is not a graph"),
        (b"<?xml version='1.0'?><net>", "is not an OpenVINO graph"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read_graph(path)


@pytest.mark.parametrize(
    ("ir_version", "opset", "message"),
    [
        (99, 17, r"w\.pth is written in a newer ONNX .*Unsupported model IR version: 99, .*--upgrade onnxruntime"),
        (8, 99, r"w\.pth is written in a newer ONNX .*Opset 99 is under development.*--upgrade onnxruntime"),
    ],
)
def test_a_graph_in_a_newer_onnx(tmp_path: Path, ir_version: int, opset: int, message: str) -> None:
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 2]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opsets = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    (tmp_path / "w.pth").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=message):
        load_embedder(tmp_path / "w.pth")


@pytest.mark.parametrize("place", ["metadata", "input"])
def test_a_graph_with_a_text_that_is_not_utf_8(tmp_path: Path, place: str) -> None:
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("xxxxxxxx", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["xxxxxxxx"], ["y"])], "g", ends[:1], ends[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, {"k": "vvvvvvvv"})
    text = b"vvvvvvvv" if place == "metadata" else b"xxxxxxxx"
    path = tmp_path / "w.onnx"
    path.write_bytes(model.SerializeToString().replace(text, b"\xbc" * 8))
    for read in (read_graph, load_detector):
        with pytest.raises(CheckpointError, match=r"w\.onnx .*cannot be read as an ONNX graph"):
            read(path)


def test_a_truncated_graph(exported: Path, tmp_path: Path) -> None:
    content = (exported / "w.onnx").read_bytes()
    for length in (100, len(content) // 2, len(content) - 1):
        (tmp_path / "w.onnx").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"Get it again|altered or damaged|without omnireid's metadata"):
            read_graph(tmp_path / "w.onnx")


def test_an_xml_without_its_values(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "w.xml").write_bytes((exported / "w.xml").read_bytes())
    with pytest.raises(WeightsNotFoundError, match=r"w\.bin\. An OpenVINO graph is two files"):
        load_embedder(tmp_path / "w.xml")


def test_a_graph_that_is_not_ours_is_not_guessed_at(tmp_path: Path, untrained: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(WeightsFile(untrained).graph.content)
    with pytest.raises(CheckpointError, match=r"without omnireid's metadata.*is guessed.*omnireid convert w\.onnx"):
        load_embedder(tmp_path / "w.onnx")


def rewritten(change: Callable[[dict[str, object]], None], untrained: Path, path: Path, monkeypatch: object) -> Path:
    graph = WeightsFile(untrained).graph
    record = json.loads(record_of(graph.metadata))
    change(record)
    assert isinstance(monkeypatch, pytest.MonkeyPatch)
    monkeypatch.setattr(module, "record_of", lambda _metadata: json.dumps(record))
    path.write_bytes(seal_onnx(graph.content, graph.metadata))
    return path


def test_a_newer_version(tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rewritten(lambda record: record.update(format_version=99), untrained, tmp_path / "w.onnx", monkeypatch)
    with pytest.raises(CheckpointError, match=r"written by a newer omnireid \(format 99.*pip install --upgrade"):
        read_graph(path)


@pytest.mark.parametrize("name", ["takes_pixels", "weights_sha256", "graph_precision", "format_version", "distance"])
def test_metadata_with_a_part_missing(
    tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = rewritten(lambda record: record.update({name: None}), untrained, tmp_path / "w.onnx", monkeypatch)
    with pytest.raises(CheckpointError, match=r"The metadata of .*w\.onnx"):
        read_graph(path)


def test_an_exported_graph_that_is_sealed_again_says_the_new_thing(exported: Path, tmp_path: Path) -> None:
    graph = read_graph(exported / "w.onnx")
    metadata = replace(graph.metadata, weights=replace(graph.metadata.weights, licence="MIT"))
    (tmp_path / "w.onnx").write_bytes(seal_onnx(graph.content, metadata))
    assert read_graph(tmp_path / "w.onnx").metadata.weights.licence == "MIT"
    (entry,) = onnx.load(tmp_path / "w.onnx").metadata_props
    assert entry.key == METADATA_KEY
