"""``omnireid convert`` of graphs that others made: what has to be said of them, and how they are tried."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.commands.foreign_graphs import COLOURS, foreign, small_graph

from omnireid import examine, load_embedder
from omnireid.cli import main
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import CheckpointError
from omnireid.files import sha256_of
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import WeightsMetadata
from omnireid.weights.graph_file import GraphMetadata, seal_onnx


@pytest.mark.parametrize("takes_pixels", [True, False])
def test_a_graph_that_others_made_embeds(
    tmp_path: Path, untrained: Path, crop_folder: Path, takes_pixels: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = foreign(untrained, tmp_path / "theirs.onnx", takes_pixels=takes_pixels), tmp_path / "ours.onnx"
    words = ["convert", str(theirs), "--output", str(ours)]
    assert main(words) == 2
    missing = "--architecture" if takes_pixels else "--architecture, --mean, --std"
    assert f"nothing is guessed. Say {missing}: whoever" in capsys.readouterr().err
    assert not ours.exists()
    words += ["--architecture", "osnet_x0_25", "--licence", "MIT", "--distance", "cosine"]
    assert main(words + ([] if takes_pixels else COLOURS)) == 0
    embedder = load_embedder(ours, RuntimeOptions(runtime="onnxruntime", device="cpu"))
    metadata = embedder.metadata
    assert (metadata.architecture, metadata.licence, metadata.distance) == ("osnet_x0_25", "MIT", "cosine")
    assert (metadata.preprocessing.height, metadata.preprocessing.width) == (64, 32)
    assert embedder.weights_sha256 == sha256_of(theirs)
    assert "not checked: others made the graph" in examine(ours).table()
    crops = sorted(crop_folder.iterdir())
    expected = load_embedder(untrained, RuntimeOptions(runtime="onnxruntime", device="cpu")).embed(crops)
    assert np.allclose(embedder.embed(crops), expected, rtol=1e-4, atol=1e-5)
    capsys.readouterr()
    assert main(["convert", str(ours), "--output", str(tmp_path / "again.onnx")]) == 2
    assert "ours.onnx is an omnireid graph already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--height", "256"], "takes crops of 64 × 32 only, not --height 256. Leave --height out"),
        (["--width", "64"], "takes crops of 64 × 32 only, not --width 64"),
        (["--half"], "is a graph, whose weights convert does not change: leave --half out"),
    ],
)
def test_what_a_graph_cannot_become(
    tmp_path: Path, untrained: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = foreign(untrained, tmp_path / "theirs.onnx"), tmp_path / "ours.onnx"
    said = ["convert", str(theirs), "--output", str(ours), "--architecture", "osnet_x0_25", *COLOURS]
    assert main([*said, *words]) == 2
    assert message in capsys.readouterr().err
    assert not ours.exists()


PROJECT = onnx.helper.make_node("MatMul", ["means", "weight"], ["embeddings"])


SAID = ["--architecture", "small", *COLOURS]


@pytest.mark.parametrize(
    ("kind", "takes", "axis", "message"),
    [
        ("Mul", ["raw", "zero"], None, "gives 7 different crops the same embedding"),
        ("Div", ["raw", "zero"], None, "gives values that are not finite"),
        ("Softmax", ["raw"], 0, r"another embedding in a batch of 1 than in a batch of 7.*evaluation mode"),
        ("Concat", ["raw", "raw"], 0, r"gives \(14, 4\) for a batch of 7 crops, and not \(7, 4\)"),
        ("Gather", ["raw", "one"], 0, r"gives \(1, 4\) for a batch of 7 crops, and not \(7, 4\)"),
        ("Reshape", ["raw", "seven"], None, r"cannot be run on a batch of 1 crops.*free batch"),
    ],
)
def test_a_graph_is_run_before_it_is_adopted(
    tmp_path: Path, kind: str, takes: list[str], axis: int | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = onnx.helper.make_node("MatMul", ["means", "weight"], ["raw"])
    options: dict[str, Any] = {} if axis is None else {"axis": axis}
    last = onnx.helper.make_node(kind, takes, ["embeddings"], **options)
    theirs = small_graph(tmp_path / "theirs.onnx", [project, last], {"embeddings": ["N", 4]})
    assert main(["convert", str(theirs), "--output", str(tmp_path / "ours.onnx"), *SAID]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "ours.onnx").exists()


def test_one_of_two_outputs_is_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logits = onnx.helper.make_node("MatMul", ["means", "weight"], ["logits"])
    embeddings = onnx.helper.make_node("Neg", ["means"], ["embeddings"])
    outputs: dict[str, list[str | int]] = {"logits": ["N", 4], "embeddings": ["N", 3]}
    theirs = small_graph(tmp_path / "theirs.onnx", [logits, embeddings], outputs)
    words = ["convert", str(theirs), "--output", str(tmp_path / "ours.onnx"), *SAID]
    assert main(words) == 2
    assert "has 2 outputs, and nothing is guessed: logits ['N', 4], embeddings ['N', 3]" in capsys.readouterr().err
    assert main([*words, "--output-name", "features"]) == 2
    assert "has no output 'features'. Its outputs are: logits" in capsys.readouterr().err
    assert main([*words, "--output-name", "embeddings"]) == 0
    crops = np.random.default_rng(0).integers(0, 256, (3, 8, 4, 3), dtype=np.uint8)
    found = [
        load_embedder(tmp_path / "ours.onnx", RuntimeOptions(runtime=runtime, device="cpu")).embed(crops)
        for runtime in ("onnxruntime", "openvino")
    ]
    expected = -Preprocessing(8, 4).normalise(crops).mean(axis=(2, 3))
    for embeddings_found in found:
        assert np.allclose(embeddings_found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "mean", "white"),
    [(["--range", "255"], 0, 255), (["--range", "255", "--mean", "120", "110", "100"], (100, 110, 120), 255)],
)
def test_a_graph_that_takes_blue_first_and_pixels_as_they_are(
    tmp_path: Path, words: list[str], mean: Any, white: int
) -> None:
    theirs, ours = small_graph(tmp_path / "theirs.onnx", [PROJECT], {"embeddings": ["N", 4]}), tmp_path / "ours.onnx"
    assert (
        main(["convert", str(theirs), "--output", str(ours), "--architecture", "x", "--channels", "bgr", *words]) == 0
    )
    crops = np.random.default_rng(0).integers(0, 256, (3, 8, 4, 3), dtype=np.uint8)
    weight = onnx.numpy_helper.to_array(onnx.load(theirs).graph.initializer[0])
    expected = (crops[..., ::-1].mean(axis=(1, 2)) / 255 * white - mean) @ weight
    for runtime in ("onnxruntime", "openvino"):
        options = RuntimeOptions(runtime=runtime, device="cpu", precision="fp32")
        embedder = load_embedder(ours, options)
        assert np.allclose(embedder.embed(crops), expected, rtol=1e-3, atol=1e-2)
    assert embedder.metadata.origin == f"theirs.onnx, SHA-256 {sha256_of(theirs)}; with BGR: {embedder.weights_sha256}"
    assert "not checked: others made the graph" in examine(ours).table()


@pytest.mark.parametrize("words", [["--mean", "123", "116", "103"], ["--std", "58", "57", "57"]])
def test_mean_and_std_of_pixels_up_to_255_are_refused(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = small_graph(tmp_path / "theirs.onnx", [PROJECT], {"embeddings": ["N", 4]})
    assert main(["convert", str(theirs), "--output", str(tmp_path / "ours.onnx"), *SAID, *words]) == 2
    assert "lie in [0, 1] themselves" in capsys.readouterr().err


def test_weights_in_a_file_of_their_own_are_taken_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = small_graph(tmp_path / "theirs.onnx", [PROJECT], {"embeddings": ["N", 4]})
    model = onnx.load(theirs)
    onnx.save(model, theirs, save_as_external_data=True, location="theirs.data", size_threshold=0)
    assert (tmp_path / "theirs.data").stat().st_size >= 48
    monkeypatch.chdir("/")  # which is not where the weights are
    ours = tmp_path / "ours.onnx"
    assert main(["convert", str(theirs), "--output", str(ours), *SAID]) == 0
    crops = np.random.default_rng(0).integers(0, 256, (3, 8, 4, 3), dtype=np.uint8)
    expected = load_embedder(ours, RuntimeOptions(runtime="onnxruntime")).embed(crops)
    (tmp_path / "theirs.data").write_bytes(bytes(48))
    assert np.array_equal(load_embedder(ours, RuntimeOptions(runtime="onnxruntime")).embed(crops), expected)
    capsys.readouterr()
    assert main(["inspect", str(ours)]) == 0
    assert "coverage      not checked: others made the graph" in capsys.readouterr().out

    (tmp_path / "theirs.data").unlink()
    assert main(["convert", str(theirs), "--output", str(ours), *SAID]) == 2
    assert "keeps its weights in a file of its own, which cannot be read" in capsys.readouterr().err


def test_a_sealed_graph_with_weights_outside_is_refused(tmp_path: Path) -> None:
    theirs = small_graph(tmp_path / "theirs.onnx", [PROJECT], {"embeddings": ["N", 4]})
    onnx.save(onnx.load(theirs), theirs, save_as_external_data=True, location="theirs.data", size_threshold=0)
    metadata = GraphMetadata(WeightsMetadata("small", 4, Preprocessing(8, 4)), takes_pixels=False)
    theirs.write_bytes(seal_onnx(theirs.read_bytes(), metadata))
    with pytest.raises(CheckpointError, match=r"theirs\.onnx keeps weights in another file.*omnireid convert"):
        load_embedder(theirs)


def test_graphs_that_do_not_embed(tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--output", str(tmp_path / "ours.onnx"), "--architecture", "osnet_x0_25", *COLOURS]
    fixed = foreign(untrained, tmp_path / "fixed.onnx", batch=1)
    assert main(["convert", str(fixed), *words]) == 2
    assert "one batch of any size" in (message := capsys.readouterr().err)
    assert "tensor(float) [1, 3, 64, 32]" in message
    node = onnx.helper.make_node("Constant", [], ["y"], value_floats=[1.0, 2.0])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    graph = onnx.helper.make_graph([node], "none", [], [output])
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "none.onnx")
    assert main(["convert", str(tmp_path / "none.onnx"), *words]) == 2
    assert "its input and output are tensor(float) [2]" in capsys.readouterr().err
    (tmp_path / "text.onnx").write_text("text")
    assert main(["convert", str(tmp_path / "text.onnx"), *words]) == 2
    assert "text.onnx is text, not weights. It starts with 'text'" in capsys.readouterr().err
