"""The Open Model Zoo's OSNets as networks to train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.weights.openvino_writer import write_graph_of_others
from torch import nn

from omnireid import load_embedder
from omnireid.cli import main
from omnireid.data.listing import list_crops
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import CheckpointError, DataError
from omnireid.images.preprocess import Preprocessing
from omnireid.models.zoo import create_model
from omnireid.training.adoption import FEWEST_CROPS, adopt_retail_osnet, measure_norms
from omnireid.weights.artefact import read_metadata
from omnireid.weights.retail_osnet import read_retail_osnet

NUMBERS = {
    "0288": "osnet_retail_x0_25",
    "0287": "osnet_retail_x0_5",
    "0286": "osnet_retail_x0_75",
    "0277": "osnet_retail_x1_0",
}


def retail(shared: Path, number: str) -> Path:
    return shared / "weights" / "omz" / f"person-reidentification-retail-{number}.xml"


def test_measured_norms_compute_what_they_did_before_in_evaluation_and_nearly_so_in_training() -> None:
    generator = torch.Generator().manual_seed(1)
    model = create_model("osnet_retail_x0_25").eval()
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
def test_the_network_gives_the_embeddings_of_the_graph(shared: Path, tmp_path: Path, number: str) -> None:
    """All tensors are there, each in its place. What is left out of the graph changes the embeddings a little."""
    data, output = shared / "data" / "CUHK03-part", tmp_path / "start.safetensors"
    words = ["convert", str(retail(shared, number)), "--to", "osnet", "--crops", str(data / "bounding_box_train")]
    assert main([*words, "--output", str(output)]) == 0
    metadata = read_metadata(output)
    assert (metadata.architecture, metadata.licence) == (NUMBERS[number], "Apache-2.0")
    assert (metadata.distance, metadata.preprocessing) == ("cosine", Preprocessing(256, 128))
    assert main(["convert", str(retail(shared, number)), "--output", str(tmp_path / "old.xml")]) == 0
    crops = list_crops([str(data / "query")]).paths[:64]
    old, new = (
        load_embedder(str(path), RuntimeOptions(precision="fp32")).embed(crops)
        for path in (tmp_path / "old.xml", output)
    )
    cosines = (old * new).sum(axis=1) / np.linalg.norm(old, axis=1) / np.linalg.norm(new, axis=1)
    assert cosines.min() > 0.9
