"""Explanations held against the network in torch, against plain sums, and against a case whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from omnireid import Embedder, RuntimeOptions, create_model, explain, load_embedder, measure_gates, synthesize
from omnireid.data.listing import list_crops
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import (
    CheckpointError,
    DataNotFoundError,
    ExplanationError,
    ImageError,
    SettingError,
    ShapeError,
)
from omnireid.explanation.explanation import MOST_CROPS, Explanation
from omnireid.explanation.gates import find_nearest_gates
from omnireid.images.decode import read_image
from omnireid.images.preprocess import Preprocessing
from omnireid.models.backbone import Backbone
from omnireid.models.osnet import OSNet
from omnireid.models.state import load_state
from omnireid.models.zoo import ARCHITECTURES
from omnireid.reports.explanation_page import draw_explanation
from omnireid.types import FloatArray
from omnireid.weights.artefact import WeightsMetadata, write_artefact
from omnireid.weights.graph_file import seal_onnx

SIZE = Preprocessing(64, 32)
GATED = ["osnet_x0_25", "osnet_ain_x0_25", "osnet_x0_25_separate_gates", "osnet_x0_25_stream_weights"]
DESIGNS = [
    *GATED,
    "osnet_retail_x0_25",
    "osnet_x0_25_fixed_gates",
    "osnet_x0_25_concatenation",
    "osnet_x0_25_one_stream",
]


def lived_in(name: str) -> OSNet:
    """A network whose biases, norms and gates are not those of a newborn."""
    model = create_model(name).eval()
    assert isinstance(model, OSNet)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif ".gate." in key and "logits" not in key:
                tensor.uniform_(0.1, 0.5, generator=generator)  # positive, so that no gate's ReLU is dead
            elif key.endswith(("bias", "running_mean", "logits")):
                tensor.normal_(0, 0.2, generator=generator)
    return model


def load(model: Backbone, name: str, folder: Path) -> Embedder:
    path = folder / f"{name}.safetensors"
    tensors = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    write_artefact(path, tensors, WeightsMetadata(name, model.embedding_width, preprocessing=SIZE))
    return load_embedder(path, RuntimeOptions(runtime="onnxruntime"))


@pytest.fixture(scope="session")
def crops(crop_folder: Path) -> list[Path]:
    return sorted(crop_folder.iterdir())


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return load(lived_in("osnet_x0_25"), "osnet_x0_25", tmp_path_factory.mktemp("explained"))


def similarities(embedder: Embedder, crops: list[Path]) -> tuple[FloatArray, FloatArray]:
    """Cosine similarities and squared distances of all pairs, from the embeddings alone."""
    embeddings = embedder.embed(crops).astype(np.float64)
    directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    squares = ((embeddings[:, None] - embeddings[None]) ** 2).sum(axis=2)
    return directions @ directions.T, squares


@pytest.mark.parametrize("name", DESIGNS)
def test_the_parts_of_every_pair_add_up_to_its_similarity(name: str, tmp_path: Path, crops: list[Path]) -> None:
    embedder = load(lived_in(name), name, tmp_path)
    explanation = explain(embedder, crops)
    cosines, squares = similarities(embedder, crops)
    constants = []
    for first in range(len(crops)):
        for second in range(len(crops)):
            pair = explanation.pair(first, second)
            for part in pair.cosine_maps:
                assert abs(part.places.sum() + part.constant - cosines[first, second]) <= 1e-5
                constants.append(part.constant)
            parts = sum(part.places.sum() + part.constant for part in pair.distance_maps)
            assert abs(parts - squares[first, second]) <= 1e-5 * max(1, squares.max())
            assert abs(pair.squared_distance - squares[first, second]) <= 1e-5 * max(1, squares.max())
    assert np.abs(constants).min() > 1e-3, "the constant term would not be tested"


@pytest.mark.parametrize("name", ["mobilenetv2_x1_0", pytest.param("resnet50_fc512", marks=pytest.mark.slow)])
def test_networks_without_streams_show_maps_and_pairs_and_say_that_they_have_no_gates(
    name: str, tmp_path: Path, crops: list[Path], rule: Any
) -> None:
    model = create_model(name).eval()
    shapes = ARCHITECTURES[name].key_layout.shapes
    load_state(model, {key: rule.array(key, list(shape)) for key, shape in shapes.items()})
    embedder = load(model, name, tmp_path)
    explanation = explain(embedder, crops[:3])
    pixels = np.stack([np.asarray(Image.fromarray(read_image(path)).resize((32, 64))) for path in crops[:3]])
    with torch.inference_mode():
        maps = model.forward_features(torch.from_numpy(SIZE.normalise(pixels))).numpy()
    assert np.allclose(explanation.maps, maps, rtol=1e-4, atol=1e-4 * maps.max())
    cosines, squares = similarities(embedder, crops[:3])
    lengths = (explanation.embeddings.astype(np.float64) ** 2).sum(axis=1)
    assert cosines[0, 1] < 0.9999, "the crops would not be told apart"
    for first, second in ((0, 1), (2, 0), (1, 1)):
        pair = explanation.pair(first, second)
        for part in pair.cosine_maps:
            assert abs(part.places.sum() + part.constant - cosines[first, second]) <= 1e-5
        parts = sum(part.places.sum() + part.constant for part in pair.distance_maps)
        assert abs(parts - squares[first, second]) <= 1e-5 * lengths.max()
    with pytest.raises(ExplanationError, match=f"{name} has no gates: it has no parallel streams"):
        measure_gates(embedder, crops[:1])
    draw_explanation(explanation, tmp_path / "page.html")
    assert "it has no parallel streams" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("name", [*GATED, "osnet_x0_25_fixed_gates"])
def test_maps_and_gates_are_those_of_the_network_in_torch(name: str, tmp_path: Path, crops: list[Path]) -> None:
    model = lived_in(name)
    explanation = explain(load(model, name, tmp_path), crops)
    pixels = np.stack([np.asarray(Image.fromarray(read_image(path)).resize((32, 64))) for path in crops])
    with torch.inference_mode():
        images = torch.from_numpy(SIZE.normalise(pixels))
        maps, gates = model.forward_features(images).numpy(), model.forward_gates(images)
    assert np.allclose(explanation.maps, maps, rtol=1e-4, atol=1e-4 * maps.max())
    assert np.allclose(explanation.activation(), np.sqrt((maps**2).sum(axis=1)), rtol=1e-4, atol=1e-4 * maps.max())
    assert explanation.gates.blocks == tuple(gates)
    for found, expected in zip(explanation.gates.weights, gates.values(), strict=True):
        assert np.allclose(found, expected.numpy(), atol=1e-5)


def test_a_part_copied_from_another_crop_speaks_for_the_likeness(tmp_path: Path) -> None:
    """The upper half of one drawn person is pasted onto another: what the likeness gains lies there."""
    people = synthesize(tmp_path / "people", identities=6, cameras=2, per_camera=1, workers=1)
    first, other = (Image.open(next(people.rglob(f"{name}_c1*"))) for name in ("0002", "0004"))
    second = other.resize(first.size)
    mixed = second.copy()
    mixed.paste(first.crop((0, 0, first.width, first.height // 2)), (0, 0))
    paths = [tmp_path / f"{name}.png" for name in ("first", "second", "mixed")]
    for path, image in zip(paths, (first, second, mixed), strict=True):
        image.save(path)
    explanation = explain(load_embedder("osnet_x0_25.market1501", RuntimeOptions(runtime="onnxruntime")), paths)
    before, after = explanation.pair(0, 1), explanation.pair(0, 2)
    gain = (after.cosine_maps[1].places - before.cosine_maps[1].places).sum(axis=1)
    assert after.cosine > before.cosine + 0.1
    assert gain[:8].sum() > 0.1
    assert abs(gain[8:].sum()) < 0.2 * gain[:8].sum()


def test_the_gates_of_a_set_are_averaged_and_shared_out(embedder: Embedder, crops: list[Path]) -> None:
    gates = measure_gates(embedder, crops)
    assert gates.receptive_fields == (3, 5, 7, 9)
    for number, (weights, means) in enumerate(zip(gates.weights, gates.stream_means, strict=True)):
        assert weights.shape == means.shape == (12, 4, weights.shape[2])
        for stream in range(4):
            assert gates.mean_weights()[number, stream] == pytest.approx(weights[:, stream].mean(), abs=1e-6)
            share = (weights[:, stream] * means[:, stream]).sum() / (weights * means).sum()
            assert gates.shares()[number, stream] == pytest.approx(share, abs=1e-5)
        assert gates.variation()[number] == pytest.approx(np.std(weights, axis=0).max(), abs=1e-6)
    assert "conv4.1" in gates.table()
    assert gates.json()["mean_gates"] == gates.mean_weights().tolist()
    with pytest.raises(ShapeError, match="12 crops × 4 streams"):
        replace(gates, weights=gates.weights[:-1])


def test_gates_can_be_seen_by_camera(embedder: Embedder, crops: list[Path]) -> None:
    gates = measure_gates(embedder, list_crops([str(crops[0].parent)]))
    first, second = gates.by_camera().values()
    assert len(first) == len(second) == 6
    assert np.allclose((first.mean_weights() + second.mean_weights()) / 2, gates.mean_weights())
    assert measure_gates(embedder, crops).by_camera() == {}


def test_the_nearest_gates_are_those_a_plain_search_finds(embedder: Embedder, crops: list[Path]) -> None:
    gates = measure_gates(embedder, crops)
    nearest = find_nearest_gates(gates, gates, count=12, block="conv3.1")
    flat = gates.weights[gates.blocks.index("conv3.1")].reshape(12, -1)
    for row in range(12):
        distances = {other: float(np.linalg.norm(flat[row] - flat[other])) for other in range(12) if other != row}
        expected = sorted(distances, key=lambda other: distances[other])
        assert nearest.indices[row].tolist() == [*expected, -1]
        assert np.allclose(nearest.distances[row, :11], [distances[other] for other in expected], rtol=1e-4)
    assert find_nearest_gates(gates, gates).block == "conv4.1"
    with pytest.raises(ExplanationError, match="no block 'conv9' with gates: conv2.0"):
        find_nearest_gates(gates, gates, block="conv9")
    with pytest.raises(SettingError, match="count"):
        find_nearest_gates(gates, gates, count=0)


def test_gates_that_are_the_same_for_every_crop_are_not_ranked(tmp_path: Path, crops: list[Path]) -> None:
    model = lived_in("osnet_x0_25")
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.startswith("conv4.1.gate.expand"):
                tensor.zero_()
    gates = measure_gates(load(model, "osnet_x0_25", tmp_path), crops)
    assert "conv4.1" in gates.steady_blocks()
    assert "conv4.0" not in gates.steady_blocks()
    assert find_nearest_gates(gates, gates).block == "conv4.0"
    with pytest.raises(ExplanationError, match=r"conv4.1 are the same for all 12 crops .* vary: conv2.0, .*conv4.0\."):
        find_nearest_gates(gates, gates, block="conv4.1")
    fixed = measure_gates(load(lived_in("osnet_x0_25_fixed_gates"), "osnet_x0_25_fixed_gates", tmp_path), crops)
    assert not fixed.follow_input
    with pytest.raises(ExplanationError, match="learned and then fixed"):
        find_nearest_gates(fixed, fixed)
    with pytest.raises(ShapeError, match="cannot be compared"):
        find_nearest_gates(gates, fixed)


def test_a_network_without_gates_says_so(tmp_path: Path, crops: list[Path]) -> None:
    name = "osnet_x0_25_concatenation"
    embedder = load(lived_in(name), name, tmp_path)
    assert explain(embedder, crops).gates.blocks == ()
    with pytest.raises(ExplanationError, match=f"{name} has no gates"):
        measure_gates(embedder, crops)


def test_a_crop_that_cannot_be_read_is_left_out_and_listed(
    embedder: Embedder, crops: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    explanation = explain(embedder, [crops[0], broken, crops[1]])
    assert explanation.crops.paths == (crops[0], crops[1])
    assert [path for path, _ in explanation.skipped] == [str(broken)]
    assert np.array_equal(explanation.embeddings[1], explain(embedder, [crops[0], crops[1]]).embeddings[1])
    with pytest.raises(ImageError, match=r"None of the 1 crops can be read.*broken\.jpg"):
        explain(embedder, [broken])


def write_graph(source: Path, target: Path, precision: str, architecture: str) -> Path:
    graph = WeightsFile(source).make_graph("fp16" if precision == "fp16" else "fp32")
    weights = replace(graph.metadata.weights, architecture=architecture)
    target.write_bytes(seal_onnx(graph.content, replace(graph.metadata, weights=weights)))
    return target


def test_our_own_graph_in_float32_is_explained_like_its_weights(
    embedder: Embedder, crops: list[Path], tmp_path: Path
) -> None:
    path = write_graph(embedder.weights, tmp_path / "ours.onnx", "fp32", "osnet_x0_25")
    ours = explain(load_embedder(path, RuntimeOptions(runtime="onnxruntime")), crops)
    assert np.array_equal(ours.maps, explain(embedder, crops).maps)
    assert ours.weights_sha256 == embedder.weights_sha256


@pytest.mark.parametrize(
    ("precision", "architecture", "message"),
    [
        ("fp32", "strangers_network", "a graph made by others.*Possible with any weights: omnireid evaluate --picture"),
        ("fp16", "osnet_x0_25", "in fp16, whose inner tensors.*Give the weights it was exported from"),
    ],
)
def test_a_graph_that_shows_no_maps_is_refused_with_what_is_possible(
    embedder: Embedder, crops: list[Path], tmp_path: Path, precision: str, architecture: str, message: str
) -> None:
    path = write_graph(embedder.weights, tmp_path / "graph.onnx", precision, architecture)
    with pytest.raises(ExplanationError, match=message):
        explain(load_embedder(path, RuntimeOptions(runtime="onnxruntime")), crops)


def test_a_network_whose_tensors_nobody_named_is_refused(
    embedder: Embedder, crops: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    unnamed = {**ARCHITECTURES, "osnet_x0_25": replace(ARCHITECTURES["osnet_x0_25"], observed=None)}
    monkeypatch.setattr("omnireid.explanation.observed_network.ARCHITECTURES", unnamed)
    with pytest.raises(ExplanationError, match="osnet_x0_25, of which omnireid does not know the maps"):
        explain(embedder, crops)


def test_weights_that_changed_since_they_were_loaded_are_refused(crops: list[Path], tmp_path: Path) -> None:
    embedder = load(lived_in("osnet_x0_25"), "osnet_x0_25", tmp_path)
    load(create_model("osnet_x0_25"), "osnet_x0_25", tmp_path)
    with pytest.raises(CheckpointError, match="has changed since the embedder was loaded"):
        explain(embedder, crops)


def test_wrong_arguments_are_refused(embedder: Embedder, crops: list[Path]) -> None:
    with pytest.raises(DataNotFoundError, match="no crop to explain"):
        explain(embedder, [])
    with pytest.raises(SettingError, match=f"At most {MOST_CROPS} crops.*measure_gates"):
        explain(embedder, [crops[0]] * (MOST_CROPS + 1))
    with pytest.raises(SettingError, match="what load_embedder gives"):
        explain("weights", crops)  # type: ignore[arg-type]
    explanation = explain(embedder, crops[:2])
    with pytest.raises(SettingError, match="There is no crop 2: 2 are explained"):
        explanation.pair(0, 2)
    with pytest.raises(ShapeError, match="2 crops need as many embeddings"):
        replace(explanation, maps=explanation.maps[:1])
    assert isinstance(explanation, Explanation)
