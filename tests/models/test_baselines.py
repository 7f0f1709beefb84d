"""ResNet-50, MobileNetV2 and ShuffleNet: published costs, published keys, and the graph against torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from omnireid import create_model
from omnireid.errors import ShapeError
from omnireid.images.preprocess import Preprocessing
from omnireid.models.baselines import design_mobilenetv2, design_resnet50, design_shufflenet
from omnireid.models.coverage import best_fit, hold_against
from omnireid.models.graph_builder import INPUT, OUTPUT
from omnireid.models.layer_plan import count_planned_parameters
from omnireid.models.residual_design import ResidualDesign
from omnireid.models.residual_network import _shuffle_channels
from omnireid.models.residual_plan import plan_residual_network
from omnireid.models.state import load_state
from omnireid.models.zoo import ARCHITECTURES
from omnireid.weights.checkpoint import load_checkpoint

NAMES = ("resnet50", "resnet50_fc512", "mobilenetv2_x1_0", "mobilenetv2_x1_4", "shufflenet_g3")
PUBLISHED = (
    *("torchvision/resnet50", "torchvision/mobilenetv2_x1_0", "torchvision/mobilenetv2_x1_4"),
    *("timm/resnet50", "timm/mobilenetv2_x1_0", "timm/mobilenetv2_x1_4"),
    *("torchreid/resnet50_fc512", "torchreid/shufflenet_g3"),
)
# An odd number of rows and columns at the last strides, so that rounding is tested too.
SIZE = Preprocessing(40, 24)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 40, 24, 3), dtype=np.uint8)


def classifier_cost(design: ResidualDesign) -> tuple[int, int, int]:
    """Parameters, those of norms among them, and multiply-adds with 1,000 classes at 224×224."""
    layers = list(plan_residual_network(design, height=224, width=224, num_classes=1000))
    norms = count_planned_parameters(layer for layer in layers if layer.name.endswith(".norm"))
    return count_planned_parameters(layers), norms, sum(layer.multiply_adds for layer in layers)


def test_resnet50_costs_what_torchvision_publishes() -> None:
    parameters, _, multiply_adds = classifier_cost(design_resnet50())
    assert parameters == 25_557_032
    assert round(multiply_adds / 1e9, 3) == 4.089


@pytest.mark.parametrize(
    ("width", "published_multiply_adds", "published_parameters"),
    [(1.0, 300, 3.47), (1.4, 582, 6.06), (0.75, 209, 2.61)],
)
def test_mobilenetv2_costs_what_its_authors_publish(
    width: float, published_multiply_adds: int, published_parameters: float
) -> None:
    # The table beside the authors' checkpoints leaves out the parameters of norms.
    parameters, norms, multiply_adds = classifier_cost(design_mobilenetv2(width))
    assert int(multiply_adds / 1e6) == published_multiply_adds
    assert round((parameters - norms) / 1e6, 2) == published_parameters


def test_shufflenet_costs_what_its_paper_publishes() -> None:
    parameters, _, multiply_adds = classifier_cost(design_shufflenet())
    assert int(multiply_adds / 1e6) == 137  # table 1, column g = 3; the paper has no number of parameters
    assert parameters == 1_865_728


def published_keys(golden: Path, published: str) -> dict[str, tuple[int, ...]]:
    lists = json.loads((golden / "baseline_keys.json").read_text())
    assert set(lists) == set(PUBLISHED)
    return {key: tuple(shape) for key, shape in lists[published]}


@pytest.mark.parametrize("published", PUBLISHED)
def test_published_keys_cover_a_baseline(published: str, golden: Path) -> None:
    name = published.split("/")[1]
    found = published_keys(golden, published)
    report, targets = hold_against(name, found)
    assert best_fit(found).architecture == name
    assert report.is_complete
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert set(report.loaded) == set(found) - set(report.left_out)
    assert len(report.left_out) == 2
    # Both list the layers from input to output, so equal order means that each tensor has its own place.
    assert list(targets.values()) == list(ARCHITECTURES[name].key_layout.shapes)


@pytest.mark.parametrize(
    "published", [pytest.param(PUBLISHED[0], marks=pytest.mark.slow), *PUBLISHED[1:3], *PUBLISHED[4:]]
)
def test_a_publishers_weights_give_the_publishers_embeddings(published: str, golden: Path, rule: Any) -> None:
    keys = published_keys(golden, published)
    _, targets = hold_against(published.split("/")[1], keys)
    model = create_model(published.split("/")[1]).eval()
    load_state(model, {own: rule.array(key, list(keys[key])) for key, own in targets.items()})
    with torch.no_grad():
        found = model(torch.from_numpy(rule.images(2, 64, 32))).numpy()
    expected = np.load(golden / "baseline_parity.npz")[published]
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_missing_tensor_is_named_as_its_publisher_names_it(golden: Path) -> None:
    found = published_keys(golden, "timm/mobilenetv2_x1_0")
    del found["conv_head.weight"]
    assert hold_against("mobilenetv2_x1_0", found)[0].missing == ("conv_head.weight",)


def test_a_further_norm_makes_another_network(golden: Path) -> None:
    found = published_keys(golden, "torchvision/resnet50") | {"bottleneck.running_mean": (2048,)}
    assert not hold_against("resnet50", found)[0].is_complete


def test_a_published_checkpoint_loads_without_its_classifier(golden: Path, tmp_path: Path, rule: Any) -> None:
    keys = published_keys(golden, "torchvision/mobilenetv2_x1_0")
    state = {key: torch.from_numpy(rule.array(key, list(shape))) for key, shape in keys.items()}
    torch.save(state, tmp_path / "mobilenet_v2.pth")
    checkpoint = load_checkpoint(tmp_path / "mobilenet_v2.pth")
    assert (checkpoint.architecture, checkpoint.inspection.num_classes) == ("mobilenetv2_x1_0", 1000)
    last = checkpoint.tensors["last.norm.bias"]
    assert np.array_equal(last, state["features.18.1.bias"].numpy())


def lived_in(name: str) -> torch.nn.Module:
    """A network whose norms are not those of a newborn, and whose activations are of one size throughout."""
    model = create_model(name).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.4, 0.8, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
    return model


@pytest.mark.parametrize("name", [pytest.param("resnet50", marks=pytest.mark.slow), *NAMES[1:]])
def test_the_graph_gives_the_networks_embeddings(name: str) -> None:
    model = lived_in(name)
    state = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    with torch.inference_mode():
        expected = model(torch.from_numpy(SIZE.normalise(PIXELS))).numpy()
    for half, takes_pixels, tolerance in ((False, True, 1e-5), (False, False, 1e-5), (True, True, 1e-2)):
        if (half or not takes_pixels) and name.startswith("resnet50"):
            continue  # only its size differs from the other networks, and that takes time
        graph = ARCHITECTURES[name].build_graph(state, SIZE, half=half, takes_pixels=takes_pixels)
        onnx.checker.check_model(graph, full_check=True)
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        found = session.run([OUTPUT], {INPUT: PIXELS if takes_pixels else SIZE.normalise(PIXELS)})[0]
        assert found.shape == (2, ARCHITECTURES[name].embedding_width)
        assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected)


def test_the_graph_names_its_tensors_after_the_modules() -> None:
    model = create_model("shufflenet_g3")
    state = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    graph = ARCHITECTURES["shufflenet_g3"].build_graph(state, SIZE)
    made = {output for node in graph.graph.node for output in node.output}
    assert {"stem", "stages.0.0", "stages.1.7.layers.2", "stages.2.3"} <= made


def test_the_last_stage_keeps_its_size_only_for_reidentification() -> None:
    images = torch.zeros(1, 3, 64, 32)
    assert create_model("resnet50").eval().forward_features(images).shape == (1, 2048, 2, 1)
    assert create_model("resnet50_fc512").eval().forward_features(images).shape == (1, 2048, 4, 2)


def test_a_shuffle_lets_every_group_read_from_all_groups() -> None:
    shuffled = _shuffle_channels(torch.arange(6.0).view(1, 6, 1, 1), 3)
    assert shuffled.flatten().tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize("name", ["mobilenetv2_x1_0", "shufflenet_g3"])
def test_one_training_step_reaches_every_weight(name: str) -> None:
    model = create_model(name, 3).train()
    assert model.classifier is not None
    images = torch.randn(4, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    loss = torch.nn.functional.cross_entropy(model.classifier(model(images)), torch.tensor([0, 1, 2, 0]))
    names, weights = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, weights)
    assert [name for name, gradient in zip(names, gradients, strict=True) if not gradient.any()] == []


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 64, 32), r"MobileNetV2 takes images of shape \(B, 3, H, W\); got \(2, 1, 64, 32\)"),
        ((2, 3, 64, 15), r"MobileNetV2 needs images of at least 16×16 pixels; got 64×15 \(height × width\)"),
    ],
)
def test_images_of_another_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        create_model("mobilenetv2_x1_0")(torch.zeros(shape))
