"""What a graph made by others takes and gives, what its user must say, and whether it embeds, in any format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.errors import CheckpointError, ShapeError, first_line
from omnireid.images.preprocess import Preprocessing
from omnireid.images.probes import probe_crops
from omnireid.types import FloatArray
from omnireid.weights.artefact import WeightsMetadata
from omnireid.weights.description import WeightsDescription
from omnireid.weights.graph_file import GraphMetadata

CHANNELS = 3

_LARGEST_SIDE = 4096  # pixels; a crop of one person never needs more, and a hostile graph could ask for any memory
_MOST = 7  # crops of the largest batch that is tried
_TOLERANCE = 1e-3
"""How far a crop's embedding may move with the size of its batch, relative to its length: sums round differently."""


@dataclass(frozen=True)
class Interface:
    """What a graph takes and gives, as far as it says so itself.

    Attributes:
        takes_pixels: Whether the input is uint8, and not float.
        height: Input height in pixels; None where the graph leaves it open.
        width: Input width in pixels; None where the graph leaves it open.
        output: Name of the output with the embeddings.
        dimension: Number of values in an embedding.
        outputs: How many outputs there were to choose from.
    """

    takes_pixels: bool
    height: int | None
    width: int | None
    output: str
    dimension: int
    outputs: int


def choose_output(shapes: Mapping[str, object], path: Path, name: str | None) -> str:
    """Choose the output with the embeddings. Several outputs, such as embeddings and logits, need a name.

    Args:
        shapes: Name of each output to its shape.
        path: The graph, for an error.
        name: The name that the user gave.

    Raises:
        CheckpointError: there is no such output, or there are several and none was named.
    """
    listed = ", ".join(f"{output} {shape}" for output, shape in shapes.items())
    if name is not None and name not in shapes:
        raise CheckpointError(f"{path} has no output {name!r}. Its outputs are: {listed}.")
    if name is None and len(shapes) != 1:
        raise CheckpointError(
            f"{path} has {len(shapes)} outputs, and nothing is guessed: {listed}. Name the one with the embeddings: "
            "--output-name NAME"
        )
    return next(iter(shapes)) if name is None else name


def combine(interface: Interface, description: WeightsDescription, path: Path) -> Preprocessing:
    """Combine what a graph and its user say of the input. They must agree, and nothing may be missing.

    Raises:
        CheckpointError: they disagree, or the graph's use is not known; the message lists all that is missing.
        ShapeError: mean and std cannot belong to the graph's range.
    """
    if not interface.dimension:
        raise CheckpointError(
            f"{path} gives embeddings of no values (output {interface.output!r}). Convert the network again."
        )
    for flag, said, axis in (
        ("--height", description.height, interface.height),
        ("--width", description.width, interface.width),
    ):
        if said is not None and axis is not None and axis != said:
            raise CheckpointError(
                f"{path} takes crops of {interface.height} × {interface.width} only, not {flag} {said}. "
                f"Leave {flag} out."
            )
    height, width = interface.height or description.height, interface.width or description.width
    wanted: dict[str, object] = {"--architecture": description.architecture, "--height": height, "--width": width}
    if not interface.takes_pixels and description.range is None:
        wanted |= {"--mean": description.mean, "--std": description.std}
    if missing := [flag for flag, value in wanted.items() if value is None]:
        instead = " A graph that takes pixel values as they are needs --range 255 instead of mean and std."
        raise CheckpointError(
            f"{path} does not say all that its use needs, and nothing is guessed. Say {', '.join(missing)}: whoever "
            f"made it knows.{instead if '--mean' in missing else ''}"
        )
    assert height is not None
    assert width is not None
    if max(height, width) > _LARGEST_SIDE:
        raise CheckpointError(
            f"{path} takes images of {height} × {width} pixels (height × width). A crop of one person has at most "
            f"{_LARGEST_SIDE:,} a side, so this is not a network for crops."
        )
    if interface.takes_pixels and description.range == 1:
        raise CheckpointError(
            f"{path} takes uint8 pixels, whose values go up to 255, which --range 1 contradicts. Leave --range out."
        )
    if interface.takes_pixels and (description.mean is not None or description.std is not None):
        raise CheckpointError(
            f"{path} takes uint8 pixels as they are, so a mean and a deviation would change nothing. Leave --mean and "
            "--std out; what the graph itself does with its pixels needs no flag."
        )
    return _scale(Preprocessing(height, width), description)


def _scale(size: Preprocessing, description: WeightsDescription) -> Preprocessing:
    """Bring the mean and std that were given into [0, 1], the range in which they are kept."""
    top, mean, std = description.range, description.mean, description.std
    if top is None and (mean is None or std is None):
        return size
    white = float(top or 1)
    low, high = (0.0,) * CHANNELS if mean is None else mean, (1.0,) * CHANNELS if std is None else std
    if top is not None and not all(0 <= value <= white for value in (*low, *high)):
        raise ShapeError(
            f"With --range {top}, mean and std lie between 0 and {top}; got mean {low} and std {high}. Correct them, "
            "or say the other range (1 or 255)."
        )
    return Preprocessing(
        size.height,
        size.width,
        (low[0] / white, low[1] / white, low[2] / white),
        (high[0] / white, high[1] / white, high[2] / white),
    )


def describe_foreign(
    interface: Interface, preprocessing: Preprocessing, description: WeightsDescription, files: str, digest: str
) -> tuple[WeightsMetadata, str]:
    """Describe the weights of a graph by what its user says of them.

    Args:
        interface: What the graph takes and gives.
        preprocessing: What `combine` found.
        description: What the user says.
        files: The files the graph was read from, in words.
        digest: SHA-256 of these files.

    Returns:
        The description, and the SHA-256 that the graph's embeddings carry. That is `digest`, unless the channel order
        or the output was chosen: then it covers the choice, because the same files give other embeddings with another
        one. Size, mean and std are kept beside embeddings anyway.
    """
    choices = ["BGR"] if description.channels == "bgr" else []
    choices += [f"output {interface.output}"] if interface.outputs > 1 else []
    identity = hashlib.sha256(" ".join([digest, *choices]).encode()).hexdigest() if choices else digest
    origin = f"{files}, SHA-256 {digest}" + (f"; with {', '.join(choices)}: {identity}" if choices else "")
    weights = WeightsMetadata(
        description.architecture or "",
        interface.dimension,
        preprocessing,
        distance=description.distance or "euclidean",
        training_data=description.training_data or "unknown",
        licence=description.licence or "unknown",
        origin=origin if description.source is None else f"{description.source}: {origin}",
    )
    return weights, identity


def check_embeddings(run: Callable[[Any], Any], metadata: GraphMetadata, path: Path) -> None:
    """Run a graph on drawn crops, and check that it gives each crop an embedding of its own.

    Args:
        run: Runs the graph on a batch of its input, and gives its output.
        metadata: Description of the graph.
        path: The graph, for an error.

    Raises:
        CheckpointError: it cannot be run, gives something else than one finite embedding for each crop, gives all
            crops the same one, or lets the other crops of a batch change a crop's embedding.
    """
    size = metadata.weights.preprocessing
    crops = probe_crops(_MOST, size.height, size.width)
    images = crops if metadata.takes_pixels else size.normalise(crops)
    whole = _embed(run, images, metadata, path)
    if np.ptp(whole, axis=0).max() <= 1e-6 * np.abs(whole).max():
        raise CheckpointError(
            f"{path} gives {_MOST} different crops the same embedding, so nothing can be told apart by it. Is it "
            "trained, and are range, mean and std right?"
        )
    single = np.concatenate([_embed(run, images[i : i + 1], metadata, path) for i in range(_MOST)])
    pair = _embed(run, images[:2], metadata, path)
    lengths = np.linalg.norm(whole, axis=1)
    for batch, found in ((1, single), (2, pair)):
        distances = np.linalg.norm(found - whole[: len(found)], axis=1)
        if (distances > _TOLERANCE * lengths[: len(found)]).any():
            raise CheckpointError(
                f"{path} gives a crop another embedding in a batch of {batch} than in a batch of {_MOST}, so its rows "
                "are not independent. Export it again from a network in evaluation mode (model.eval())."
            )


def _embed(run: Callable[[Any], Any], images: Any, metadata: GraphMetadata, path: Path) -> FloatArray:
    try:
        embeddings = np.array(run(images), dtype=np.float32)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be run on a batch of {len(images)} crops ({first_line(error)}). Export it again with a "
            "free batch."
        ) from error
    expected = (len(images), metadata.weights.embedding_dimension)
    if embeddings.shape != expected:
        raise CheckpointError(
            f"{path} gives {embeddings.shape} for a batch of {len(images)} crops, and not {expected}. Export it again "
            "with a free batch."
        )
    if not np.isfinite(embeddings).all():
        raise CheckpointError(f"{path} gives values that are not finite. Are its weights, range, mean and std right?")
    return embeddings
