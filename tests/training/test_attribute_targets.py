"""Attributes beside identities in a training run: the targets, the loss, and what a run does with them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.runs import SMALL, same, stop_at_step

from omnireid.data.attribute_sources import read_attributes
from omnireid.data.training_data import load_training_data
from omnireid.errors import DataError, RecipeError, ResumeError, StoppedError
from omnireid.training.attribute_targets import find_attribute_targets
from omnireid.training.journal import read_journal
from omnireid.training.losses import attribute_loss
from omnireid.training.options import RunOptions
from omnireid.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore:The training crops all agree")

JOINT = replace(SMALL, attribute_weight=1.0)


@pytest.fixture
def joint(options: RunOptions, people: Path) -> RunOptions:
    return replace(options, attributes=people)


def test_every_crop_gets_the_attributes_of_its_person(joint: RunOptions, people: Path, others: Path) -> None:
    data = load_training_data([people, others])
    found = find_attribute_targets(JOINT, replace(joint, data=(people, others)), data)
    assert found is not None
    attributes = read_attributes(people)
    assert attributes.person_ids is not None
    own = np.array([path.is_relative_to(people) for path in data.paths])
    assert 0 < own.sum() < len(data)
    assert not found.targets[~own].any(), "crops of other data sets have no weight"
    column = attributes.names.index(found.names[0])
    for path, (values, weights) in zip(data.paths, found.targets, strict=True):
        if path.is_relative_to(people):
            row = attributes.person_ids.tolist().index(int(path.name[:4]))
            assert values[0] == attributes.values[row, column]
            assert (weights > 0).all()
    assert found.targets[own, 1].mean(axis=0) == pytest.approx(np.ones(found.count), rel=1e-5)


def test_attributes_of_crops_are_found_by_path(options: RunOptions, people: Path, tmp_path: Path) -> None:
    data = load_training_data([people])
    listed = tmp_path / "mine.csv"
    with listed.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([["path", "mark"], *([path, index % 2] for index, path in enumerate(data.paths[:10]))])
    found = find_attribute_targets(JOINT, replace(options, attributes=listed), data)
    assert found is not None
    assert found.targets[:10, 0, 0].tolist() == [0, 1] * 5
    assert not found.targets[10:].any()


def test_the_loss_is_that_of_the_formula_and_unknown_crops_add_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=generator, requires_grad=True)
    values = torch.randint(0, 2, (5, 3), generator=generator).float()
    weights = torch.rand(5, 3, generator=generator)
    weights[4] = 0
    expected = sum(
        float(weights[i, k]) * -float(torch.nn.functional.logsigmoid((2 * values[i, k] - 1) * logits.detach()[i, k]))
        for i in range(5)
        for k in range(3)
    )
    loss = attribute_loss(logits, torch.stack([values, weights], dim=1))
    assert loss.item() == pytest.approx(expected / 15, rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[4].any()
    assert logits.grad[:4].all()


def test_the_network_learns_attributes_and_the_log_shows_it(joint: RunOptions) -> None:
    plain = type(SMALL.augmentation)()
    recipe = replace(JOINT, epochs=9, attribute_weight=10.0, identity_weight=0.0, average=0.0, augmentation=plain)
    train(recipe, joint)
    losses = [entry["attribute_loss"] for entry in read_journal(joint.output) if entry["kind"] == "step"]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_a_run_with_attributes_ends_in_the_same_weights_after_an_interruption(
    joint: RunOptions, tmp_path: Path
) -> None:
    train(JOINT, joint)
    parts = replace(joint, output=tmp_path / "parts", checkpoint_every=1)
    stop_at_step(JOINT, parts, 4, StoppedError("stopped by the test"))
    train(JOINT, replace(parts, resume=True))
    assert same(joint.output / "last.safetensors", parts.output / "last.safetensors")
    alone = replace(joint, attributes=None, output=tmp_path / "alone")
    train(SMALL, alone)
    assert not same(joint.output / "last.safetensors", alone.output / "last.safetensors")


def test_other_attributes_do_not_resume_the_run(joint: RunOptions, people: Path, tmp_path: Path) -> None:
    once = replace(JOINT, epochs=1)
    train(once, joint)
    changed = tmp_path / "other.csv"
    lines = (people / "attributes.csv").read_text(encoding="utf-8").splitlines()
    cells = lines[1].split(",")
    changed.write_text("\n".join([lines[0], ",".join([cells[0], *("01"[c == "0"] for c in cells[1:])]), *lines[2:]]))
    with pytest.raises(ResumeError, match=r"data set \(attributes\)"):
        train(once, replace(joint, attributes=changed, resume=True))


def test_attributes_and_their_loss_go_together(joint: RunOptions, options: RunOptions, others: Path) -> None:
    data = load_training_data(options.data)
    with pytest.raises(RecipeError, match="needs attributes: name their file or folder with --attributes"):
        find_attribute_targets(JOINT, options, data)
    with pytest.raises(RecipeError, match="would not be used: set --attribute-weight above 0"):
        find_attribute_targets(SMALL, joint, data)
    pictures = replace(JOINT, task="classify", metric="top1")
    with pytest.raises(RecipeError, match="fits crops of people only"):
        find_attribute_targets(pictures, joint, data)
    assert find_attribute_targets(SMALL, options, data) is None


def test_attributes_of_nobody_in_the_run_are_refused(options: RunOptions, people: Path, tmp_path: Path) -> None:
    strangers = tmp_path / "strangers.csv"
    strangers.write_text("person_id,hat\n900,1\n901,0\n")
    with pytest.raises(DataError, match=r"has attributes of none of the .* crops"):
        find_attribute_targets(JOINT, replace(options, attributes=strangers), load_training_data([people]))
