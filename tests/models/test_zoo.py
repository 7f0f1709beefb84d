from __future__ import annotations

from typing import Any

import pytest
import torch

from omnireid.errors import ModelError
from omnireid.models.complexity import count_multiply_adds, count_parameters
from omnireid.models.osnet_config import ABLATIONS
from omnireid.models.zoo import ARCHITECTURES, create_model, find_architecture

# The table of the paper: parameters without the classifier, multiply-adds of a 256×128 image.
PAPER = {
    "osnet_x1_0": (2_169_508, 978.9e6),
    "osnet_x0_75": (1_285_754, 571.8e6),
    "osnet_x0_5": (630_034, 272.9e6),
    "osnet_x0_25": (201_864, 82.3e6),
    "osnet_ibn_x1_0": (2_170_532, 978.9e6),
    "osnet_ain_x1_0": (2_169_508, 978.9e6),
}

# Every design is built once by default; the ablations at the three larger widths only where time is no matter.
ALL: list[Any] = [
    pytest.param(name, marks=pytest.mark.slow) if known.ablation_of not in (None, "osnet_x0_25") else name
    for name, known in ARCHITECTURES.items()
]


@pytest.mark.parametrize("name", ALL)
def test_an_architecture_says_what_its_network_is(name: str) -> None:
    known, model = ARCHITECTURES[name], create_model(name)
    state = model.state_dict()
    assert list(known.key_layout.shapes.items()) == [(key, tuple(tensor.shape)) for key, tensor in state.items()]
    assert known.parameters == count_parameters(model)
    assert known.multiply_adds == count_multiply_adds(model)
    assert known.embedding_width == model.embedding_width == model.eval()(torch.zeros(1, 3, 64, 32)).shape[1]


@pytest.mark.parametrize("name", PAPER)
def test_the_costs_are_the_papers(name: str) -> None:
    parameters, multiply_adds = PAPER[name]
    assert ARCHITECTURES[name].parameters == parameters
    assert ARCHITECTURES[name].multiply_adds == pytest.approx(multiply_adds, rel=1e-3)


def test_every_row_of_the_ablation_has_a_name_at_every_width() -> None:
    for plain in ("osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25"):
        rows = [name for name, known in ARCHITECTURES.items() if plain in (name, known.ablation_of)]
        assert rows == [plain, *(f"{plain}_{row}" for row in ABLATIONS if row != "primary")]


def test_a_classifier_is_there_only_when_asked_for() -> None:
    plain, with_head = create_model("osnet_x0_25"), create_model("osnet_x0_25", 751)
    assert plain.classifier is None
    assert count_parameters(with_head) - count_parameters(plain) == 751 * 513
    assert count_multiply_adds(with_head, 64, 32) == count_multiply_adds(plain, 64, 32)


def test_a_generator_decides_the_first_weights() -> None:
    first, again = (
        create_model("osnet_x0_25", generator=torch.Generator().manual_seed(9)).state_dict() for _ in range(2)
    )
    key = "conv5.conv.weight"
    assert torch.equal(first[key], again[key])
    assert not torch.equal(first[key], create_model("osnet_x0_25").state_dict()[key])


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("osnet_x1.0", "osnet_x1_0"),
        ("OSNet-AIN-x0.5", "osnet_ain_x0_5"),
        ("osnet_x025", "osnet_x0_25"),
        ("osnet_x0_5-one-stream", "osnet_x0_5_one_stream"),
    ],
)
def test_an_unknown_name_brings_the_closest(name: str, closest: str) -> None:
    with pytest.raises(ModelError) as caught:
        create_model(name)
    assert f"No model {name!r}. Did you mean {closest}? Known: osnet_x1_0, osnet_x0_75" in str(caught.value)


def test_what_is_no_text_names_no_network() -> None:
    with pytest.raises(ModelError, match=r"An architecture is named by text, such as 'osnet_x0_25'; got 3\."):
        find_architecture(3)  # type: ignore[arg-type]


def test_a_strange_name_brings_all_that_are_known() -> None:
    message = r"No model 'yolo'\. Known: osnet_x1_0, .*, shufflenet_g3; and ablations such as osnet_x0_25_two_streams"
    with pytest.raises(ModelError, match=message):
        find_architecture("yolo")
