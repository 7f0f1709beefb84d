from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.errors import RecipeError
from omnireid.training.timetable import Moment, Resolution, Timetable, read_timetable


def read(epochs: int = 350, resolutions: tuple[str, ...] = ("96x48@0",), **moments: Any) -> Timetable:
    others: dict[str, Any] = {"milestones": (), "warmup_epochs": 0, "frozen_epochs": 0}
    return read_timetable(epochs, resolutions=resolutions, **(others | moments))


def test_resolutions_are_read() -> None:
    timetable = read(60, ("96x48@0", "128x64@26", "4096x16@48"))
    assert timetable.resolutions == (Resolution(0, 96, 48), Resolution(26, 128, 64), Resolution(48, 4096, 16))


@pytest.mark.parametrize(
    "text", ["96x48", "96@0", "96x48@", "96×48@0", "-96x48@0", "96x48@1.5", " 96x48@0", "", "96x48@40/40", "96x48@1/0"]
)
def test_resolutions_that_cannot_be_read(text: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(f"--resolutions {text!r} cannot be read: write height x width @")):
        read(resolutions=(text,))


@pytest.mark.parametrize("text", ["15x48@0", "48x15@0", "4097x48@0", "48x4097@0"])
def test_resolutions_that_no_crop_has(text: str) -> None:
    with pytest.raises(RecipeError, match=f"--resolutions {text}: height and width must lie between 16 and 4096"):
        read(resolutions=(text,))


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        ((), "none"),
        (("96x48@1",), "96x48@1"),
        (("96x48@0", "128x64@5", "192x96@5"), "96x48@0 128x64@5 192x96@5"),
        (("96x48@0", "128x64@5", "192x96@4"), "96x48@0 128x64@5 192x96@4"),
    ],
)
def test_resolutions_out_of_order_are_refused(texts: tuple[str, ...], shown: str) -> None:
    with pytest.raises(RecipeError, match=f"must start at epoch 0 and go up, such as 96x48@0 128x64@40; got {shown}"):
        read(resolutions=texts)


def test_the_last_resolution_must_be_trained_at() -> None:
    with pytest.raises(RecipeError, match="128x64@10 begins after the last of 10 epochs, so the weights would never"):
        read(10, ("96x48@0", "128x64@10"))
    assert read(11, ("96x48@0", "128x64@10")).resolution_at(10).height == 128


@settings(max_examples=50, deadline=None)
@given(st.sets(st.integers(1, 20), max_size=4))
def test_the_resolution_of_an_epoch_is_the_last_begun(later: set[int]) -> None:
    firsts = [0, *sorted(later)]
    timetable = read(21, tuple(f"{16 + first}x{32 + first}@{first}" for first in firsts))
    for epoch in range(21):
        first = [first for first in firsts if first <= epoch][-1]
        assert timetable.resolution_at(epoch) == Resolution(first, 16 + first, 32 + first)


def test_scaled_resolutions_move_with_the_epochs_and_absolute_ones_stay() -> None:
    texts = ("64x32@0", "96x48@12", "128x64@24/40")
    assert [size.first_epoch for size in read(40, texts).resolutions] == [0, 12, 24]
    assert [size.first_epoch for size in read(80, texts).resolutions] == [0, 12, 48]


def test_of_scaled_resolutions_that_begin_together_the_last_is_used() -> None:
    texts = ("96x48@0", "128x64@20/75", "192x96@39/75", "256x128@57/75")
    assert read(1, texts).resolutions == (Resolution(0, 256, 128),)
    assert read(2, texts).resolutions == (Resolution(0, 128, 64), Resolution(1, 256, 128))


@pytest.mark.parametrize(
    ("moment", "epochs", "found"),
    [("150/350", 350, 150), ("150/350", 7, 3), ("5/70", 35, 2.5), (5, 7, 5), (0.5, 7, 0.5)],
)
def test_moments_in_epochs_of_the_run(moment: Moment, epochs: int, found: float) -> None:
    timetable = read(epochs, milestones=(moment,), warmup_epochs=moment)
    assert (timetable.milestones, timetable.warmup_epochs) == ((found,), found)


def test_frozen_epochs_are_whole_and_leave_some_for_the_network() -> None:
    assert read(150, frozen_epochs="10/150").frozen_epochs == 10
    assert read(20, frozen_epochs="10/150").frozen_epochs == 1
    assert read(1, frozen_epochs="149/150").frozen_epochs == 0
    with pytest.raises(RecipeError, match="--frozen-epochs 3 leaves none of the 3 epochs to train the network"):
        read(3, frozen_epochs=3)


@pytest.mark.parametrize("name", ["warmup_epochs", "frozen_epochs", "milestones"])
@pytest.mark.parametrize("text", ["", "five", "5/", "/5", "5/5", "6/5", "1/0", "-1/5", "0.5/5"])
def test_moments_that_cannot_be_read(name: str, text: str) -> None:
    flag = name.replace("_", "-")
    with pytest.raises(RecipeError, match=re.escape(f"--{flag} {text!r} cannot be read: write a number of epochs")):
        read(10, ("96x48@0",), **{name: (text,) if name == "milestones" else text})


@pytest.mark.parametrize("name", ["warmup_epochs", "frozen_epochs"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_moments_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(RecipeError, match=rf"^--{name.replace('_', '-')} must lie between 0 and \S+; got {value}\.$"):
        read(10, ("96x48@0",), **{name: value})
