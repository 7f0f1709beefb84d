"""The weights artefact: one safe file that says what it is and how to use it.

It is a safetensors file. Its metadata holds, under the key ``omnireid``, a JSON
object with everything in `WeightsMetadata` and a SHA-256 over the tensors, so
that a file that was altered later is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from omnireid.errors import CheckpointError, ModelError, OmnireidError, WeightsNotFoundError, newer_format
from omnireid.files import atomic_output
from omnireid.images.preprocess import Preprocessing
from omnireid.terms import DISTANCES, Distance

FORMAT_VERSION = 1
METADATA_KEY = "omnireid"

Tensors = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class WeightsMetadata:
    """What a file of weights is and how to use it.

    Attributes:
        architecture: Name of the network, one that `create_model` knows.
        embedding_dimension: Number of values D in an embedding.
        preprocessing: How pixels become the network's input.
        distance: Distance that its embeddings are meant to be compared by.
        training_data: Data it was trained on; ``unknown`` where nobody said.
        licence: Terms of the weights in one line; ``unknown`` where nobody said.
        metrics: Scores by name, as fractions, such as ``{"market1501.rank1": 0.912}``.
        origin: File it was made from, for the record.
    """

    architecture: str
    embedding_dimension: int
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    distance: Distance = "euclidean"
    training_data: str = "unknown"
    licence: str = "unknown"
    metrics: Mapping[str, float] = field(default_factory=dict)
    origin: str = "unknown"

    def json(self) -> dict[str, Any]:
        """The metadata as plain values."""
        return asdict(replace(self, metrics=dict(self.metrics)))

    @staticmethod
    def from_json(values: Mapping[str, Any], where: str) -> WeightsMetadata:
        """Read what `json` wrote.

        Raises:
            CheckpointError: A value is missing or is not what it should be; the message names `where`.
        """
        known = {name: values[name] for name in WeightsMetadata.__dataclass_fields__ if name in values}
        try:
            known["preprocessing"] = Preprocessing(**known["preprocessing"])
            metadata = WeightsMetadata(**known)
            if metadata.distance not in DISTANCES or metadata.embedding_dimension < 1:
                raise ValueError(f"distance {metadata.distance!r}, dimension {metadata.embedding_dimension!r}")
        except (KeyError, TypeError, ValueError, OmnireidError) as error:
            raise CheckpointError(
                f"The metadata of {where} cannot be used ({error!r}). Write the artefact again from the original "
                "weights with: omnireid convert"
            ) from error
        return metadata


def check_architecture(path: Path, metadata: WeightsMetadata, architecture: str | None) -> None:
    """Check that an artefact has the architecture that was asked for, if any was.

    Raises:
        ModelError: It has another one.
    """
    if architecture not in (None, metadata.architecture):
        raise ModelError(
            f"{path} holds {metadata.architecture}, not {architecture}. Leave the architecture out: the file says it."
        )


def sha256_of_tensors(tensors: Tensors) -> str:
    """Compute a SHA-256 over names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.asarray(tensors[name], order="C")
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def halve(tensors: Tensors) -> dict[str, npt.NDArray[np.generic]]:
    """Convert tensors to half precision, for an artefact of half the size. Loading makes float32 of them again.

    Running means and variances of the batch norms stay in float32: most variances of a trained OSNet are below the
    smallest normal number of half precision, and the network divides by their square roots. Other values that would
    be denormal in half precision become 0. Processors that compute in half precision are slow on denormals, and
    weights that small have no effect. Integers stay as they are.

    Args:
        tensors: Key of the network's state to values. They are not changed.

    Raises:
        CheckpointError: A value is not finite, or too large for half precision (65,504); the message names the key.
    """
    return {name: _halved(name, np.asarray(tensor)) for name, tensor in tensors.items()}


def _halved(name: str, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if not np.issubdtype(values.dtype, np.floating):
        return values.copy()
    kept = name.rpartition(".")[2] in ("running_mean", "running_var")
    target = np.float32 if kept else np.float16
    with np.errstate(over="ignore", under="ignore"):
        smaller = values.astype(target)
    bad = ~np.isfinite(smaller)
    if bad.any():
        raise CheckpointError(
            f"{name} has {int(bad.sum())} values of {values.size} that {np.dtype(target).name} cannot hold, such as "
            f"{float(values[bad][0]):g} (the largest it holds is {float(np.finfo(target).max):,g}). Keep these weights "
            "in float32, or use an earlier checkpoint if the training diverged."
        )
    return smaller if kept else np.where(np.abs(smaller) < np.finfo(np.float16).tiny, np.float16(0), smaller)


def write_artefact(path: Path, tensors: Tensors, metadata: WeightsMetadata) -> None:
    """Write weights and metadata as one safetensors file. An old file stays until the new one is complete.

    Raises:
        OutputError: The file cannot be written.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    record = {"format_version": FORMAT_VERSION, "tensors_sha256": sha256_of_tensors(arrays), **metadata.json()}
    content = save(arrays, metadata={METADATA_KEY: json.dumps(record, sort_keys=True)})
    with atomic_output(path) as temporary:
        temporary.write_bytes(content)


def read_metadata(path: Path) -> WeightsMetadata:
    """Read the metadata of an artefact without its tensors.

    Raises:
        WeightsNotFoundError: No such file.
        CheckpointError: The file is not a safetensors file, not one of omnireid's, or written by a newer version.
    """
    metadata, _ = _read_record(path)
    return metadata


def read_artefact(path: Path) -> tuple[dict[str, npt.NDArray[np.generic]], WeightsMetadata]:
    """Read the tensors and metadata of an artefact, and check that the tensors are unaltered.

    Raises:
        WeightsNotFoundError: No such file.
        CheckpointError: The file is not a safetensors file, not one of omnireid's, truncated, altered, or written by
            a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    metadata, expected = _read_record(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, KeyError, TypeError) as error:
        raise CheckpointError(f"The tensors of {path} cannot be read ({error}). Copy the file again.") from error
    found = sha256_of_tensors(tensors)
    if found != expected:
        raise CheckpointError(
            f"The tensors of {path} are not those it was written with (SHA-256 {found[:12]}…, expected "
            f"{expected[:12]}…): the file was altered or damaged. Get it again from where it came."
        )
    return dict(tensors), metadata


def _read_record(path: Path) -> tuple[WeightsMetadata, str]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise WeightsNotFoundError(f"No such file of weights: {path}.")
    try:
        with safe_open(path, framework="numpy") as opened:
            header = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}). Was the download or copy cut short? Get it again."
        ) from error
    if METADATA_KEY not in header:
        raise CheckpointError(
            f"{path} is a safetensors file without omnireid's metadata, and so not an artefact. Make one of it with: "
            f"omnireid convert {path.name} --output OURS.safetensors"
        )
    try:
        record = json.loads(header[METADATA_KEY])
        version, expected = int(record["format_version"]), str(record["tensors_sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"The metadata of {path} is damaged ({error!r}). Get the file again.") from error
    if version > FORMAT_VERSION:
        raise CheckpointError(newer_format(path, version, FORMAT_VERSION))
    return WeightsMetadata.from_json(record, str(path)), expected
