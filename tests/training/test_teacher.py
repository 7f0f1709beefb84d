"""A teacher's embeddings: computed once, kept by content, and what a run does with them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.training.runs import SMALL, losses, same, stop_at_step

from omnireid import Embedder, WeightsMetadata
from omnireid.embedding.network import Network
from omnireid.errors import OutputError, RecipeError, ResumeError, StoppedError, TeacherError
from omnireid.images.decode import RgbArray
from omnireid.images.preprocess import Preprocessing
from omnireid.training.options import RunOptions
from omnireid.training.run import train
from omnireid.training.teacher import teach, teacher_folder
from omnireid.types import FloatArray
from omnireid.weights.artefact import read_artefact, read_metadata, write_artefact

CALLS: list[int] = []


def halves(pixels: RgbArray) -> FloatArray:
    """Mean colour of the left and the right half: a mirror image gives other numbers."""
    CALLS.append(len(pixels))
    middle = pixels.shape[2] // 2
    left, right = pixels[:, :, :middle], pixels[:, :, middle:]
    return np.concatenate([half.mean(axis=(1, 2), dtype=np.float32) for half in (left, right)], axis=1)


def teacher_of(run: object = halves, digest: str = "0" * 64) -> Embedder:
    metadata = WeightsMetadata("halves", embedding_dimension=6, preprocessing=Preprocessing(32, 16))
    return Embedder(metadata, Path("halves"), digest, Network("torch", "fp32", "cpu", run))  # type: ignore[arg-type]


@pytest.fixture
def crops(crop_folder: Path) -> list[Path]:
    CALLS.clear()
    return sorted(crop_folder.iterdir())


def test_targets_are_of_the_crop_and_of_its_mirror_image(crops: list[Path], tmp_path: Path) -> None:
    targets = teach(teacher_of(), crops, folder=tmp_path, progress=False)
    assert targets.shape == (12, 2, 6)
    np.testing.assert_allclose(np.linalg.norm(targets, axis=2), 1, rtol=1e-5)
    np.testing.assert_allclose(targets[:, 1], targets[:, 0][:, [3, 4, 5, 0, 1, 2]], atol=2e-3)


def test_what_was_embedded_is_not_embedded_again_wherever_it_lies(crops: list[Path], tmp_path: Path) -> None:
    first = teach(teacher_of(), crops[:8], folder=tmp_path, progress=False)
    assert sum(CALLS) == 16
    moved = [Path(shutil.copy(path, tmp_path / f"copy-{path.name}")) for path in reversed(crops)]
    CALLS.clear()
    again = teach(teacher_of(), moved, folder=tmp_path, progress=False)
    assert sum(CALLS) == 8
    np.testing.assert_array_equal(again[::-1][:8], first)


def test_other_weights_have_a_cache_of_their_own(crops: list[Path], tmp_path: Path) -> None:
    teach(teacher_of(), crops, folder=tmp_path, progress=False)
    CALLS.clear()
    teach(teacher_of(digest="1" * 64), crops, folder=tmp_path, progress=False)
    assert sum(CALLS) == 24


@pytest.mark.parametrize("damage", ["cut", "changed", "listing", "gone"])
def test_a_damaged_part_is_made_again(damage: str, crops: list[Path], tmp_path: Path) -> None:
    before = teach(teacher_of(), crops, folder=tmp_path, progress=False)
    (listing,) = teacher_folder(teacher_of(), tmp_path).glob("*.json")
    part = listing.with_suffix(".npy")
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-10])
    elif damage == "changed":
        part.write_bytes(part.read_bytes()[:-1] + b"x")
    elif damage == "gone":
        part.unlink()
    else:
        listing.write_text(json.dumps({"crops": 3}))
    CALLS.clear()
    np.testing.assert_array_equal(teach(teacher_of(), crops, folder=tmp_path, progress=False), before)
    assert sum(CALLS) == 24


def test_an_embedding_without_direction_is_refused_by_name(crops: list[Path], tmp_path: Path) -> None:
    def zero(pixels: RgbArray) -> FloatArray:
        return np.zeros((len(pixels), 6), dtype=np.float32)

    with pytest.raises(TeacherError, match=r"all zeros.*Leave the crop out"):
        teach(teacher_of(zero), crops, folder=tmp_path, progress=False)
    assert not list(tmp_path.rglob("*.npy"))


def test_an_embedding_that_is_not_finite_is_refused_by_name(crops: list[Path], tmp_path: Path) -> None:
    brightness = {path: Preprocessing(32, 16).resize(path).mean() for path in crops}
    brightest = max(crops, key=brightness.__getitem__)

    def broken_by_one(pixels: RgbArray) -> FloatArray:
        is_brightest = pixels.mean(axis=(1, 2, 3)) > brightness[brightest] - 1e-6
        return np.where(is_brightest[:, None], np.nan, halves(pixels)).astype(np.float32)

    with pytest.raises(TeacherError, match=rf"cannot teach: its embedding of .*{brightest.name} is not finite"):
        teach(teacher_of(broken_by_one), crops, folder=tmp_path, progress=False)
    assert not list(tmp_path.rglob("*.npy"))


IMITATING = replace(SMALL, identity_weight=0.5, teacher_weight=1.0, graph_weight=1.0)


def with_teacher(options: RunOptions, untrained: Path) -> RunOptions:
    return replace(options, teacher=str(untrained), teacher_cache_folder=options.output.parent / "teachers")


def test_a_run_with_a_teacher_ends_in_the_same_weights_after_an_interruption(
    options: RunOptions, untrained: Path, tmp_path: Path
) -> None:
    whole = with_teacher(options, untrained)
    trained = read_metadata(train(IMITATING, whole).weights)
    assert all(np.isfinite(losses(whole.output)))
    teacher = read_metadata(untrained)
    assert trained.training_data == f"synthetic, taught by osnet_x0_25 (trained on {teacher.training_data})"
    assert trained.licence.endswith(f"; {teacher.licence}")
    assert json.loads((whole.output / "run.json").read_text())["teacher"] == str(untrained)
    parts = replace(whole, output=tmp_path / "parts", checkpoint_every=1)
    stop_at_step(IMITATING, parts, 4, StoppedError("stopped by the test"))
    train(IMITATING, replace(parts, resume=True))
    assert same(whole.output / "last.safetensors", parts.output / "last.safetensors")


def test_a_graph_in_int8_can_teach(options: RunOptions, untrained_int8: bytes, tmp_path: Path) -> None:
    (tmp_path / "teacher.onnx").write_bytes(untrained_int8)
    train(replace(IMITATING, epochs=1), with_teacher(options, tmp_path / "teacher.onnx"))
    assert all(np.isfinite(losses(options.output)))


def test_a_student_comes_nearer_to_its_teacher(options: RunOptions, untrained: Path) -> None:
    run = with_teacher(options, untrained)
    recipe = replace(
        IMITATING, epochs=6, identity_weight=0.0, learning_rate=0.01, augmentation=type(SMALL.augmentation)()
    )
    train(recipe, run)
    entries = [json.loads(line) for line in (run.output / "log.jsonl").read_text().splitlines()]
    teacher_losses = [entry["teacher_loss"] for entry in entries if entry["kind"] == "step"]
    assert np.mean(teacher_losses[-3:]) < 0.7 * np.mean(teacher_losses[:3])


def test_another_teacher_does_not_resume_the_run_and_embeds_nothing_for_it(
    options: RunOptions, untrained: Path, tmp_path: Path
) -> None:
    run, another = with_teacher(options, untrained), tmp_path / "another.safetensors"
    tensors, metadata = read_artefact(untrained)
    write_artefact(another, tensors, replace(metadata, licence="MIT"))
    train(replace(IMITATING, epochs=1), run)
    assert run.teacher_cache_folder is not None
    before = list(run.teacher_cache_folder.iterdir())
    with pytest.raises(ResumeError, match="teacher"):
        train(replace(IMITATING, epochs=1), replace(run, teacher=str(another), resume=True))
    with pytest.raises(OutputError, match="already holds a run"):
        train(replace(IMITATING, epochs=1), replace(run, teacher=str(another)))
    assert list(run.teacher_cache_folder.iterdir()) == before


def test_a_run_whose_teacher_cannot_teach_writes_nothing(
    options: RunOptions, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> FloatArray:
        raise TeacherError("cannot teach")

    monkeypatch.setattr("omnireid.training.run.teach", refuse)
    with pytest.raises(TeacherError, match="cannot teach"):
        train(IMITATING, with_teacher(options, untrained))
    assert not [path for path in options.output.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("recipe", "teacher", "message"),
    [
        (SMALL, "osnet_x0_25.market1501", "would not be used: set --teacher-weight or --graph-weight above 0"),
        (IMITATING, None, "need a teacher: name its weights with --teacher"),
    ],
)
def test_a_teacher_and_its_losses_go_together(
    recipe: object, teacher: str | None, message: str, options: RunOptions
) -> None:
    with pytest.raises(RecipeError, match=message):
        train(recipe, replace(options, teacher=teacher))  # type: ignore[arg-type]
