"""A head inside a graph: its scores come out beside the embeddings, in either runtime and every precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omnireid import RuntimeOptions, load_embedder
from omnireid.attributes.head import AttributeHead, HeadRecord
from omnireid.attributes.head_file import write_attribute_head
from omnireid.cli import main
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import EmbeddingError, ParityError
from omnireid.export import attribute_output, exporting
from omnireid.export.attribute_output import run_with_attributes
from omnireid.export.exporting import export_weights
from omnireid.export.options import ExportOptions
from omnireid.images.probes import probe_crops
from omnireid.weights.graph_file import GraphFormat, GraphPrecision, read_graph

CROPS = probe_crops(5, 64, 32, seed=2)


def head_of(weights: Path) -> AttributeHead:
    rng = np.random.default_rng(0)
    record = HeadRecord(WeightsFile(weights).sha256, "osnet_x0_25", "made up", "free", 9, 3, 0.1, (), "0")
    drawn = rng.normal(size=(512, 3)).astype(np.float32)
    return AttributeHead(("hat", "upper=red", "bag"), drawn, drawn[0], np.full(3, 0.2, dtype=np.float32), record)


@pytest.mark.parametrize(
    ("to", "precision", "float_input"),
    [("onnx", "fp32", False), ("onnx", "fp32", True), ("onnx", "fp16", False), ("openvino", "fp32", False)],
)
def test_the_scores_are_the_heads_and_the_embeddings_come_first(
    tmp_path: Path, untrained: Path, to: GraphFormat, precision: GraphPrecision, float_input: bool
) -> None:
    head = head_of(untrained)
    options = ExportOptions(to=to, precision=precision, float_input=float_input)
    path = tmp_path / ("w.onnx" if to == "onnx" else "w.xml")
    export_weights(untrained, options, head=head).write(path)
    graph = read_graph(path)
    assert graph.metadata.attributes == head.names
    runtime = RuntimeOptions(runtime="onnxruntime" if to == "onnx" else "openvino", threads=1)
    plain = replace(runtime, precision="fp32" if to == "openvino" else "auto")
    expected = load_embedder(path, plain).embed(CROPS)
    embeddings, scores = run_with_attributes(graph, CROPS)
    assert embeddings == pytest.approx(expected, abs=2e-3)
    assert scores == pytest.approx(head.score_embeddings(expected), abs=5e-3)
    assert scores.std() > 0.01


def test_a_head_of_other_weights_is_refused(untrained: Path) -> None:
    head = head_of(untrained)
    other = replace(head, record=replace(head.record, weights_sha256="0" * 64))
    with pytest.raises(EmbeddingError, match="but the graph's embeddings come from osnet_x0_25"):
        export_weights(untrained, head=other)


def test_a_graph_with_other_scores_is_refused(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = head_of(untrained)
    add = attribute_output.add_attributes

    def with_other_biases(content: bytes, given: AttributeHead) -> bytes:
        return add(content, replace(given, biases=given.biases + 1))

    monkeypatch.setattr(exporting, "add_attributes", with_other_biases)
    with pytest.raises(ParityError, match="attributes of the exported graph differ from the head's by"):
        export_weights(untrained, head=head)


def test_the_command_says_what_the_second_output_is(
    tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_attribute_head(head_of(untrained), tmp_path / "head.safetensors")
    words = ["export", str(untrained), "--attributes", str(tmp_path / "head.safetensors")]
    assert main([*words, "--output", str(tmp_path / "w.onnx")]) == 0
    assert "second output: 3 attributes, hat, upper=red, bag" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "w.onnx")]) == 0
    assert "hat, upper=red, bag" in capsys.readouterr().out
