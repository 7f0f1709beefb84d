"""Folders of roboflow's reid, against the package itself: run by make reid, where a missing package is a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from omnireid import create_model, load_embedder, synthesize
from omnireid.cli import main
from omnireid.embedding.options import RuntimeOptions
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import WeightsMetadata, write_artefact
from omnireid.weights.reid_folder import REID_ARCHITECTURES, write_reid_folder

pytestmark = [pytest.mark.reid, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TORCH = RuntimeOptions(runtime="torch", device="cpu")
METADATA = WeightsMetadata("osnet_x0_25", 512, licence="MIT", training_data="none")


def state_of(name: str) -> dict[str, Any]:
    """The state of a network whose norms have statistics of their own."""
    generator = torch.Generator().manual_seed(1)
    model = create_model(name, generator=generator).train()
    with torch.no_grad():
        model(torch.randn(4, 3, 64, 32, generator=generator))
    return {key: tensor.numpy() for key, tensor in model.state_dict().items()}


def error_of(found: Any, expected: Any) -> float:
    return float((np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


@pytest.fixture(scope="module")
def reid(reid_keys: Any) -> Any:
    return reid_keys.load_package()


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    people = synthesize(tmp_path_factory.mktemp("drawn") / "people", identities=4, cameras=2, per_camera=1, workers=1)
    return sorted(people.rglob("*.jpg"))


@pytest.mark.parametrize("name", REID_ARCHITECTURES)
def test_they_load_what_we_write(tmp_path: Path, crops: list[Path], reid: Any, name: str) -> None:
    size = Preprocessing(128, 64, (0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
    metadata = WeightsMetadata(name, 512, preprocessing=size)
    write_reid_folder(tmp_path / "ours", state_of(name), metadata)
    theirs = reid.ReIDModel.from_pretrained(str(tmp_path / "ours"), device="cpu")
    ours = load_embedder(tmp_path / "ours", TORCH)
    assert theirs.preprocessing.input_size == (128, 64)
    images = np.stack([size.apply(path) for path in crops])
    same_input = theirs._embed_batch(torch.from_numpy(images))
    expected = ours.embed(crops)
    assert error_of(same_input, expected) < 1e-5
    assert error_of(theirs.extract_embeddings_from_paths([str(path) for path in crops]), expected) < 1e-5


def test_we_load_what_they_write(tmp_path: Path, crops: list[Path], reid: Any) -> None:
    torch.manual_seed(3)
    theirs = reid.ReIDModel.from_pretrained(architecture="osnet_x0_25", device="cpu")
    theirs.save_pretrained(str(tmp_path / "theirs"))
    ours = load_embedder(tmp_path / "theirs", TORCH)
    expected = theirs.extract_embeddings_from_paths([str(path) for path in crops])
    assert error_of(ours.embed(crops), expected) < 1e-5
    assert main(["convert", str(tmp_path / "theirs"), "--to", "reid", "--output", str(tmp_path / "again")]) == 0
    again = reid.ReIDModel.from_pretrained(str(tmp_path / "again"), device="cpu")
    assert np.array_equal(again.extract_embeddings_from_paths([str(path) for path in crops]), expected)


def test_boxes_in_a_frame_are_embedded_as_their_crops(tmp_path: Path, crops: list[Path], reid: Any) -> None:
    import supervision

    write_reid_folder(tmp_path / "ours", state_of("osnet_x0_25"), METADATA)
    pictures = [np.asarray(Image.open(path).convert("RGB").resize((64, 128))) for path in crops]
    frame = np.concatenate(pictures, axis=1)[:, :, ::-1]  # as OpenCV reads a video: BGR
    boxes = [[64 * place, 0, 64 * place + 64, 128] for place in range(len(pictures))]
    detections = supervision.Detections(xyxy=np.array(boxes, dtype=np.float32))
    theirs = reid.ReIDModel.from_pretrained(str(tmp_path / "ours"), device="cpu")
    found = theirs.extract_embeddings(detections, np.ascontiguousarray(frame))
    assert error_of(found, load_embedder(tmp_path / "ours", TORCH).embed(pictures)) < 1e-5


def test_half_precision_is_loaded_too(tmp_path: Path, crops: list[Path], reid: Any) -> None:
    write_artefact(tmp_path / "w.safetensors", state_of("osnet_x0_25"), METADATA)
    words = ["convert", str(tmp_path / "w.safetensors"), "--to", "reid", "--half", "--output", str(tmp_path / "ours")]
    assert main(words) == 0
    theirs = reid.ReIDModel.from_pretrained(str(tmp_path / "ours"), device="cpu")
    found = theirs.extract_embeddings_from_paths([str(path) for path in crops])
    assert error_of(found, load_embedder(tmp_path / "ours", TORCH).embed(crops)) < 1e-5


def test_the_list_of_their_keys_is_theirs(golden: Path, reid: Any, reid_keys: Any) -> None:
    assert reid_keys.describe(reid) == json.loads((golden / "reid_keys.json").read_text())
