"""The Open Model Zoo's OSNets as networks to train."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from tests.weights.openvino_writer import write_graph_of_others
from torch import Tensor, nn
from torch.nn import functional

from omnireid import load_embedder
from omnireid.cli import main
from omnireid.data.listing import list_crops
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import CheckpointError, DataError
from omnireid.images.preprocess import Preprocessing
from omnireid.models.osnet import OSNet
from omnireid.models.zoo import create_model
from omnireid.training.adoption import FEWEST_CROPS, adopt_retail_osnet, measure_norms
from omnireid.weights.artefact import read_metadata
from omnireid.weights.retail_osnet import GroupGate, read_retail_osnet

NUMBERS = {"0288": "osnet_in_x0_25", "0287": "osnet_in_x0_5", "0286": "osnet_in_x0_75", "0277": "osnet_in_x1_0"}


def retail(shared: Path, number: str) -> Path:
    return shared / "weights" / "omz" / f"person-reidentification-retail-{number}.xml"


def test_a_group_gate_compares_the_channels_of_its_groups_only() -> None:
    averages = np.array([[1.0, 3.0, 5.0, 5.0]], np.float32)
    gate = GroupGate(np.array([1, 1, 2, 2], np.float32), np.array([0, 1, 0, -1], np.float32), groups=2)
    low, high = 1 / (1 + np.exp(1)), 1 / (1 + np.exp(-2))  # in the first group ±1, in the second 0
    assert np.allclose(gate.weigh(averages), [[low, high, 0.5, low]], atol=1e-4)


def test_measured_norms_compute_what_they_did_before_in_evaluation_and_nearly_so_in_training() -> None:
    generator = torch.Generator().manual_seed(1)
    model = create_model("osnet_in_x0_25").eval()
    images = torch.randn(16, 3, 64, 32, generator=generator) * 2 + 1
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.bias.normal_(0, 0.2, generator=generator)
        before = model(images)
        unmeasured = float((model.train()(images) - before).abs().mean())
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.reset_running_stats()
        measure_norms(model.eval(), images)
        after = model(images)
        in_training = model.train()(images)
    assert torch.allclose(after, before, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
    assert float((in_training - before).abs().mean()) < 0.05 * unmeasured


def test_another_network_is_refused_by_name(tmp_path: Path) -> None:
    theirs = write_graph_of_others(tmp_path / "theirs.xml")
    with pytest.raises(CheckpointError, match=r"theirs\.xml is not one of the Open Model Zoo's OSNets"):
        read_retail_osnet(theirs)


def test_too_few_crops_are_refused_before_any_file_is_read(tmp_path: Path) -> None:
    crops = [tmp_path / f"{index}.jpg" for index in range(FEWEST_CROPS - 1)]
    with pytest.raises(DataError, match="255 crops are too few"):
        adopt_retail_osnet(tmp_path / "absent.xml", crops)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "osnet"], "on crops of people: add --crops FOLDER"),
        (["--crops", "folder"], "Only --to osnet looks at crops"),
        (
            ["--to", "osnet", "--crops", "folder", "--channels", "bgr", "--height", "128", "--state", "ema"],
            "leave --height, --channels, --state out",
        ),
    ],
)
def test_crops_and_what_needs_them_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    theirs, output = write_graph_of_others(tmp_path / "theirs.xml"), tmp_path / "ours.safetensors"
    assert main(["convert", str(theirs), "--output", str(output), *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not output.exists()


def test_weights_that_are_no_graph_of_openvino_are_sent_to_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "ours.safetensors"
    words = ["convert", "osnet_x0_25.market1501", "--to", "osnet", "--crops", str(tmp_path), "--output", str(output)]
    assert main(words) == 2
    assert "omnireid train --weights goes on from other weights as they are" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.real
@pytest.mark.parametrize("number", NUMBERS)
def test_the_tensors_are_all_there_and_compute_the_maps_of_the_graph(shared: Path, number: str) -> None:
    """The maps of conv5, with the gates of the graph, against those that OpenVINO computes."""
    import openvino

    found = read_retail_osnet(retail(shared, number))
    assert found.architecture == NUMBERS[number]
    model = cast(OSNet, create_model(found.architecture).eval())
    missing = {key for key in model.state_dict() if key not in found.tensors and not key.endswith("_tracked")}
    assert {key.rsplit(".", 2)[0] for key in missing} == {*(f"{block}.gate" for block in found.group_gates), "fc"}
    state = model.state_dict()
    for key, values in found.tensors.items():
        state[key].copy_(torch.from_numpy(np.array(values)))
    for name, gate in found.group_gates.items():
        block = model.get_submodule(name)
        block._modules["gate"] = _Weighed(gate)  # what OmniScaleBlock calls for each stream
        block._weigh = lambda streams, block=block: [block.gate(stream) for stream in streams]  # type: ignore[assignment]
    core = openvino.Core()
    graph = core.read_model(retail(shared, number))
    last = next(node for node in graph.get_ops() if node.get_friendly_name() == "1126")
    maps = core.compile_model(
        openvino.Model([last.output(0)], graph.get_parameters()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 256, 128)).astype(np.float32)
    expected = torch.from_numpy(maps({0: pixels})[0])
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    )
    images = functional.instance_norm((torch.from_numpy(pixels).flip(1) - mean) / std)
    with torch.no_grad():
        ours = model.forward_features(images)
    assert functional.cosine_similarity(ours.flatten(), expected.flatten(), dim=0) > 0.999


class _Weighed(nn.Module):
    def __init__(self, gate: GroupGate) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, maps: Tensor) -> Tensor:
        return torch.from_numpy(self.gate.weigh(maps.mean(dim=(2, 3)).numpy()))[:, :, None, None]


@pytest.mark.real
def test_the_new_network_starts_near_the_old_one(shared: Path, tmp_path: Path) -> None:
    data, output = shared / "data" / "CUHK03-part", tmp_path / "start.safetensors"
    words = ["convert", str(retail(shared, "0288")), "--to", "osnet", "--crops", str(data / "bounding_box_train")]
    assert main([*words, "--output", str(output)]) == 0
    metadata = read_metadata(output)
    assert (metadata.architecture, metadata.licence, metadata.distance) == ("osnet_in_x0_25", "Apache-2.0", "cosine")
    assert metadata.preprocessing == Preprocessing(256, 128)
    assert main(["convert", str(retail(shared, "0288")), "--output", str(tmp_path / "old.xml")]) == 0
    crops = list_crops([str(data / "query")]).paths
    old, new = (
        load_embedder(str(path), RuntimeOptions(precision="fp32")).embed(crops)
        for path in (tmp_path / "old.xml", output)
    )
    likeness = [
        (unit @ unit.T)[np.triu_indices(len(unit), 1)]
        for unit in (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (old, new))
    ]
    assert np.corrcoef(likeness)[0, 1] > 0.6
