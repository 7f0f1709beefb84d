"""OpenVINO graphs that others made, through the front door."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops
from PIL import Image
from tests.weights.openvino_writer import HEIGHT, WEIGHT, WIDTH, write_graph_of_others

from omnireid import examine, load_embedder
from omnireid.bench.run_configurations import find_references, list_configurations
from omnireid.cli import main
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import CheckpointError, WeightsNotFoundError
from omnireid.files import sha256_of
from omnireid.images.decode import RgbArray
from omnireid.types import FloatArray
from omnireid.weights import published
from omnireid.weights.description import WeightsDescription
from omnireid.weights.graph_file import read_graph
from omnireid.weights.published import PUBLISHED_WEIGHTS, PublishedFile, PublishedWeights
from omnireid.weights.runtime_start import shared_core

CROPS = np.random.default_rng(1).integers(0, 256, (5, HEIGHT, WIDTH, 3), dtype=np.uint8)
OPENVINO = RuntimeOptions(runtime="openvino", precision="fp32", threads=1)
PIXELS = ["--range", "255"]


def embed(weights: Path, crops: RgbArray = CROPS) -> FloatArray:
    return load_embedder(weights, OPENVINO).embed(crops)


def expected(
    *, swapped: bool = False, top: float = 1, mean: Any = (0, 0, 0), std: Any = (1, 1, 1), weight: FloatArray = WEIGHT
) -> FloatArray:
    """What the graph of `write_graph_of_others` must give for the pixels it expects."""
    colours = (CROPS.astype(np.float64).mean(axis=(1, 2)) / 255 * top - mean) / std
    return np.asarray((colours[:, ::-1] if swapped else colours) @ weight.astype(np.float64), dtype=np.float32)


def convert(theirs: Path, *words: str) -> Path:
    ours = theirs.parent / "ours.xml"
    assert main(["convert", str(theirs), "--output", str(ours), *words]) == 0
    return ours


@pytest.mark.parametrize(
    ("graph", "words", "values"),
    [
        ({}, ["--channels", "bgr", *PIXELS], {"swapped": True, "top": 255}),
        ({"batch": -1}, ["--channels", "rgb", *PIXELS], {"top": 255}),
        (
            {"batch": 4, "half": True},
            ["--channels", "bgr", "--mean", "0.5", "0.4", "0.3", "--std", "0.2", "0.3", "0.25"],
            {"swapped": True, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.25)},
        ),
        ({"layout": "NHWC"}, [*PIXELS, "--mean", "120", "110", "100"], {"top": 255, "mean": (120, 110, 100)}),
        ({"layout": "NHWC", "kind": np.uint8, "batch": -1}, ["--channels", "bgr"], {"swapped": True, "top": 255}),
        ({"kind": np.float16}, ["--range", "1"], {}),
        ({"batch": 2, "counts_images": True}, ["--channels", "bgr", *PIXELS], {"swapped": True, "top": 255}),
        ({"batch": -1, "size": (-1, -1)}, [*PIXELS, "--height", str(HEIGHT), "--width", str(WIDTH)], {"top": 255}),
    ],
)
def test_an_adopted_graph_gives_what_the_original_gives_for_the_pixels_it_expects(
    tmp_path: Path, graph: dict[str, Any], words: list[str], values: dict[str, Any]
) -> None:
    ours = convert(write_graph_of_others(tmp_path / "theirs.xml", **graph), *words)
    wanted = expected(**values) + ("counts_images" in graph)
    assert np.allclose(embed(ours), wanted, atol=2e-3 * np.abs(wanted).max())
    assert read_graph(ours).metadata.fixed_batch == (2 if "counts_images" in graph else None)
    assert read_graph(ours).metadata.precision == ("fp16" if "half" in graph else "fp32")


def test_the_artefact_says_what_was_said_of_the_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = write_graph_of_others(tmp_path / "theirs.xml")
    words = [
        "--distance",
        "cosine",
        "--licence",
        "MIT",
        "--training-data",
        "our shop",
        "--source",
        "https://shop.example",
    ]
    ours = convert(theirs, "--channels", "bgr", *PIXELS, *words)
    embedder = load_embedder(ours)
    assert embedder.runtime == "openvino"
    metadata = embedder.metadata
    assert (metadata.architecture, metadata.distance, metadata.licence) == ("theirs", "cosine", "MIT")
    assert (metadata.training_data, metadata.embedding_dimension) == ("our shop", 4)
    both = hashlib.sha256(theirs.read_bytes() + theirs.with_suffix(".bin").read_bytes()).hexdigest()
    made_from = f"https://shop.example: theirs.xml and its .bin, one after the other, SHA-256 {both}; with BGR: "
    assert metadata.origin == made_from + embedder.weights_sha256
    shown = examine(ours).table()
    assert "omnireid graph (openvino, fp32); it matches its checksum" in shown
    assert "(N, H, W, 3) uint8, normalised inside" in shown
    assert "not checked: others made the graph" in shown


def test_other_values_beside_the_same_xml_are_other_weights(tmp_path: Path) -> None:
    theirs = write_graph_of_others(tmp_path / "theirs.xml")
    one = load_embedder(convert(theirs, *PIXELS), OPENVINO)
    values = theirs.with_suffix(".bin").read_bytes()
    assert WEIGHT.tobytes() in values
    theirs.with_suffix(".bin").write_bytes(values.replace(WEIGHT.tobytes(), (2 * WEIGHT).tobytes()))
    other = load_embedder(convert(theirs, *PIXELS), OPENVINO)
    assert one.weights_sha256 != other.weights_sha256
    assert np.allclose(other.embed(CROPS), 2 * one.embed(CROPS), rtol=1e-4)


def test_the_same_files_taken_in_another_way_are_other_weights(tmp_path: Path) -> None:
    theirs = write_graph_of_others(tmp_path / "theirs.xml", second_output=True)
    ways = (["embeddings"], ["embeddings", "--channels", "bgr"], ["colours"])
    found = {read_graph(convert(theirs, *PIXELS, "--output-name", *way)).metadata.weights_sha256 for way in ways}
    assert len(found) == 3
    again = read_graph(convert(theirs, *PIXELS, "--licence", "MIT", "--output-name", "colours")).metadata
    assert again.weights_sha256 in found


def test_bench_runs_a_graph_in_half_precision_in_float32_and_bfloat16_too(tmp_path: Path) -> None:
    ours = convert(write_graph_of_others(tmp_path / "theirs.xml", half=True), *PIXELS)
    assert [way.name for way in list_configurations([ours], ["openvino"])] == [
        "openvino fp32",
        "openvino bf16",
        "openvino fp16",
    ]
    reference = find_references([ours])[ours]
    assert reference is not None
    assert reference.name == "openvino fp32"


def refuse(theirs: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The error of a conversion, after which nothing is left."""
    before = set(theirs.parent.iterdir())
    capsys.readouterr()
    assert main(["convert", str(theirs), "--output", str(theirs.parent / "ours.xml"), *words]) == 2
    assert set(theirs.parent.iterdir()) == before
    return capsys.readouterr().err


def test_one_of_two_outputs_is_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = write_graph_of_others(tmp_path / "theirs.xml", second_output=True)
    message = refuse(theirs, *PIXELS, capsys=capsys)
    assert "has 2 outputs, and nothing is guessed: embeddings [1,4], colours [1,3]" in message
    assert "--output-name NAME" in message
    assert "has no output 'x'. Its outputs are: embeddings" in refuse(theirs, "--output-name", "x", capsys=capsys)
    ours = convert(theirs, *PIXELS, "--output-name", "colours")
    assert np.allclose(embed(ours), CROPS.mean(axis=(1, 2)), rtol=1e-4)


def test_values_that_are_missing_or_of_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = write_graph_of_others(tmp_path / "theirs.xml")
    values = theirs.with_suffix(".bin")
    content = values.read_bytes()
    values.unlink()
    message = refuse(theirs, *PIXELS, capsys=capsys)
    assert re.search(
        r"No such file of weights: .*theirs\.bin\. An OpenVINO graph is two files.*get the missing", message
    )
    for other in (content[:-1], content + bytes(64), write_graph_of_others(tmp_path / "b.xml", weight=WEIGHT[:, :2])):
        values.write_bytes(other if isinstance(other, bytes) else other.with_suffix(".bin").read_bytes())
        assert re.search(r"The \.bin beside .*another model\. Get both files again", refuse(theirs, capsys=capsys))


def test_an_artefact_beside_the_values_of_another_is_refused(tmp_path: Path) -> None:
    ours = convert(write_graph_of_others(tmp_path / "theirs.xml"), *PIXELS)
    other = tmp_path / "other"
    other.mkdir()
    theirs = convert(write_graph_of_others(other / "theirs.xml", weight=-WEIGHT), *PIXELS)
    shutil.copy(theirs.with_suffix(".bin"), ours.with_suffix(".bin"))
    with pytest.raises(CheckpointError, match=r"or the \.bin beside it is of another graph.*omnireid convert"):
        load_embedder(ours)
    ours.with_suffix(".bin").unlink()
    with pytest.raises(WeightsNotFoundError, match=r"ours\.bin"):
        load_embedder(ours)


def test_a_channel_order_that_contradicts_what_is_known(
    tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--channels", "bgr", "--output", str(tmp_path / "again.safetensors")]
    assert main(["convert", str(untrained), *words]) == 2
    assert re.search(r"omnireid builds itself: it takes red, green.*Leave --channels out", capsys.readouterr().err)

    theirs = write_graph_of_others(tmp_path / "theirs.xml")
    ours = convert(theirs, "--channels", "bgr", *PIXELS)
    assert main(["convert", str(ours), "--channels", "rgb", "--output", str(tmp_path / "again.xml")]) == 2
    assert "ours.xml is an omnireid graph already: it takes red, green and blue pixels" in capsys.readouterr().err

    files = tuple(PublishedFile(file.name, sha256_of(file)) for file in (theirs, theirs.with_suffix(".bin")))
    said = WeightsDescription(channels="bgr", range=255, distance="cosine")
    known = PublishedWeights("shop/w", "w", "shoppers", "MIT", "https://shop.example", files, description=said)
    monkeypatch.setattr(published, "PUBLISHED_WEIGHTS", {"shop/w": known})
    copy = tmp_path / "copy.xml"
    shutil.copy(theirs, copy)
    shutil.copy(theirs.with_suffix(".bin"), copy.with_suffix(".bin"))
    message = refuse_again(copy, "--channels", "rgb", capsys=capsys)
    assert "copy.xml is shop/w, which has --channels bgr; --channels rgb contradicts that" in message
    with pytest.raises(CheckpointError, match=r"is shop/w as its publisher gives it\. .*omnireid convert copy\.xml"):
        load_embedder(copy)
    assert main(["convert", str(copy), "--output", str(ours)]) == 0
    metadata = load_embedder(ours, OPENVINO).metadata
    assert (metadata.architecture, metadata.licence, metadata.distance) == ("w", "MIT", "cosine")
    assert np.allclose(embed(ours), expected(swapped=True, top=255), rtol=1e-3)
    write_graph_of_others(tmp_path / "b.xml", weight=-WEIGHT)
    shutil.copy(tmp_path / "b.bin", copy.with_suffix(".bin"))
    assert "copy.bin beside it is another file than the one published with it" in refuse_again(copy, capsys=capsys)


def refuse_again(theirs: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["convert", str(theirs), "--output", str(theirs.parent / "again.xml"), *words]) == 2
    assert not (theirs.parent / "again.xml").exists()
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("graph", "words", "message"),
    [
        ({}, [], r"nothing is guessed\. Say --mean, --std: whoever made it knows\. .*needs --range 255"),
        ({"size": (-1, -1)}, PIXELS, r"Say --height, --width: whoever"),
        ({}, [*PIXELS, "--height", "64"], r"takes crops of 8 × 4 only, not --height 64"),
        ({}, [*PIXELS, "--half"], "leave --half out"),
        ({"kind": np.uint8, "layout": "NHWC"}, ["--range", "1"], r"--range 1 contradicts"),
        ({"weight": np.zeros((3, 0), np.float32)}, PIXELS, r"gives embeddings of no values \(output 'embeddings'\)"),
        ({"kind": np.uint8, "layout": "NHWC"}, ["--mean", "0.5", "0.5", "0.5"], r"would change nothing\. Leave --mean"),
        ({}, [*PIXELS, "--mean", "300", "0", "0"], r"With --range 255, mean and std lie between 0 and 255; got"),
        ({"size": (8000, 4)}, PIXELS, r"takes images of 8000 × 4 pixels .*at most 4,096 a side"),
        ({"weight": 0 * WEIGHT}, PIXELS, "gives 7 different crops the same embedding"),
        ({"weight": np.inf * WEIGHT}, PIXELS, "gives values that are not finite"),
        ({"kind": np.int32}, PIXELS, r"cannot be used for embedding: .*its input and output are i32 \[1,3,8,4\]"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, graph: dict[str, Any], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = write_graph_of_others(tmp_path / "theirs.xml", **graph)
    assert re.search(message, refuse(theirs, *words, capsys=capsys))


def test_a_graph_whose_crops_change_each_other_is_run_one_batch_at_a_time_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = ops.parameter(openvino.PartialShape([-1, 3, HEIGHT, WIDTH]), np.float32)
    means = ops.reduce_mean(images, ops.constant(np.array([2, 3], np.int64)), keep_dims=False)
    model = openvino.Model([ops.softmax(means, 0).output(0)], [images], "theirs")
    openvino.save_model(model, tmp_path / "theirs.xml")
    message = refuse(tmp_path / "theirs.xml", "--range", "1", capsys=capsys)
    assert re.search("another embedding in a batch of 1 than in a batch of 7", message)


def test_an_unknown_operation_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = write_graph_of_others(tmp_path / "theirs.xml")
    theirs.write_text(theirs.read_text().replace('type="ReduceMean"', 'type="Conjure"'))
    assert re.search(r"OpenVINO cannot read .*theirs\.xml: .*Conjure", refuse(theirs, *PIXELS, capsys=capsys))


def test_an_output_must_not_overwrite_the_values_it_is_made_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = write_graph_of_others(tmp_path / "theirs.xml")
    (tmp_path / "ours.bin").symlink_to(theirs.with_suffix(".bin"))
    assert "it is an input of this command" in refuse(theirs, *PIXELS, capsys=capsys)
    assert main(["convert", str(theirs), "--output", str(tmp_path / "ours.onnx"), *PIXELS]) == 2
    assert "ends in .xml" in capsys.readouterr().err


@pytest.mark.real
def test_the_local_copies_are_the_published_files(shared: Path) -> None:
    for weights in PUBLISHED_WEIGHTS.values():
        for file in weights.files if weights.publisher == "openvino" else ():
            content = (shared / "weights" / "omz" / file.name).read_bytes()
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size)
            assert file.sha384 in (None, hashlib.sha384(content).hexdigest())


@pytest.mark.real
@pytest.mark.parametrize("number", ["0277", "0286", "0287", "0288"])
def test_a_published_graph_gives_the_embeddings_that_openvino_gives_for_its_pixels(
    shared: Path, tmp_path: Path, number: str
) -> None:
    theirs = shared / "weights" / "omz" / f"person-reidentification-retail-{number}.xml"
    ours = tmp_path / "ours.xml"
    assert main(["convert", str(theirs), "--output", str(ours)]) == 0
    paths = sorted((shared / "data").glob("Market-1501*/query/*.jpg"))[:8]
    assert len(paths) == 8
    found = load_embedder(ours, RuntimeOptions(precision="fp32")).embed(paths)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    request = shared_core().compile_model(str(theirs), "CPU", exact).create_infer_request()
    for path, embedding in zip(paths, found, strict=True):
        pixels = np.asarray(Image.open(path).convert("RGB").resize((128, 256), Image.Resampling.BILINEAR))
        direct = request.infer({0: pixels[np.newaxis, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)})[0][0]
        cosine = embedding @ direct / np.linalg.norm(embedding) / np.linalg.norm(direct)
        assert cosine > 0.9999
