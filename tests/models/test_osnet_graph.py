"""The graph that is built from the weights, held against the network in torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from omnireid.errors import CheckpointError, CoverageError
from omnireid.images.preprocess import Preprocessing
from omnireid.models.blocks import ContextGate, WeightedAverage
from omnireid.models.graph_builder import INPUT, OUTPUT
from omnireid.models.osnet import OSNet
from omnireid.models.osnet_config import ABLATIONS, OSNetConfig
from omnireid.models.osnet_graph import build_osnet_graph

SIZE = Preprocessing(64, 32)
RETAIL = OSNetConfig(width=0.25, normalisation="stem", second_gate="context", head="weighted")
DESIGNS = {
    "x1_0": OSNetConfig(),
    "x0_5": OSNetConfig(width=0.5),
    "ibn": OSNetConfig(width=0.25, normalisation="ibn"),
    "ain": OSNetConfig(width=0.25, normalisation="ain"),
    "retail": RETAIL,
    **{row: replace(design, width=0.25) for row, design in ABLATIONS.items()},
}
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 64, 32, 3), dtype=np.uint8)


def lived_in(config: OSNetConfig) -> OSNet:
    """A network whose norms, context gates and places are not those of a newborn: nothing in them is 0 or 1."""
    model = OSNet(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d | torch.nn.InstanceNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
            if isinstance(module, ContextGate):
                module.weight.normal_(0, 1, generator=generator)
                module.bias.normal_(0, 1, generator=generator)
            if isinstance(module, WeightedAverage):
                module.weight.normal_(1, 1, generator=generator)
    return model


def state_of(model: OSNet) -> dict[str, np.ndarray[Any, Any]]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def run(graph: onnx.ModelProto, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT], {INPUT: images})[0])


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_gives_the_networks_embeddings(name: str) -> None:
    config = DESIGNS[name]
    model = lived_in(config)
    with torch.inference_mode():
        expected = model(torch.from_numpy(SIZE.normalise(PIXELS))).numpy()
    for half, takes_pixels, tolerance in ((False, True, 1e-5), (False, False, 1e-5), (True, True, 5e-3)):
        graph = build_osnet_graph(config, state_of(model), SIZE, half=half, takes_pixels=takes_pixels)
        onnx.checker.check_model(graph, full_check=True)
        found = run(graph, PIXELS if takes_pixels else SIZE.normalise(PIXELS))
        assert found.shape == (3, config.embedding_width)
        assert found.dtype == np.float32
        assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("size", [(256, 128), (80, 64)])
def test_places_have_weights_in_maps_of_any_size(size: tuple[int, int]) -> None:
    model, preprocessing = lived_in(RETAIL), Preprocessing(*size)
    pixels = np.random.default_rng(1).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    found = run(build_osnet_graph(RETAIL, state_of(model), preprocessing), pixels)
    with torch.inference_mode():
        expected = model(torch.from_numpy(preprocessing.normalise(pixels))).numpy()
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


def test_a_batch_embeds_like_its_crops_one_by_one() -> None:
    graph = build_osnet_graph(OSNetConfig(width=0.25), state_of(lived_in(OSNetConfig(width=0.25))), SIZE)
    together = run(graph, PIXELS)
    for index in range(3):
        assert np.allclose(run(graph, PIXELS[index : index + 1])[0], together[index], rtol=1e-4, atol=1e-5)


def test_the_same_weights_give_the_same_bytes() -> None:
    config = OSNetConfig(width=0.25)
    one, other = (build_osnet_graph(config, state_of(lived_in(config)), SIZE) for _ in range(2))
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_layers_have_the_names_of_their_modules() -> None:
    config = OSNetConfig(width=0.25)
    graph = build_osnet_graph(config, state_of(lived_in(config)), SIZE)
    made = {output for node in graph.graph.node for output in node.output}
    assert {"conv1", "conv2.0", "conv2.0.streams.3.3", "conv4.1.restore", "transition3", "conv5", "fc"} <= made


def test_denormal_weights_become_zero() -> None:
    config = OSNetConfig(width=0.25)
    state = state_of(lived_in(config))
    state["conv2.0.streams.0.0.pointwise.weight"][:] = 1e-42
    graph = build_osnet_graph(config, state, SIZE)
    (stored,) = [c for c in graph.graph.initializer if c.name == "conv2.0.streams.0.0.pointwise.weight"]
    assert not onnx.numpy_helper.to_array(stored).any()


def test_weights_that_are_not_the_networks_are_refused() -> None:
    config = OSNetConfig(width=0.25)
    state = state_of(lived_in(config))
    without = {name: tensor for name, tensor in state.items() if name != "conv3.0.gate.reduce.bias"}
    with pytest.raises(CoverageError, match=r"w\.onnx lacks conv3\.0\.gate\.reduce\.bias.*omnireid inspect"):
        build_osnet_graph(config, without, SIZE, where="w.onnx")
    with pytest.raises(CoverageError, match=r"conv1\.conv\.weight has shape \(16, 3, 7, 7\), the network's has \(32,"):
        build_osnet_graph(OSNetConfig(width=0.5), state, SIZE)
    with pytest.raises(CoverageError, match="weights that its network does not have: conv9.weight"):
        build_osnet_graph(config, {**state, "conv9.weight": np.zeros(1)}, SIZE)
    build_osnet_graph(config, {**state, "classifier.weight": np.zeros((5, 512))}, SIZE)


def test_values_that_no_graph_should_hold_are_refused() -> None:
    config = OSNetConfig(width=0.25)
    state = state_of(lived_in(config))
    for name, value, message in (
        ("fc.linear.bias", np.nan, r"w\.onnx: fc\.linear\.bias has 512 values that are not finite .* out of 512"),
        ("conv1.norm.running_var", -1.0, r"conv1\.norm\.running_var is negative, which no variance is"),
        ("fc.linear.weight", 1e300, r"fc\.weight, with its norm.*float32 cannot hold\. Use an earlier checkpoint"),
    ):
        damaged = {**state, name: np.full(state[name].shape, value)}
        with pytest.raises(CheckpointError, match=message):
            build_osnet_graph(config, damaged, SIZE, where="w.onnx")
