from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from omnireid.errors import ModelError, ShapeError
from omnireid.models.blocks import ChannelGate
from omnireid.models.layers import initialise
from omnireid.models.osnet import OSNet
from omnireid.models.osnet_config import ABLATIONS, OSNetConfig
from omnireid.models.zoo import ARCHITECTURES, create_model

State = dict[str, Tensor]

SMALL = OSNetConfig(width=0.25)


def create_osnet(name: str, num_classes: int | None = None) -> OSNet:
    model = create_model(name, num_classes)
    assert isinstance(model, OSNet)
    return model


def filled(name: str, state: State) -> OSNet:
    """A variant in evaluation mode with a published state in it, not by way of the checkpoint door."""
    model = create_osnet(name)
    names = ARCHITECTURES[name].key_layout.published_names["torchreid"]
    model.load_state_dict({own: state[published] for own, published in names.items()})
    return model.eval()


def pictures(count: int, height: int = 64, width: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def relative_error(found: Tensor, expected: npt.NDArray[np.float32]) -> float:
    return float(np.abs(found.numpy() - expected).max() / np.abs(expected).max())


@torch.no_grad()
def check_parity(variant: str, golden: Path, rule: ModuleType, state: State) -> None:
    expected = np.load(golden / "parity.npz")
    images = torch.from_numpy(rule.images())
    model = filled(variant, state)
    assert relative_error(model(images), expected[f"{variant}/feature"]) < 1e-4
    assert relative_error(model.forward_features(images).mean(dim=(2, 3)), expected[f"{variant}/map_mean"]) < 1e-4


@pytest.mark.parametrize("variant", ["osnet_x1_0", "osnet_x0_25", "osnet_ain_x1_0"])
def test_embeddings_are_those_of_the_published_network(
    variant: str, golden: Path, rule: ModuleType, published_state: Callable[[str], State]
) -> None:
    check_parity(variant, golden, rule, published_state(variant))


@pytest.mark.real
@pytest.mark.parametrize("variant", ["osnet_x1_0", "osnet_x0_25", "osnet_ain_x1_0"])
def test_embeddings_are_those_of_the_original_golden_files(
    variant: str, shared: Path, rule: ModuleType, original_rule: ModuleType
) -> None:
    state = original_rule.state_dict(variant)
    check_parity(
        variant, shared / "golden", original_rule, {key: torch.from_numpy(array) for key, array in state.items()}
    )
    copy = rule.state_dict(variant)
    assert list(copy) == list(state)
    assert all(np.array_equal(copy[key], state[key]) for key in state)


@pytest.mark.real
@pytest.mark.parametrize("name", ["parity.npz", "published_keys.json"])
def test_golden_copies_are_the_originals(name: str, shared: Path, golden: Path) -> None:
    assert (golden / name).read_bytes() == (shared / "golden" / name).read_bytes()


@pytest.mark.parametrize("mode", [True, False])
def test_forward_is_the_embedding_in_every_mode(mode: bool) -> None:
    model = create_osnet("osnet_x0_25", num_classes=7).train(mode)
    embedding = model(pictures(3))
    assert embedding.shape == (3, 512)
    assert embedding.dtype == torch.float32
    assert bool((embedding >= 0).all())
    assert model.classifier is not None
    assert model.classifier(embedding).shape == (3, 7)


@pytest.fixture(scope="module")
def trained_like(published_state: Callable[[str], State]) -> dict[str, OSNet]:
    return {name: filled(name, published_state(name)) for name in ("osnet_x0_25", "osnet_ain_x0_25")}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["osnet_x0_25", "osnet_ain_x0_25"]),
    count=st.integers(2, 4),
    height=st.integers(32, 72),
    width=st.integers(16, 40),
)
def test_a_batch_is_its_images_one_by_one(
    trained_like: dict[str, OSNet], name: str, count: int, height: int, width: int
) -> None:
    model, images = trained_like[name], pictures(count, height, width)
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5 * float(alone.abs().max()))


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [(256, 128, 16, 8), (64, 32, 4, 2), (160, 80, 10, 5)])
def test_maps_are_a_sixteenth_of_the_image(height: int, width: int, rows: int, columns: int) -> None:
    with torch.no_grad():
        maps = OSNet(SMALL).eval().forward_features(pictures(1, height, width))
    assert maps.shape == (1, 128, rows, columns)


def test_odd_widths_and_resolutions_work() -> None:
    model = OSNet(OSNetConfig(width=0.3)).eval()
    with torch.no_grad():
        assert model(pictures(2, 71, 45)).shape == (2, 512)
        assert model(pictures(1, 16, 16)).shape == (1, 512)


def test_channels_last_changes_nothing() -> None:
    model, images = OSNet(SMALL).eval(), pictures(2)
    with torch.no_grad():
        expected = model(images)
        found = model.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))  # type: ignore[call-overload]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_forward_leaves_its_input_alone() -> None:
    images = pictures(2)
    before = images.clone()
    OSNet(SMALL).train()(images)
    assert torch.equal(images, before)


def test_gates_are_what_they_are_by_hand(small_state: State) -> None:
    model = filled("osnet_x0_25", small_state)
    images = pictures(2, 128, 64, seed=5)
    weight = {key: tensor.double() for key, tensor in small_state.items() if tensor.is_floating_point()}

    def norm(x: Tensor, key: str) -> Tensor:
        scale = weight[f"{key}.weight"] / (weight[f"{key}.running_var"] + 1e-5).sqrt()
        shift = weight[f"{key}.bias"] - weight[f"{key}.running_mean"] * scale
        return (x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).relu()

    x = functional.conv2d(images.double(), weight["conv1.conv.weight"], stride=2, padding=3)
    x = functional.max_pool2d(norm(x, "conv1.bn"), 3, 2, 1)
    x = norm(functional.conv2d(x, weight["conv2.0.conv1.conv.weight"]), "conv2.0.conv1.bn")
    expected = []
    for stream, letter in enumerate("abcd"):
        y = x
        for layer in [""] if stream == 0 else [f".{i}" for i in range(stream + 1)]:
            key = f"conv2.0.conv2{letter}{layer}"
            y = functional.conv2d(y, weight[f"{key}.conv1.weight"])
            y = norm(functional.conv2d(y, weight[f"{key}.conv2.weight"], padding=1, groups=16), f"{key}.bn")
        squeezed = y.numpy().mean(axis=(2, 3))
        w1, b1 = weight["conv2.0.gate.fc1.weight"].numpy()[..., 0, 0], weight["conv2.0.gate.fc1.bias"].numpy()
        w2, b2 = weight["conv2.0.gate.fc2.weight"].numpy()[..., 0, 0], weight["conv2.0.gate.fc2.bias"].numpy()
        expected.append(1 / (1 + np.exp(-(np.maximum(squeezed @ w1.T + b1, 0) @ w2.T + b2))))
    with torch.no_grad():
        gates = model.forward_gates(images)["conv2.0"]
    assert gates.shape == (2, 4, 16)
    np.testing.assert_allclose(gates.numpy(), np.stack(expected, axis=1), rtol=1e-5)


@pytest.mark.parametrize("name", ["osnet_x0_25", "osnet_ain_x0_25", "osnet_ibn_x1_0"])
def test_gates_are_those_of_the_forward_pass(name: str) -> None:
    model, images = create_osnet(name).eval(), pictures(2)
    seen: list[Tensor] = []
    for stage in (model.conv2, model.conv3, model.conv4):
        for block in stage:
            block.gate.register_forward_hook(lambda _module, _inputs, output: seen.append(output))  # type: ignore[union-attr]
    with torch.no_grad():
        model(images)
        from_forward = [torch.stack([gate.flatten(1) for gate in seen[i : i + 4]], dim=1) for i in range(0, 24, 4)]
        gates = model.forward_gates(images)
    assert list(gates) == ["conv2.0", "conv2.1", "conv3.0", "conv3.1", "conv4.0", "conv4.1"]
    for found, expected in zip(gates.values(), from_forward, strict=True):
        assert torch.equal(found, expected)
        assert 0 < float(found.min()) <= float(found.max()) < 1


def test_a_network_without_gates_says_so() -> None:
    model = OSNet(OSNetConfig(width=0.25, fusion="concatenation", gate="none"))
    with pytest.raises(ModelError, match="has no gates to inspect: its streams are fused by concatenation"):
        model.forward_gates(pictures(2))


# Parameters of the paper's ablations at width 1.0, computed by hand from the layer shapes; see the test below.
MIDDLES = (64, 64, 96, 96, 128, 128)
LITE = [m * m + 9 * m + 2 * m for m in MIDDLES]
FULL = [9 * m * m + 2 * m for m in MIDDLES]
GATE = [m * (m // 16) + m // 16 + (m // 16) * m + m for m in MIDDLES]
DIFFERENCES = {
    "primary": 0,
    "full_convolutions": 10 * (sum(FULL) - sum(LITE)),
    "same_depth": (16 - 10) * sum(LITE),
    "concatenation": sum(3 * m * 4 * m for m in MIDDLES) - sum(GATE),
    "addition": -sum(GATE),
    "separate_gates": 3 * sum(GATE),
    "stream_weights": -sum((m - 1) * (m // 16 + 1) for m in MIDDLES),
    "fixed_gates": sum(4 * m for m in MIDDLES) - sum(GATE),
    "one_stream": -9 * sum(LITE) - sum(GATE),
    "two_streams": -7 * sum(LITE),
    "three_streams": -4 * sum(LITE),
}


@pytest.mark.parametrize("row", ABLATIONS)
def test_an_ablation_costs_what_its_layers_cost(row: str) -> None:
    name = "osnet_x1_0" if row == "primary" else f"osnet_x1_0_{row}"
    assert ARCHITECTURES[name].parameters == 2_169_508 + DIFFERENCES[row]


@pytest.mark.parametrize("row", ABLATIONS)
def test_every_weight_of_every_ablation_learns(row: str) -> None:
    model = OSNet(replace(ABLATIONS[row], width=0.25)).train()
    model(pictures(4)).square().sum().backward()
    idle = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert idle == []


def test_first_weights_are_those_of_the_paper() -> None:
    model = create_osnet("osnet_ibn_x1_0", num_classes=751).requires_grad_(False)
    assert model.classifier is not None
    assert float(model.classifier.weight.std()) == pytest.approx(0.01, rel=0.02)
    assert float(model.fc.linear.weight.std()) == pytest.approx(0.01, rel=0.02)
    # Kaiming, fan-out: a 1×1 convolution to 512 channels has a standard deviation of sqrt(2 / 512).
    assert float(model.conv5.conv.weight.std()) == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert float(model.conv1.conv.weight.std()) == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.03)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d | nn.InstanceNorm2d):
            assert bool((module.weight == 1).all())
            assert bool((module.bias == 0).all())
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            assert bool((module.running_mean == 0).all())
            assert bool((module.running_var == 1).all())
            assert int(module.num_batches_tracked or 0) == 0
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            assert bool((module.bias == 0).all())


def test_building_draws_from_its_own_generator_only() -> None:
    before = torch.get_rng_state()
    first, again = (OSNet(SMALL, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    other = OSNet(SMALL, generator=torch.Generator().manual_seed(4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.conv5.conv.weight, other.conv5.conv.weight)
    assert torch.equal(OSNet(SMALL).conv5.conv.weight, OSNet(SMALL).conv5.conv.weight)


@pytest.mark.parametrize("seed", range(4))
def test_no_hidden_unit_of_a_gate_is_born_off(seed: int) -> None:
    """A unit that is off for all images gets no gradient. With the signs as drawn, half of them would be."""
    model = OSNet(SMALL, generator=torch.Generator().manual_seed(seed))
    gates = [module for module in model.modules() if isinstance(module, ChannelGate)]
    assert len(gates) == 6
    for gate in gates:
        even = torch.ones(1, gate.reduce.in_channels, 1, 1)
        assert bool((gate.reduce(even) > 0).all())
        assert float(gate.reduce.weight.detach().min()) < 0, "only the sign of a whole unit is chosen"


def test_a_new_classifier_can_be_initialised_alone() -> None:
    layer = nn.Linear(512, 10).requires_grad_(False)
    initialise(layer, torch.Generator().manual_seed(0))
    assert float(layer.weight.abs().max()) < 0.06
    assert bool((layer.bias == 0).all())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 64, 32), r"shape \(B, 3, H, W\); got \(3, 64, 32\)"),
        ((2, 1, 64, 32), r"got \(2, 1, 64, 32\)"),
        ((2, 64, 32, 3), r"got \(2, 64, 32, 3\)"),
        ((2, 3, 15, 32), r"stride is 16.*at least 16×16 pixels; got 15×32 \(height × width\).*256×128"),
        ((2, 3, 64, 8), r"got 64×8"),
    ],
)
def test_images_of_another_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    model = OSNet(SMALL)
    for call in (model, model.forward_features, model.forward_gates):
        with pytest.raises(ShapeError, match=message):
            call(torch.zeros(shape))


def test_ain_needs_more_than_one_pixel_to_normalise() -> None:
    model = create_osnet("osnet_ain_x0_25").eval()
    with pytest.raises(ShapeError, match="AIN needs a side of at least 32 pixels; got 16×16"):
        model(pictures(1, 16, 16))
    assert model(pictures(1, 32, 16)).shape == (1, 512)


@pytest.mark.parametrize("num_classes", [0, -3])
def test_a_classifier_needs_an_identity(num_classes: int) -> None:
    with pytest.raises(ModelError, match=f"at least one identity; got num_classes={num_classes}"):
        OSNet(SMALL, num_classes=num_classes)


@pytest.mark.slow
def test_exports_with_any_batch_size() -> None:
    model, images = create_osnet("osnet_ain_x0_25").eval(), pictures(2)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},)).module()
    with torch.no_grad():
        for count in (1, 5):
            images = pictures(count, seed=count)
            torch.testing.assert_close(program(images), model(images), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["osnet_x0_25", "osnet_ain_x0_25"])
def test_compiles_as_one_graph(name: str) -> None:
    model, images = create_osnet(name).eval(), pictures(2)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images), model(images), rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_embeddings() -> None:
    model, images = create_osnet("osnet_x0_25").eval(), pictures(4, 256, 128)
    # cuDNN's default, TF32, keeps 10 bits after the point. The embedder turns it off likewise.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        expected = model(images)
        found = model.cuda()(images.cuda()).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.max()))
