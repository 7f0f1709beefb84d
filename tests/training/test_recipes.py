from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields, replace
from typing import Any

import pytest

from omnireid.errors import RecipeError
from omnireid.models.zoo import find_architecture
from omnireid.training.augmentation import Augmentation
from omnireid.training.named_recipes import FINETUNE, RECIPES, SCRATCH, NamedRecipe
from omnireid.training.recipes import Recipe, flag_values

# The paper as /work/shared/PAPER.md has it, "Training". What it does not speak of is off.
PAPER: dict[str, Any] = {
    "model": "osnet_x1_0",
    "resolutions": ["256x128@0"],
    "batch_size": 64,
    "accumulate": 1,
    "sampler": "random",
    "head": "linear",
    "label_smoothing": 0.1,
    "triplet_weight": 0.0,
    "weight_decay": 5e-4,
    "warmup_epochs": 0.0,
    "schedule": "step",
    "decay": 0.1,
    "flip": 0.5,
    "jitter": 0.0,
    "average": 0.0,
    "clip_norm": 0.0,
    "precision": "fp32",
    "head_learning_rate": 1.0,
}
PAPER_SCRATCH = PAPER | {
    "optimiser": "sgd",
    "momentum": 0.9,
    "nesterov": False,
    "learning_rate": 0.065,
    "epochs": 350,
    "milestones": [150, 225, 300],
    "crop": 0.5,
    "crop_scale": 1.125,
    "patch": 0.5,
    "erasing": 0.0,
    "frozen_epochs": 0,
}
PAPER_FINETUNE = PAPER | {
    "optimiser": "adam",
    "amsgrad": True,
    "learning_rate": 0.0015,
    "epochs": 150,
    "milestones": [60, 120],
    "frozen_epochs": 10,
    "erasing": 0.5,
    "crop": 0.0,
    "patch": 0.0,
}


@pytest.mark.parametrize("named", RECIPES.values(), ids=RECIPES)
def test_every_named_recipe_can_be_run(named: NamedRecipe) -> None:
    recipe = named.recipe
    assert replace(recipe) == recipe  # its values are checked once more
    assert find_architecture(recipe.model).name == recipe.model
    rates = [recipe.rate_schedule.factor_at(epoch) for epoch in range(recipe.epochs)]
    assert max(rates) == pytest.approx(1)
    assert rates[-1] < 0.1
    assert named.summary
    assert "\n" not in named.summary


def test_the_names_on_the_command_line() -> None:
    assert list(RECIPES) == [
        "scratch",
        "finetune",
        "speedrun",
        "laptop",
        "marathon",
        "triplet",
        "general",
        "quick",
        "classify",
    ]
    assert (RECIPES["scratch"].recipe, RECIPES["finetune"].recipe) == (SCRATCH, FINETUNE)


@pytest.mark.parametrize(("name", "value"), PAPER_SCRATCH.items())
def test_scratch_is_the_papers(name: str, value: Any) -> None:
    assert flag_values(SCRATCH.json())[name] == value


@pytest.mark.parametrize(("name", "value"), PAPER_FINETUNE.items())
def test_finetune_is_the_papers(name: str, value: Any) -> None:
    assert flag_values(FINETUNE.json())[name] == value


@pytest.mark.parametrize("value", [Recipe, Augmentation])
def test_every_field_is_described(value: type[Recipe] | type[Augmentation]) -> None:
    text = inspect.getdoc(value)
    assert text is not None
    attributes = text.split("Attributes:\n")[1].split("\nRaises:")[0]
    described = re.findall(r"^    (\w+): \S", attributes, re.MULTILINE)
    assert described == [field.name for field in fields(value)]


CHOICES = {
    "task": "reidentify, classify",
    "sampler": "random, identity",
    "head": "linear, bnneck, cosine",
    "optimiser": "sgd, adam, adamw",
    "schedule": "constant, step, linear, cosine",
    "precision": "auto, fp64, fp32, bf16, fp16",
    "distance": "euclidean, cosine",
}


@pytest.mark.parametrize(("name", "choices"), CHOICES.items())
def test_unknown_choices_are_refused(name: str, choices: str) -> None:
    with pytest.raises(RecipeError, match=rf"^--{name} 'other' is not known: {choices}\.$"):
        Recipe(**{name: "other"})  # type: ignore[arg-type]
    for choice in choices.split(", "):
        metric = {"metric": "top1"} if choice == "classify" else {}
        assert getattr(Recipe(**{name: choice, **metric}), name) == choice  # type: ignore[arg-type]


def test_each_task_has_scores_of_its_own() -> None:
    assert Recipe(metric="rank1").metric == "rank1"
    assert Recipe(task="classify", metric="top5").metric == "top5"
    with pytest.raises(
        RecipeError, match=r"^--metric 'top1' is no score of --task reidentify, .*: rank1, mean_average"
    ):
        Recipe(metric="top1")
    with pytest.raises(RecipeError, match="^--metric 'rank1' is no score of --task classify, .*: top1, top5"):
        Recipe(task="classify", metric="rank1")


# Field, the nearest values that are refused, and the outermost that are taken.
RANGES: list[tuple[str, list[float], list[float]]] = [
    ("epochs", [0, -1], [1]),
    ("batch_size", [1, 0], [2]),
    ("accumulate", [0], [1]),
    ("images_per_identity", [0], [1]),
    ("cosine_scale", [0.0, -1.0], [0.001]),
    ("cosine_margin", [-0.1, 1.1], [0.0, 1.0]),
    ("label_smoothing", [-0.1, 1.0], [0.0, 0.99]),
    ("identity_weight", [-1.0], [0.0]),
    ("teacher_weight", [-1.0], [0.0]),
    ("graph_weight", [-1.0], [0.0]),
    ("graph_temperature", [0.0, -0.1], [0.001]),
    ("attribute_weight", [-1.0], [0.0]),
    ("triplet_weight", [-1.0], [0.0]),
    ("learning_rate", [-0.1], [0.0]),
    ("head_learning_rate", [-1.0], [0.0]),
    ("momentum", [-0.1, 1.0], [0.0]),
    ("weight_decay", [-1e-4], [0.0]),
    ("gate_weight_decay", [-1e-4], [0.0]),
    ("decay", [-0.1, 1.1], [0.0, 1.0]),
    ("clip_norm", [-1.0], [0.0]),
    ("average", [-0.1, 1.0], [0.0, 0.9999]),
    ("evaluate_every", [-1], [0]),
    ("seed", [-1, 2**63], [0, 2**62]),
]


@pytest.mark.parametrize(("name", "refused", "taken"), RANGES, ids=[name for name, *_ in RANGES])
def test_values_out_of_range_are_refused(name: str, refused: list[float], taken: list[float]) -> None:
    flag = name.replace("_", "-")
    for value in (*refused, float("nan")):
        with pytest.raises(RecipeError, match=rf"^--{flag} must lie between \S+ and \S+; got {value}\.$"):
            Recipe(**{name: value})  # type: ignore[arg-type]
    for value in taken:
        assert getattr(Recipe(**{name: value}), name) == value  # type: ignore[arg-type]


def test_every_number_has_a_range() -> None:
    free = {"triplet_margin"}  # None is a value of it, and below 0 it is a loss all the same
    ranged = {name for name, *_ in RANGES}
    numbers = {field.name for field in fields(Recipe) if str(field.type).startswith(("int", "float"))}
    assert numbers == ranged | free


def test_parts_must_divide_the_batch() -> None:
    assert Recipe(batch_size=64, accumulate=4).accumulate == 4
    with pytest.raises(RecipeError, match="--accumulate 3 does not divide --batch-size 64: its parts must be of one"):
        Recipe(batch_size=64, accumulate=3)


def test_nesterov_needs_momentum() -> None:
    assert Recipe(nesterov=True).nesterov
    with pytest.raises(RecipeError, match="--nesterov needs a momentum above 0"):
        Recipe(nesterov=True, momentum=0)


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("named", RECIPES.values(), ids=RECIPES)
def test_a_named_recipe_can_have_any_number_of_epochs(named: NamedRecipe, epochs: int) -> None:
    recipe = replace(named.recipe, epochs=epochs)
    *_, last = recipe.timetable.resolutions
    assert (last.height, last.width) == tuple(map(int, recipe.resolutions[-1].split("@")[0].split("x")))
    assert recipe.timetable.resolution_at(epochs - 1) == last
    assert all(0 <= milestone < epochs for milestone in recipe.timetable.milestones)
    share = named.recipe.timetable.warmup_epochs / named.recipe.epochs
    assert recipe.timetable.warmup_epochs == pytest.approx(share * epochs)


@pytest.mark.parametrize("named", RECIPES.values(), ids=RECIPES)
def test_a_recipe_comes_back_from_json(named: NamedRecipe) -> None:
    values = json.loads(json.dumps(named.recipe.json()))
    assert list(values) == [field.name for field in fields(Recipe)]
    again = Recipe(**values)
    assert again.timetable == named.recipe.timetable
    assert again.augmentation == named.recipe.augmentation
    assert again.json() == named.recipe.json()


def test_recipes_that_older_versions_wrote_compare_with_new_ones() -> None:
    written = Recipe(augmentation=Augmentation(crop=0.5, erasing=0.3)).json()
    augmentation = written.pop("augmentation")
    for unknown_then in ("erasing_area", "erasing_aspect"):
        del augmentation[unknown_then]
    assert flag_values(written | augmentation) == flag_values(
        Recipe(augmentation=Augmentation(crop=0.5, erasing=0.3)).json()
    )
    assert flag_values(written | augmentation)["erasing"] == 0.3
