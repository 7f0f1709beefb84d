from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from omnireid.errors import ModelError
from omnireid.models.complexity import count_multiply_adds, count_parameters
from omnireid.models.zoo import KNOWN_WEIGHTS, VARIANTS, create_model, find_variant

# The table of the paper: parameters without the classifier, multiply-adds of a 256×128 image.
PAPER = {
    "osnet_x1_0": (2_169_508, 978.9e6),
    "osnet_x0_75": (1_285_754, 571.8e6),
    "osnet_x0_5": (630_034, 272.9e6),
    "osnet_x0_25": (201_864, 82.3e6),
    "osnet_ibn_x1_0": (2_170_532, 978.9e6),
    "osnet_ain_x1_0": (2_169_508, 978.9e6),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_table_is_the_counted_truth(name: str) -> None:
    model = create_model(name)
    assert count_parameters(model) == VARIANTS[name].parameters
    assert count_multiply_adds(model) == VARIANTS[name].multiply_adds
    assert model.config == VARIANTS[name].config


@pytest.mark.parametrize("name", PAPER)
def test_the_table_is_the_papers(name: str) -> None:
    parameters, multiply_adds = PAPER[name]
    assert VARIANTS[name].parameters == parameters
    assert VARIANTS[name].multiply_adds == pytest.approx(multiply_adds, rel=1e-3)


def test_a_classifier_is_there_only_when_asked_for() -> None:
    plain, with_head = create_model("osnet_x0_25"), create_model("osnet_x0_25", 751)
    assert plain.classifier is None
    assert count_parameters(with_head) - count_parameters(plain) == 751 * 513
    assert count_multiply_adds(with_head, 64, 32) == count_multiply_adds(plain, 64, 32)


def test_a_generator_decides_the_first_weights() -> None:
    first, again = (
        create_model("osnet_x0_25", generator=torch.Generator().manual_seed(9)).conv5.conv.weight for _ in range(2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, create_model("osnet_x0_25").conv5.conv.weight)


@pytest.mark.parametrize(
    ("name", "closest"),
    [("osnet_x1.0", "osnet_x1_0"), ("OSNet-AIN-x0.5", "osnet_ain_x0_5"), ("osnet_x025", "osnet_x0_25")],
)
def test_an_unknown_name_brings_the_closest(name: str, closest: str) -> None:
    with pytest.raises(ModelError) as caught:
        create_model(name)
    assert f"No model {name!r}. Did you mean {closest}? Known: osnet_x1_0, osnet_x0_75" in str(caught.value)


def test_a_strange_name_brings_all_that_are_known() -> None:
    with pytest.raises(ModelError, match=r"No model 'yolo'\. Known: osnet_x1_0.*osnet_ain_x0_25\.$"):
        find_variant("yolo")


@pytest.mark.parametrize("name", KNOWN_WEIGHTS)
def test_known_weights_are_whole_records(name: str) -> None:
    weights = KNOWN_WEIGHTS[name]
    assert weights.name == name
    assert weights.architecture in VARIANTS
    assert 0 < weights.published_mean_average_precision < weights.published_rank1 < 1
    assert weights.sha256 is None or len(weights.sha256) == 64
    assert weights.licence


def test_names_need_no_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from omnireid.models.zoo import find_variant\n"
        "print(find_variant('osnet_x0_5').parameters)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "630034"
