from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from omnireid.errors import CheckpointError, CoverageError
from omnireid.models.osnet import OSNet
from omnireid.models.osnet_config import OSNetConfig
from omnireid.models.state import load_state
from omnireid.models.zoo import create_model

CLASSIFIER = {"classifier.weight", "classifier.bias"}
IMAGES = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def arrays(model: nn.Module) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    return {key: tensor.numpy().copy() for key, tensor in model.state_dict().items()}


def test_load_state_fills_whole() -> None:
    source = OSNet(OSNetConfig(width=0.3, gate="fixed"), generator=torch.Generator().manual_seed(1)).eval()
    target = OSNet(source.config).eval()
    content = arrays(source)
    for array in content.values():
        array.setflags(write=False)  # as safetensors may hand them out
    report = load_state(target, content)
    assert report.architecture == "this network"
    assert report.backbone_coverage == 1.0
    with torch.no_grad():
        assert torch.equal(target(IMAGES), source(IMAGES))


def test_load_state_takes_tensors_of_half_precision_and_leaves_a_classifier_out() -> None:
    source, target = (
        create_model("osnet_x0_25", 9, generator=torch.Generator().manual_seed(1)),
        create_model("osnet_x0_25"),
    )
    halves = {
        key: values.astype(np.float16) if values.dtype == np.float32 else values
        for key, values in arrays(source).items()
    }
    report = load_state(target, halves)
    assert report.architecture == "osnet_x0_25"
    assert set(report.left_out) == CLASSIFIER
    key = "conv5.conv.weight"
    assert torch.equal(target.state_dict()[key], source.state_dict()[key].half().float())


def test_load_state_is_all_or_nothing() -> None:
    source, target = (
        create_model("osnet_x0_25", generator=torch.Generator().manual_seed(1)),
        create_model("osnet_x0_25"),
    )
    before = arrays(target)
    content = arrays(source)
    del content["fc.linear.bias"]
    with pytest.raises(CoverageError, match=r"(?s)^w\.safetensors does not cover .*First missing: fc\.linear\.bias"):
        load_state(target, content, where="w.safetensors")
    content = arrays(source)
    content["fc.linear.bias"][0] = np.nan
    with pytest.raises(CheckpointError, match=r"^w\.safetensors: fc\.linear\.bias has 1 values that are not finite"):
        load_state(target, content, where="w.safetensors")
    after = arrays(target)
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_load_state_refuses_integers_and_does_without_counters() -> None:
    source, target = create_model("osnet_x0_25"), create_model("osnet_x0_25")
    content = {key: values for key, values in arrays(source).items() if not key.endswith("num_batches_tracked")}
    load_state(target, content)
    assert target.state_dict()["fc.norm.num_batches_tracked"] == 0
    content["fc.linear.bias"] = content["fc.linear.bias"].astype(np.int8)
    with pytest.raises(CheckpointError, match=r"fc\.linear\.bias holds int8 values, which cannot be weights"):
        load_state(target, content)


def test_denormal_weights_become_0() -> None:
    content = arrays(create_model("osnet_x0_25"))
    content["fc.linear.bias"][:2] = 1e-40, 1e-37
    target = create_model("osnet_x0_25")
    load_state(target, content)
    assert target.state_dict()["fc.linear.bias"][:2].tolist() == [0.0, float(np.float32(1e-37))]


def test_load_state_names_the_right_variant() -> None:
    with pytest.raises(
        CoverageError, match=r"(?s)^This state does not cover the backbone of osnet_x0_25: .*This is osnet_x0_5: "
    ):
        load_state(create_model("osnet_x0_25"), arrays(create_model("osnet_x0_5")))
