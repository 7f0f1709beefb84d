"""The tensors in a file of weights and what is known of them, whoever wrote the file."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from omnireid.errors import CheckpointError, ModelError
from omnireid.weights.artefact import Tensors, WeightsMetadata, check_architecture, read_artefact
from omnireid.weights.checkpoint import describe_states, load_checkpoint
from omnireid.weights.file_kind import GRAPH_KINDS, identify_weights
from omnireid.weights.published import find_published_file


def read_weights(
    path: Path, *, architecture: str | None = None, state: str | None = None
) -> tuple[Tensors, WeightsMetadata]:
    """Read the whole state of a network from an artefact, a checkpoint or a plain safetensors file. No torch is needed.

    A ``reid_config.json`` beside a ``weights.safetensors`` belongs to it: see `omnireid.weights.reid_folder`.

    A file with several complete sets of weights, such as a moving average beside the plain weights, warns which one
    was taken, unless `state` names it.

    Args:
        path: The file.
        architecture: Name of the network a checkpoint must be; None lets its keys decide. An artefact must agree.
        state: Entry of a checkpoint to take the weights from, such as ``ema``; None takes the usual one.

    Returns:
        Every key of the network to its values, in float32 with denormal values as 0; and the metadata.

    Raises:
        WeightsError: The file cannot be used.
        ModelError: A graph, which has no tensors to take; another architecture; or one that is not known.
    """
    kind = identify_weights(path)
    if kind in GRAPH_KINDS:
        raise ModelError(
            f"{path} is a graph for onnxruntime or openvino; torch runs artefacts (.safetensors) and checkpoints. "
            "Leave --runtime out, or name the weights the graph was exported from."
        )
    if kind == "artefact":
        return _read_artefact(path, architecture, state)
    checkpoint = load_checkpoint(path, architecture, state=state)
    found = checkpoint.inspection
    origin = path.name
    if found.other_states:
        origin += f", the weights under {found.wrapper or 'no entry'!r}"
        if state is None:
            warnings.warn(
                f"{path}: {describe_states(path, found.wrapper, found.other_states)}", UserWarning, stacklevel=2
            )
    from omnireid.models.zoo import find_architecture

    width = find_architecture(checkpoint.architecture).embedding_width
    metadata = found.described or WeightsMetadata(checkpoint.architecture, embedding_dimension=width, origin=origin)
    published = find_published_file(found.sha256)
    if published is not None:
        metadata = replace(metadata, training_data=published.training_data, licence=published.licence)
    return checkpoint.tensors, metadata


def _read_artefact(path: Path, architecture: str | None, state: str | None) -> tuple[Tensors, WeightsMetadata]:
    from omnireid.models.state import usable_state
    from omnireid.models.zoo import find_architecture

    if state is not None:
        raise CheckpointError(f"{path} is an omnireid artefact, which holds one set of weights: leave the state out.")
    tensors, metadata = read_artefact(path)
    check_architecture(path, metadata, architecture)
    known = find_architecture(metadata.architecture)
    if metadata.embedding_dimension != known.embedding_width:
        raise CheckpointError(
            f"{path} says that its embeddings have {metadata.embedding_dimension} values; those of "
            f"{metadata.architecture} have {known.embedding_width}. Write the artefact again from the original "
            "weights with: omnireid convert"
        )
    return usable_state(tensors, known.key_layout.shapes, where=str(path))[0], metadata
