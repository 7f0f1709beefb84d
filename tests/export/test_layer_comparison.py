from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from omnireid.export.layer_comparison import LayerDifference, compare_layers, first_difference
from omnireid.images.preprocess import Preprocessing
from omnireid.images.probes import probe_crops
from omnireid.models.osnet import OSNet
from omnireid.models.osnet_config import ABLATIONS, OSNetConfig
from omnireid.models.osnet_graph import build_osnet_graph

SIZE = Preprocessing(64, 32)
PIXELS = probe_crops(5, 64, 32)
CONFIGS = {name: replace(config, width=0.25) for name, config in ABLATIONS.items()}
CONFIGS["ain"] = OSNetConfig(width=0.25, normalisation="ain")


def lived_in(config: OSNetConfig) -> OSNet:
    """A network whose norms do something: folded into another layer than its own, they would be noticed."""
    model = OSNet(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, values in (*model.named_parameters(), *model.named_buffers()):
            if "norm" in name and values.is_floating_point():
                values.uniform_(0.5, 1.5, generator=generator)
    return model


def content_of(model: OSNet, *, takes_pixels: bool = True) -> bytes:
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    content: bytes = build_osnet_graph(model.config, tensors, SIZE, takes_pixels=takes_pixels).SerializeToString()
    return content


@pytest.mark.parametrize("name", CONFIGS)
def test_every_layer_gives_what_its_module_gives(name: str) -> None:
    model = lived_in(CONFIGS[name])
    layers = compare_layers(model, content_of(model), PIXELS, SIZE.normalise, takes_pixels=True)
    assert first_difference(layers, 1e-4) is None
    names = [layer.name for layer in layers]
    assert (names[0] in ("conv1", "conv1.conv"), names[-1]) == (True, "fc")
    assert {"conv1", "conv2.0", "conv2.1", "conv3.0", "conv4.1", "conv5"} <= set(names)


def test_the_first_that_differs_is_found_whatever_the_graph_takes() -> None:
    model = OSNet(CONFIGS["primary"]).eval()
    for takes_pixels in (True, False):
        graph = onnx.load_from_string(content_of(model, takes_pixels=takes_pixels))
        (weights,) = [values for values in graph.graph.initializer if values.name == "conv3.0.streams.1.1.weight"]
        doubled = 2 * onnx.numpy_helper.to_array(weights)
        weights.CopyFrom(onnx.numpy_helper.from_array(doubled, weights.name))
        content = graph.SerializeToString()
        layers = compare_layers(model, content, PIXELS, SIZE.normalise, takes_pixels=takes_pixels)
        found = first_difference(layers, 1e-4)
        assert found is not None
        assert found.name == "conv3.0.streams.1.1"
        assert found.relative_error == pytest.approx(1, rel=1e-3)


def test_what_is_no_number_differs() -> None:
    layers = (LayerDifference("conv1", 0.0), LayerDifference("conv5", np.nan), LayerDifference("fc", 1.0))
    assert first_difference(layers, 0.5) == layers[1]
    assert first_difference(layers[:1], 0.0) is None
