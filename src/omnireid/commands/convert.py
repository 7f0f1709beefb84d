"""``omnireid convert``: a checkpoint into an artefact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from omnireid.commands.options import OptionalNumber, OptionalText, WeightsPositional

DistanceOption = Annotated[Literal["euclidean", "cosine"] | None, tyro.conf.arg(metavar="{euclidean,cosine}")]


def convert(
    weights: WeightsPositional,
    *,
    output: Path,
    architecture: OptionalText = None,
    licence: OptionalText = None,
    training_data: OptionalText = None,
    distance: DistanceOption = None,
    height: OptionalNumber = None,
    width: OptionalNumber = None,
    half: bool = False,
) -> None:
    """Turn a checkpoint into an omnireid artefact: one safe file that says what it is and how to use it.

    The artefact is a safetensors file with architecture, input size, mean and std,
    distance, training data, licence and a checksum in its metadata. A classifier is
    left out. Given an artefact, it writes it again with what is named here changed.

    Example: omnireid convert osnet_x0_25_market1501.pth --output osnet_x0_25.safetensors

    Args:
        weights: a checkpoint (.pth, .pt, .pth.tar), hf://owner/repository/file, https://…#sha256=…, or a name that
            ships with omnireid.
        output: the artefact to write, ending in .safetensors.
        architecture: of a checkpoint whose keys do not tell.
        licence: terms of the weights in one line; by default what is known of the file.
        training_data: what they were trained on; by default what is known of the file.
        distance: how their embeddings are meant to be compared; euclidean unless the file says otherwise.
        height: input height they were trained at, in pixels; 256 unless the file says otherwise.
        width: input width they were trained at, in pixels; 128 unless the file says otherwise.
        half: store weights in half precision: half the size, nearly the same embeddings.
    """
    from dataclasses import replace

    from omnireid.embedding.artefact import halve, write_artefact
    from omnireid.embedding.fetch import resolve_weights
    from omnireid.embedding.torch_runtime import load_weights
    from omnireid.errors import OutputError
    from omnireid.files import sha256_of

    if output.suffix != ".safetensors":
        raise OutputError(
            f"An artefact's name ends in .safetensors; got {output}. Try {output.with_suffix('.safetensors')}."
        )
    path = resolve_weights(weights)
    model, found = load_weights(path, architecture=architecture)
    size = found.preprocessing
    size = replace(size, height=size.height if height is None else height, width=size.width if width is None else width)
    metadata = replace(
        found,
        preprocessing=size,
        distance=distance or found.distance,
        licence=licence or found.licence,
        training_data=training_data or found.training_data,
        origin=f"{path.name}, SHA-256 {sha256_of(path)}",
    )
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    write_artefact(output, halve(tensors) if half else tensors, metadata)
    print(f"{output}: {metadata.architecture}, {size.height} × {size.width}, licence: {metadata.licence}")
    if metadata.licence == "unknown":
        print("Nobody said on what terms these weights may be used. Find out, and say so with --licence.")
