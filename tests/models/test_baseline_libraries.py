"""The baselines against torchvision and timm: run by make torchvision, where a missing library is a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from omnireid import create_model
from omnireid.models.state import load_state
from omnireid.weights.checkpoint import load_checkpoint

pytestmark = [pytest.mark.torchvision, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

NETWORKS = [
    (publisher, name)
    for publisher in ("torchvision", "timm")
    for name in ("resnet50", "mobilenetv2_x1_0", "mobilenetv2_x1_4")
]


def lived_in(model: Any) -> Any:
    """Give every norm statistics of its own."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.4, 0.8, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
    return model.eval()


@pytest.mark.parametrize(("publisher", "name"), NETWORKS)
def test_their_weights_give_their_embeddings(
    publisher: str, name: str, tmp_path: Path, golden: Path, baseline_keys: Any
) -> None:
    model = lived_in(
        {"torchvision": baseline_keys.build_torchvision, "timm": baseline_keys.build_timm}[publisher]()[name]()
    )
    assert (
        baseline_keys.list_keys(model) == json.loads((golden / "baseline_keys.json").read_text())[f"{publisher}/{name}"]
    )
    torch.save(model.state_dict(), tmp_path / "theirs.pth")
    checkpoint = load_checkpoint(tmp_path / "theirs.pth")
    assert checkpoint.architecture == name
    assert checkpoint.inspection.report.backbone_coverage == 1.0
    ours = create_model(name).eval()
    load_state(ours, checkpoint.tensors)
    images = torch.randn(2, 3, 256, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), baseline_keys.embed(publisher, model, images), rtol=1e-5, atol=1e-5)
