"""The file of a head: safetensors, with a record of its own and a digest over the tensors."""

from __future__ import annotations

import json
import os
from pathlib import Path

from omnireid.attributes.head import AttributeHead, HeadRecord
from omnireid.errors import CheckpointError, ShapeError, WeightsNotFoundError, newer_format
from omnireid.files import as_path, atomic_output
from omnireid.weights.artefact import METADATA_KEY, sha256_of_tensors
from omnireid.weights.shipped import DEFAULT_WEIGHTS

FORMAT_VERSION = 1
HEAD_KEY = "omnireid_attributes"
"""Key of the record in the file's metadata. It is not that of weights, so that neither is taken for the other."""

HEADS_FOLDER = Path(__file__).resolve().parent
"""Where heads that ship with the package lie, each named like its weights."""

_TENSORS = ("weights", "biases", "positive_shares")


def write_attribute_head(head: AttributeHead, path: str | os.PathLike[str]) -> None:
    """Write a head. An old file stays until the new one is complete.

    Raises:
        OutputError: The file cannot be written.
    """
    from safetensors.numpy import save

    tensors = {name: getattr(head, name) for name in _TENSORS}
    record = {
        "format_version": FORMAT_VERSION,
        "tensors_sha256": sha256_of_tensors(tensors),
        "names": list(head.names),
        **head.record.json(),
    }
    content = save(tensors, metadata={HEAD_KEY: json.dumps(record, sort_keys=True)})
    with atomic_output(as_path(path, "path")) as temporary:
        temporary.write_bytes(content)


def read_attribute_head(path: str | os.PathLike[str] | None = None) -> AttributeHead:
    """Read what `write_attribute_head` wrote, and check that it is unaltered.

    Args:
        path: The file. By default the head that ships for the default weights.

    Raises:
        WeightsNotFoundError: No such file, or a build without the default head.
        CheckpointError: The file is no head, truncated, altered, or written by a newer version.
    """
    from safetensors import SafetensorError, safe_open

    path = HEADS_FOLDER / f"{DEFAULT_WEIGHTS}.safetensors" if path is None else as_path(path, "path")
    if not path.is_file():
        raise WeightsNotFoundError(
            f"No such file of an attribute head: {path}. Make one with: omnireid attributes train"
        )
    try:
        with safe_open(path, framework="numpy") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (it is no dict)
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}). Was the copy cut short? Get it again."
        ) from error
    if HEAD_KEY not in header:
        what = "weights" if METADATA_KEY in header else "a safetensors file without a head's record"
        raise CheckpointError(f"{path} is no attribute head but {what}. Make one with: omnireid attributes train")
    return _make_head(path, header[HEAD_KEY], tensors)


def _make_head(path: Path, text: str, tensors: dict[str, object]) -> AttributeHead:
    try:
        record = json.loads(text)
        version = int(record["format_version"])
        if version > FORMAT_VERSION:
            raise CheckpointError(newer_format(path, version, FORMAT_VERSION))
        if sha256_of_tensors(tensors) != record["tensors_sha256"]:  # type: ignore[arg-type]
            raise CheckpointError(f"The tensors of {path} are not those it was written with. Get the file again.")
        arrays = {name: tensors[name] for name in _TENSORS}
        return AttributeHead(tuple(record["names"]), record=HeadRecord.from_json(record), **arrays)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, ShapeError) as error:
        raise CheckpointError(f"The record of {path} is damaged ({error!r}). Get the file again.") from error
