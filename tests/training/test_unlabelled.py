"""Crops of unknown people beside the labelled ones: what a run learns from them, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.runs import SMALL, losses
from torch.nn import functional

from omnireid.data.training_data import NO_IDENTITY, load_training_data
from omnireid.data.unlabelled import add_unlabelled
from omnireid.errors import DataError, DataNotFoundError, RecipeError, SettingError
from omnireid.training.head import create_head
from omnireid.training.losses import cross_entropy
from omnireid.training.options import RunOptions
from omnireid.training.run import train

IMITATING = replace(SMALL, teacher_weight=1.0, graph_weight=1.0)


@pytest.fixture
def strangers(crop_folder: Path, tmp_path: Path) -> Path:
    """A folder of twelve crops whose names say nothing."""
    folder = tmp_path / "strangers" / "deep"
    folder.mkdir(parents=True)
    for number, path in enumerate(sorted(crop_folder.iterdir())):
        shutil.copy(path, folder / f"frame{number}{path.suffix}")
    return folder.parent


def test_unlabelled_crops_stand_behind_the_labelled_ones(options: RunOptions, strangers: Path) -> None:
    data = load_training_data(options.data)
    both = add_unlabelled(data, [strangers])
    assert both.paths[: len(data)] == data.paths
    assert [path.parent.name for path in both.paths[len(data) :]] == ["deep"] * 12
    assert both.identities[len(data) :].tolist() == [NO_IDENTITY] * 12
    assert both.identity_count == data.identity_count
    assert (data.has_unlabelled, both.has_unlabelled) == (False, True)
    assert both.cameras is None
    assert both.names == (*data.names, "strangers")
    assert both.licence == f"{data.licence}; unlabelled crops: unknown"
    assert both.fingerprint != data.fingerprint


def test_a_crop_that_is_labelled_already_is_not_taken_twice(options: RunOptions, strangers: Path) -> None:
    data = load_training_data(options.data)
    both = add_unlabelled(data, [strangers, data.paths[0]])
    assert len(both) == len(data) + 12
    with pytest.raises(DataError, match="among the labelled ones already"):
        add_unlabelled(data, [data.paths[0]])


def test_crops_that_the_run_is_scored_on_are_refused(options: RunOptions, strangers: Path) -> None:
    data = load_training_data(options.data)
    scored = sorted((strangers / "deep").iterdir())[:2]
    with pytest.raises(DataError, match="2 unlabelled crop.*scored on.*frame0"):
        add_unlabelled(data, [strangers], scored_on=scored)


def test_a_folder_without_pictures_is_refused(options: RunOptions, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataNotFoundError, match="empty"):
        add_unlabelled(load_training_data(options.data), [tmp_path / "empty"])


@pytest.mark.parametrize("head", ["linear", "bnneck", "cosine"])
def test_unlabelled_crops_add_nothing_to_the_cross_entropy(head: str) -> None:
    generator = torch.Generator().manual_seed(0)
    module = create_head(head, 6, 4, generator=generator, margin=0.1)  # type: ignore[arg-type]
    embeddings = torch.randn(5, 6, generator=generator, requires_grad=True)
    identities = torch.tensor([2, NO_IDENTITY, 0, NO_IDENTITY, 3])
    logits = module(embeddings, identities)
    loss = cross_entropy(logits, identities, smoothing=0.1)
    known = identities >= 0
    expected = functional.cross_entropy(logits[known], identities[known], label_smoothing=0.1) * 3 / 5
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[~known] == 0).all()
    assert (gradient[known].abs().sum(dim=1) > 0).all()


def test_a_batch_of_unlabelled_crops_alone_has_no_cross_entropy() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.full((3,), NO_IDENTITY), smoothing=0.1)
    assert loss.item() == 0


def test_a_run_learns_from_unlabelled_crops_and_says_so(
    options: RunOptions, untrained: Path, strangers: Path, tmp_path: Path
) -> None:
    run = replace(options, teacher=str(untrained), teacher_cache_folder=tmp_path / "teachers", unlabelled=(strangers,))
    train(replace(IMITATING, epochs=1), run)
    record = json.loads((run.output / "run.json").read_text())
    labelled = len(load_training_data(options.data))
    assert record["data"]["crops"] == labelled + 12
    assert record["data"]["names"][-1] == "strangers"
    assert record["data"]["roots"][-1] == str(strangers)
    assert len(losses(run.output)) == (labelled + 12) // 8
    assert np.isfinite(losses(run.output)).all()


def test_unlabelled_crops_need_a_teacher(options: RunOptions, strangers: Path) -> None:
    with pytest.raises(SettingError, match="--unlabelled.*without a teacher.*--teacher"):
        replace(options, unlabelled=(strangers,))


@pytest.mark.parametrize(
    ("changed", "flag"), [({"sampler": "identity"}, "--sampler"), ({"triplet_weight": 1.0}, "--triplet")]
)
def test_what_needs_to_know_each_person_is_refused(
    changed: dict[str, object], flag: str, options: RunOptions, untrained: Path, strangers: Path, tmp_path: Path
) -> None:
    run = replace(options, teacher=str(untrained), teacher_cache_folder=tmp_path / "teachers", unlabelled=(strangers,))
    with pytest.raises(RecipeError, match=f"{flag}.*--unlabelled"):
        train(replace(IMITATING, **changed), run)  # type: ignore[arg-type]
