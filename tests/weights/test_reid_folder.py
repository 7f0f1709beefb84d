"""Folders of roboflow's reid, against the list of its keys; tests/weights/test_reid_package.py runs the package."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from omnireid import load_embedder
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import (
    CheckpointError,
    CoverageError,
    DiskFullError,
    ExportError,
    ModelError,
    OutputError,
    WeightsNotFoundError,
)
from omnireid.images.preprocess import Preprocessing
from omnireid.images.probes import probe_crops
from omnireid.models.zoo import ARCHITECTURES
from omnireid.weights.artefact import Tensors, WeightsMetadata, halve, read_artefact
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.reid_folder import REID_ARCHITECTURES, read_config, write_reid_folder
from omnireid.weights.source import read_weights

ONNXRUNTIME = RuntimeOptions(runtime="onnxruntime", device="cpu")


@pytest.fixture(scope="module")
def theirs(golden: Path) -> Mapping[str, Any]:
    """What the package keeps of each of its OSNets."""
    content: Mapping[str, Any] = json.loads((golden / "reid_keys.json").read_text())
    return content


@pytest.fixture
def folder(tmp_path: Path, theirs: Mapping[str, Any], small_state: dict[str, Tensor]) -> Path:
    """A folder as the package writes it, of an osnet_x0_25."""
    path = tmp_path / "theirs"
    path.mkdir()
    save_file({key: small_state[key].numpy() for key in theirs["keys"]}, path / "weights.safetensors")
    say(path)
    return path


def say(folder: Path, **preprocessing: object) -> Path:
    """Write the folder's config, with other preprocessing than the package's default."""
    values: dict[str, object] = {"input_size": [64, 32], "interpolation": "bilinear", "resize_mode": "stretch"}
    values |= {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "to_rgb": True, "pad_value": 114}
    config = folder / "reid_config.json"
    config.write_text(json.dumps({"architecture": "osnet_x0_25", "preprocessing": values | preprocessing}))
    return config


@pytest.mark.parametrize("name", REID_ARCHITECTURES)
def test_their_keys_are_the_published_ones(name: str, theirs: Mapping[str, Any]) -> None:
    layout = ARCHITECTURES[name].key_layout
    found = {key: tuple(shape) for key, shape in zip(theirs["keys"], theirs["shapes"][name], strict=True)}
    assert found == {layout.published_names["torchreid"][key]: shape for key, shape in layout.shapes.items()}


def test_they_have_no_other_osnet(theirs: Mapping[str, Any]) -> None:
    assert {name for name in theirs["architectures"] if "osnet" in name} == set(REID_ARCHITECTURES)


def test_a_folder_is_its_weights_with_its_config(folder: Path, small_state: dict[str, Tensor]) -> None:
    embedder = load_embedder(folder, ONNXRUNTIME)
    metadata = embedder.metadata
    assert (metadata.architecture, metadata.preprocessing) == ("osnet_x0_25", Preprocessing(64, 32))
    assert (metadata.distance, metadata.licence, metadata.origin) == ("cosine", "unknown", "theirs/weights.safetensors")
    assert embedder.embed(probe_crops(3, 64, 32)).shape == (3, 512)
    tensors, by_file = read_weights(folder / "weights.safetensors")
    assert by_file == metadata
    names = ARCHITECTURES["osnet_x0_25"].key_layout.published_names["torchreid"]
    assert all(np.array_equal(values, small_state[names[key]].numpy()) for key, values in tensors.items())


def test_what_the_config_leaves_out_is_as_the_package_has_it(folder: Path, theirs: Mapping[str, Any]) -> None:
    (folder / "reid_config.json").write_text('{"architecture": "osnet_x0_25"}')
    usual, size = theirs["preprocessing"], read_config(folder / "reid_config.json").preprocessing
    assert ([size.height, size.width], list(size.mean), list(size.std), size.interpolation) == (
        *(usual["input_size"], usual["mean"], usual["std"]),
        usual["interpolation"],
    )
    assert (usual["resize_mode"], usual["to_rgb"]) == ("stretch", True)


@pytest.mark.parametrize("is_half", [False, True])
def test_what_is_written_is_what_they_write(
    tmp_path: Path, untrained: Path, theirs: Mapping[str, Any], is_half: bool
) -> None:
    tensors, metadata = read_artefact(untrained)
    write_reid_folder(tmp_path / "ours", halve(tensors) if is_half else tensors, metadata)
    assert sorted(os.listdir(tmp_path / "ours")) == ["reid_config.json", "weights.safetensors"]
    with safe_open(tmp_path / "ours" / "weights.safetensors", framework="numpy") as opened:
        found = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    wanted = dict(zip(theirs["keys"], theirs["shapes"]["osnet_x0_25"], strict=True))
    assert {key: list(tensor.shape) for key, tensor in found.items()} == wanted
    types = {"float32", "int64", "float16"} if is_half else {"float32", "int64"}
    assert {str(tensor.dtype) for tensor in found.values()} == types
    config = json.loads((tmp_path / "ours" / "reid_config.json").read_text())
    assert config["architecture"] == "osnet_x0_25"
    assert config["preprocessing"] == {**theirs["preprocessing"], "input_size": [64, 32]}
    assert list(os.listdir(tmp_path)) == ["ours"]


def test_a_folder_of_ours_says_all_that_its_artefact_said(tmp_path: Path, untrained: Path) -> None:
    tensors, metadata = read_artefact(untrained)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
    metadata = replace(
        metadata,
        preprocessing=Preprocessing(96, 48, mean, std),
        licence="research only – see x",
        training_data="our shop",
        metrics={"shop.rank1": 0.5},
    )
    write_reid_folder(tmp_path / "ours", tensors, metadata)
    found, described = read_weights(resolve_weights(tmp_path / "ours"))
    assert described == replace(metadata, origin="ours/weights.safetensors")
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("name", ["osnet_ain_x0_25", "osnet_ibn_x1_0", "osnet_x0_25_two_streams"])
def test_a_network_that_they_lack_is_not_written(tmp_path: Path, name: str) -> None:
    nothing: Tensors = {}
    with pytest.raises(ExportError, match=rf"reid has no {name}.*It has osnet_x0_25, .*omnireid export"):
        write_reid_folder(tmp_path / "ours", nothing, WeightsMetadata(name, 512))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("taken", ["empty", "full", "file"])
def test_nothing_is_replaced(tmp_path: Path, untrained: Path, taken: str) -> None:
    place = tmp_path / "ours"
    if taken == "file":
        place.write_text("mine")
    else:
        place.mkdir()
    if taken == "full":
        (place / "reid_config.json").write_text("mine")
    with pytest.raises(OutputError, match="ours: it exists already, and nothing is replaced. Choose another name"):
        write_reid_folder(place, *read_artefact(untrained))
    assert os.listdir(tmp_path) == ["ours"]
    if taken != "empty":
        assert (place if taken == "file" else place / "reid_config.json").read_text() == "mine"


def test_a_full_disk_leaves_nothing(tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("omnireid.weights.reid_folder.write_json", fail)  # the second of the two files
    with pytest.raises(DiskFullError, match=r"No space left .* while writing .*ours"):
        write_reid_folder(tmp_path / "ours", *read_artefact(untrained))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"interpolation": "bicubic"}, 'asks for "interpolation": "bicubic", and omnireid knows "bilinear" only'),
        ({"interpolation": ["bilinear"]}, r'asks for "interpolation": \["bilinear"\]'),
        ({"resize_mode": "letterbox"}, 'asks for "resize_mode": "letterbox", and omnireid knows "stretch" only'),
        ({"input_size": [10**9, 10**9]}, r'"input_size": \[1000000000, 1000000000\]. A height and a width from 16 to'),
        ({"input_size": [0, 128]}, "A height and a width from 16 to 2048 pixels"),
        ({"input_size": [256.5, 128]}, "A height and a width"),
        ({"input_size": [True, 128]}, "A height and a width"),
        ({"input_size": "256x128"}, "A height and a width"),
        ({"input_size": [256, 128, 3]}, "A height and a width"),
        ({"input_size": {"height": 256}}, "A height and a width"),
        ({"mean": [0.5, 0.5]}, r'"mean": \[0.5, 0.5\]. Three numbers were expected'),
        ({"std": ["a", "b", "c"]}, r'"std": \["a", "b", "c"\]. Three numbers'),
        ({"std": [float("nan")] * 3}, r'"std": \[NaN, NaN, NaN\]. Three numbers'),
        ({"mean": [10**400, 0, 0]}, '"mean": .*Three numbers'),
        ({"std": [0, 0.2, 0.2]}, "reid_config.json cannot be used: .*std above 0"),
        ({"mean": [123, 116, 103]}, r"lie in \[0, 1\] themselves"),
        ({"to_rgb": "yes"}, '"to_rgb": "yes", which is true or false'),
    ],
)
def test_pixels_that_omnireid_does_not_make(folder: Path, said: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_config(say(folder, **said))


def test_crops_from_files_are_rgb_whatever_the_config_says_of_frames(folder: Path) -> None:
    assert read_config(say(folder, to_rgb=False)) == read_config(say(folder, to_rgb=True))


def test_an_entry_that_may_change_pixels_is_not_passed_over_in_silence(folder: Path) -> None:
    assert read_config(say(folder, normalize_embeddings=True)).preprocessing.height == 64  # an old entry, not read
    with pytest.warns(UserWarning, match=r"preprocessing that omnireid does not know and leaves out: \[\"gamma\"\]"):
        read_config(say(folder, gamma=2.2))


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ("", CheckpointError, "is not JSON"),
        ("[" * 100_000, CheckpointError, "is not JSON"),
        ("\xff\xfe", CheckpointError, "is not JSON"),
        ('["osnet_x0_25"]', CheckpointError, r'holds \["osnet_x0_25"\], not an object'),
        ("{}", CheckpointError, 'does not name its network: "architecture" is missing'),
        ('{"architecture": ["osnet_x0_25"]}', CheckpointError, "does not name its network"),
        ('{"architecture": "timm:resnet50"}', ModelError, 'the network "timm:resnet50", which omnireid does not have'),
        ('{"architecture": "fastreid_sbs_resnest50"}', ModelError, "it has osnet_x0_25, .* Run this one with reid"),
        (r'{"architecture": "../../\u001b[2J"}', ModelError, r'the network "\.\./\.\./\\u001b\[2J"'),
        ('{"architecture": "osnet_x0_25", "preprocessing": 1}', CheckpointError, '"preprocessing" of .* is 1, not an'),
        ('{"architecture": "osnet_x0_25", "omnireid": []}', CheckpointError, r'"omnireid" of .* is \[\], not an'),
        (
            '{"architecture": "osnet_x0_25", "omnireid": {"licence": 1}}',
            CheckpointError,
            '"licence": 1. A line of text',
        ),
        ('{"architecture": "osnet_x0_25", "omnireid": {"distance": "far"}}', CheckpointError, 'the distance "far"'),
        ('{"architecture": "osnet_x0_25", "omnireid": {"metrics": {"a": "b"}}}', CheckpointError, "Numbers by name"),
        (" " * (1 << 21), CheckpointError, r"has 2,097,152 bytes, and a config has hundreds"),
    ],
)
def test_a_config_that_is_none(folder: Path, content: str, kind: type[Exception], message: str) -> None:
    (folder / "reid_config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(kind, match=message):
        read_weights(folder / "weights.safetensors")


def test_a_licence_cannot_move_the_cursor(folder: Path) -> None:
    said = {"architecture": "osnet_x0_25", "omnireid": {"licence": "MIT\x1b[2J"}}
    (folder / "reid_config.json").write_text(json.dumps(said))
    assert read_config(folder / "reid_config.json").licence == r"MIT\x1b[2J"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("folder", "is a folder, a pipe or a device"),
        ("pipe", "is a folder, a pipe"),
        ("link", "cannot be read: No such"),
    ],
)
def test_a_config_that_is_no_file(folder: Path, kind: str, message: str) -> None:
    config = folder / "reid_config.json"
    config.unlink()
    if kind == "folder":
        config.mkdir()
    elif kind == "pipe":
        os.mkfifo(config)
    else:
        config.symlink_to("/no/such/file")
    with pytest.raises(CheckpointError, match=message):
        read_weights(resolve_weights(folder))


def test_half_of_a_folder(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    with pytest.raises(WeightsNotFoundError, match=r"theirs has a reid_config\.json and no weights\.safetensors"):
        resolve_weights(folder)
    (folder / "weights.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is a folder"):
        load_embedder(folder)
    (folder / "reid_config.json").unlink()
    with pytest.raises(WeightsNotFoundError, match=r"theirs is a folder.*has no reid_config\.json.*Name a file in it"):
        resolve_weights(folder)


def test_weights_of_another_network_than_the_config_names(folder: Path) -> None:
    (folder / "reid_config.json").write_text('{"architecture": "osnet_x1_0"}')
    message = r"reid_config\.json beside it says osnet_x1_0, and these are the weights of osnet_x0_25"
    with pytest.raises(CoverageError, match=message):
        load_embedder(folder)
    with pytest.raises(ModelError, match=r"reid_config\.json holds osnet_x1_0, not osnet_x0_25"):
        read_weights(folder / "weights.safetensors", architecture="osnet_x0_25")


def test_weights_without_a_part(folder: Path, small_state: dict[str, Tensor]) -> None:
    kept = {key: tensor.numpy() for key, tensor in small_state.items() if not key.startswith("fc.")}
    save_file(kept, folder / "weights.safetensors")
    with pytest.raises(CoverageError, match=re.escape("Part of the network is missing")):
        load_embedder(folder)


def test_weights_under_another_name_have_no_config(folder: Path) -> None:
    (folder / "weights.safetensors").rename(folder / "mine.safetensors")
    assert load_embedder(folder / "mine.safetensors", ONNXRUNTIME).metadata.preprocessing.height == 256


def test_a_pickled_embedder_notices_another_config(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    for name in ("weights.safetensors", "reid_config.json"):
        (tmp_path / "link" / name).symlink_to(folder / name)  # as the cache of a hub keeps its files
    pickled = pickle.dumps(load_embedder(tmp_path / "link", ONNXRUNTIME))
    assert pickle.loads(pickled).metadata.preprocessing.height == 64
    say(folder, input_size=[128, 64])
    with pytest.raises(CheckpointError, match="has changed since the embedder was pickled"):
        pickle.loads(pickled)
