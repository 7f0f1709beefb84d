"""The folder in which roboflow's package ``reid`` keeps a model: ``weights.safetensors`` and ``reid_config.json``.

The weights are a plain state dict in the published names of the keys. The config names the network and says how pixels
become its input. omnireid adds an entry ``omnireid``, which ``reid`` does not read: licence, training data, distance,
scores and origin. What is said here of ``reid`` is true of 0.1.0rc1.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.errors import CheckpointError, ExportError, ModelError, ShapeError, WeightsNotFoundError
from omnireid.files import atomic_folder, sha256_of, write_json
from omnireid.images.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from omnireid.terms import DISTANCES
from omnireid.weights.artefact import METADATA_KEY, Tensors, WeightsMetadata

CONFIG_NAME = "reid_config.json"
WEIGHTS_NAME = "weights.safetensors"

REID_ARCHITECTURES = ("osnet_x0_25", "osnet_x0_5", "osnet_x0_75", "osnet_x1_0")
"""The networks that both packages have. Their names are the same in both."""

_LARGEST_CONFIG = 1 << 20
_LONGEST_TEXT = 10_000
_SMALLEST_SIDE, _LARGEST_SIDE = 16, 2048
_PAD_VALUE = 114  # what reid pads letterboxed crops with by default; a stretched crop has no padding
_UNUSED = ("pad_value", "normalize_embeddings")  # the second is an old one that reid does not read any more
_READ = ("input_size", "mean", "std", "interpolation", "to_rgb", "resize_mode")


def find_model(folder: Path) -> Path | None:
    """Find the weights in a folder that ``reid`` wrote; None if the folder has no config and so is none of those.

    Raises:
        WeightsNotFoundError: The folder has a config and no weights.
    """
    weights = folder / WEIGHTS_NAME
    if find_config(weights) is None:
        return None
    if not os.path.lexists(weights):
        raise WeightsNotFoundError(
            f"{folder} has a {CONFIG_NAME} and no {WEIGHTS_NAME}: half of a model of roboflow's reid. Copy the whole "
            "folder again."
        )
    return weights


def find_config(weights: Path) -> Path | None:
    """Find the config that belongs to a file of weights; None if there is none beside it."""
    if weights.name != WEIGHTS_NAME:
        return None
    config = weights.with_name(CONFIG_NAME)
    return config if os.path.lexists(config) else None


def sha256_with_config(weights: Path) -> str:
    """Compute a SHA-256 of a file of weights, and of the config that may belong to it."""
    config = find_config(weights)
    parts = [sha256_of(path) for path in (weights, config) if path is not None]
    return parts[0] if config is None else hashlib.sha256(" ".join(parts).encode()).hexdigest()


def read_config(config: Path) -> WeightsMetadata:
    """Read what a config says of the weights beside it.

    ``reid`` compares embeddings by cosine distance unless told otherwise, so that is the distance of its models. Its
    ``to_rgb`` tells whether ``reid`` swaps the channels of video frames before it embeds them. The network takes RGB
    in both cases.

    Raises:
        CheckpointError: The config cannot be read, is no config, or asks for pixels that omnireid does not make.
        ModelError: It names a network that omnireid does not have.
    """
    from omnireid.models.zoo import ARCHITECTURES

    values = _read_object(config)
    name = values.get("architecture")
    if not isinstance(name, str):
        raise CheckpointError(
            f'{config} does not name its network: "architecture" is {_shown(name)}. Get the folder again.'
        )
    if name not in ARCHITECTURES:
        raise ModelError(
            f"{config} names the network {_shown(name)}, which omnireid does not have. Of the networks in roboflow's "
            f"reid, it has {', '.join(REID_ARCHITECTURES)}. Run this one with reid."
        )
    ours = values.get(METADATA_KEY, {})
    if not isinstance(ours, dict):
        raise CheckpointError(f'The entry "{METADATA_KEY}" of {config} is {_shown(ours)}, not an object. Remove it.')
    distance = ours.get("distance", "cosine")
    if distance not in DISTANCES:
        raise CheckpointError(
            f"{config} has the distance {_shown(distance)}. Known: {', '.join(DISTANCES)}. Correct it."
        )
    return WeightsMetadata(
        name,
        ARCHITECTURES[name].embedding_width,
        _read_preprocessing(values.get("preprocessing", {}), config),
        distance=distance,
        training_data=_read_text(ours, "training_data", config),
        licence=_read_text(ours, "licence", config),
        metrics=_read_metrics(ours.get("metrics", {}), config),
        origin=f"{config.absolute().parent.name}/{WEIGHTS_NAME}",
    )


def write_reid_folder(folder: Path, tensors: Tensors, metadata: WeightsMetadata) -> None:
    """Write a folder that ``reid`` loads with ``ReIDModel.from_pretrained(folder)``, whole or not at all.

    Args:
        folder: Folder to make. Nothing may have its name.
        tensors: Key of the network's state to values, in our own names.
        metadata: Description of the weights. ``reid`` reads the architecture and the preprocessing.

    Raises:
        ExportError: ``reid`` does not have this network.
        OutputError: The folder exists, or cannot be written.
    """
    from safetensors.numpy import save_file

    from omnireid.models.zoo import find_architecture

    name = metadata.architecture
    if name not in REID_ARCHITECTURES:
        raise ExportError(
            f"roboflow's reid has no {name}, so it could not load the folder. It has {', '.join(REID_ARCHITECTURES)}. "
            "Other tools take a graph of these weights: omnireid export"
        )
    names = find_architecture(name).key_layout.published_names["torchreid"]
    size = metadata.preprocessing
    config = {
        "architecture": name,
        "preprocessing": {
            "input_size": [size.height, size.width],
            "mean": list(size.mean),
            "std": list(size.std),
            "interpolation": size.interpolation,
            "to_rgb": True,
            "resize_mode": "stretch",
            "pad_value": _PAD_VALUE,
        },
        METADATA_KEY: {
            "licence": metadata.licence,
            "training_data": metadata.training_data,
            "distance": metadata.distance,
            "metrics": dict(metadata.metrics),
            "origin": metadata.origin,
        },
    }
    with atomic_folder(folder) as temporary:
        arrays = {names[key]: np.asarray(tensor, order="C") for key, tensor in tensors.items()}
        save_file(arrays, temporary / WEIGHTS_NAME, metadata={"format": "pt"})
        write_json(temporary / CONFIG_NAME, config)


def _read_object(config: Path) -> dict[str, Any]:
    try:
        status = config.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{config} is a folder, a pipe or a device, not a file. Get the folder again.")
        if status.st_size > _LARGEST_CONFIG:
            raise CheckpointError(f"{config} has {status.st_size:,} bytes, and a config has hundreds. Get it again.")
        values = json.loads(config.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{config} cannot be read: {error.strerror}. Check the link or the rights.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{config} is not JSON ({str(error)[:80]}). Get the folder again.") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{config} holds {_shown(values)}, not an object with names. Get the folder again.")
    return values


def _read_preprocessing(values: object, config: Path) -> Preprocessing:
    """Read how pixels become the network's input. What is not said is as ``reid`` has it by default."""
    if not isinstance(values, dict):
        raise CheckpointError(f'The entry "preprocessing" of {config} is {_shown(values)}, not an object. Correct it.')
    if other := [name for name in values if name not in (*_READ, *_UNUSED)]:
        warnings.warn(
            f"{config} has preprocessing that omnireid does not know and leaves out: {_shown(other)}. If it changes "
            "pixels, these embeddings differ from reid's.",
            UserWarning,
            stacklevel=3,
        )
    for entry, usual in (("interpolation", "bilinear"), ("resize_mode", "stretch")):
        if (found := values.get(entry, usual)) != usual:
            raise CheckpointError(
                f'{config} asks for "{entry}": {_shown(found)}, and omnireid knows "{usual}" only; with other pixels '
                f"the embeddings would be others. Run these weights with reid, or, if they were trained on {usual} "
                "crops, correct the config."
            )
    if not isinstance(found := values.get("to_rgb", True), bool):
        raise CheckpointError(f'{config} has "to_rgb": {_shown(found)}, which is true or false. Correct it.')
    size = values.get("input_size", [256, 128])
    if not _are_numbers(size, 2, int) or not all(_SMALLEST_SIDE <= side <= _LARGEST_SIDE for side in size):
        raise CheckpointError(
            f'{config} has "input_size": {_shown(size)}. A height and a width from {_SMALLEST_SIDE} to '
            f"{_LARGEST_SIDE} pixels were expected. Correct it."
        )
    colours: dict[str, Any] = {"mean": values.get("mean", IMAGENET_MEAN), "std": values.get("std", IMAGENET_STD)}
    for entry, found in colours.items():
        if not _are_numbers(found, 3, int | float):
            raise CheckpointError(f'{config} has "{entry}": {_shown(found)}. Three numbers were expected. Correct it.')
    try:
        return Preprocessing(size[0], size[1], **colours)
    except ShapeError as error:
        raise CheckpointError(f"{config} cannot be used: {error}") from error


def _are_numbers(values: object, count: int, kind: Any) -> bool:
    if not isinstance(values, (list, tuple)) or len(values) != count:
        return False
    return all(isinstance(value, kind) and not isinstance(value, bool) and abs(value) < 1e9 for value in values)


def _read_text(values: Mapping[str, Any], entry: str, config: Path) -> str:
    text = values.get(entry, "unknown")
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
        raise CheckpointError(f'{config} has "{entry}": {_shown(text)}. A line of text was expected. Correct it.')
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _read_metrics(values: object, config: Path) -> dict[str, float]:
    is_known = isinstance(values, dict) and all(
        len(name) <= _LONGEST_TEXT and name.isprintable() and _are_numbers([value], 1, int | float)
        for name, value in values.items()
    )
    if not is_known:
        raise CheckpointError(f'{config} has "metrics": {_shown(values)}. Numbers by name were expected. Correct it.')
    assert isinstance(values, dict)
    return {name: float(value) for name, value in values.items()}


def _shown(value: object) -> str:
    """A value from the config, short and printable: it will be printed on somebody's terminal."""
    return "missing" if value is None else json.dumps(value)[:60]
