from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.errors import RecipeError
from omnireid.training.named_recipes import FINETUNE, SCRATCH
from omnireid.training.recipes import Recipe
from omnireid.training.schedules import Schedule, ScheduleName


def of_recipe(recipe: Recipe) -> Schedule:
    return recipe.rate_schedule


@pytest.mark.parametrize(
    ("recipe", "rates"),
    [
        # Zhou et al., ICCV 2019, section 4.1: 0.065, a tenth at epochs 150, 225 and 300; 0.0015, a tenth at 60 and 120.
        (SCRATCH, {0: 0.065, 149.99: 0.065, 150: 0.0065, 224: 0.0065, 225: 0.00065, 300: 0.000065, 350: 0.000065}),
        (FINETUNE, {0: 0.0015, 59: 0.0015, 60: 0.00015, 119.5: 0.00015, 120: 0.000015, 150: 0.000015}),
    ],
    ids=["scratch", "finetune"],
)
def test_the_papers_rates(recipe: Recipe, rates: dict[float, float]) -> None:
    schedule = of_recipe(recipe)
    found = {epoch: recipe.learning_rate * schedule.factor_at(epoch) for epoch in rates}
    assert found == pytest.approx(rates)


@pytest.mark.parametrize(
    ("kind", "start", "middle", "end"),
    [("constant", 1.0, 1.0, 1.0), ("step", 1.0, 1.0, 1.0), ("linear", 1.0, 0.5, 0.0), ("cosine", 1.0, 0.5, 0.0)],
)
@pytest.mark.parametrize("warmup", [0.0, 0.5, 4.0])
def test_warmup_middle_and_end(kind: ScheduleName, start: float, middle: float, end: float, warmup: float) -> None:
    schedule = Schedule(kind, 20, warmup)
    assert [schedule.factor_at(warmup * part) for part in (0.0, 0.25, 0.5)] == pytest.approx(
        [0, 0.25, 0.5] if warmup else [1, 1, 1]
    )
    after = [schedule.factor_at(epoch) for epoch in (warmup, (warmup + 20) / 2, 20)]
    assert after == pytest.approx([start, middle, end], abs=1e-12)
    assert schedule.factor_at(21) == pytest.approx(end, abs=1e-12)  # past the end nothing rises again


def test_cosine_between_its_ends() -> None:
    schedule = Schedule("cosine", 10, 2)
    assert schedule.factor_at(4) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert schedule.factor_at(8) == pytest.approx((1 - math.cos(math.pi / 4)) / 2)


def test_steps_by_another_factor_and_after_a_warmup() -> None:
    schedule = Schedule("step", 10, 2, milestones=(1, 4), factor=0.5)
    assert [schedule.factor_at(epoch) for epoch in (0, 1, 2, 3.9, 4, 10)] == [0, 0.5, 0.5, 0.5, 0.25, 0.25]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["constant", "step", "linear", "cosine"]),
    st.integers(1, 400),
    st.floats(0, 0.99),
    st.sets(st.integers(0, 400), max_size=4),
    st.floats(0, 1),
)
def test_factors_lie_between_0_and_1_and_fall_after_the_warmup(
    kind: ScheduleName, epochs: int, warmup: float, milestones: set[int], factor: float
) -> None:
    schedule = Schedule(kind, epochs, warmup * epochs, tuple(sorted(milestones)), factor)
    every = [schedule.factor_at(epochs * part / 50) for part in range(51)]
    assert all(0 <= value <= 1 for value in every)
    after = [schedule.factor_at(epochs * (warmup + (1 - warmup) * part / 50)) for part in range(1, 51)]
    assert after == sorted(after, reverse=True)


@pytest.mark.parametrize("milestones", [(3, 2), (2, 2), (1, 5, 4)])
def test_milestones_must_go_up(milestones: tuple[int, ...]) -> None:
    message = f"--milestones must go up; got {' '.join(map(str, milestones))}."
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        Schedule("step", 10, milestones=milestones)


@pytest.mark.parametrize("warmup", [10, 10.5])
def test_a_warmup_must_end(warmup: float) -> None:
    message = f"--warmup-epochs {warmup:g} leaves none of the 10 epochs at the full rate."
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        Schedule("cosine", 10, warmup)
