"""What a teacher says of the training crops: its embedding of each crop and of the crop's mirror image.

A teacher is any network that `omnireid.load_embedder` can run. Its embeddings are computed once and kept by the
content of each crop, so runs that share crops share them, whatever their folders are called. They are kept in
parts: one NumPy file of embeddings with a JSON list of the crops beside it, which is written last, so a build that
was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from omnireid.embedding.embedder import Embedder
from omnireid.errors import EmbeddingError, ImageError, TeacherError
from omnireid.files import atomic_output, cache_folder, output_errors, sha256_of, sole_writer, write_json
from omnireid.images.batches import iterate_batches
from omnireid.images.pixel_cache import PIXEL_PATH
from omnireid.machine import usable_cores
from omnireid.progress import Advance, progress_bar
from omnireid.types import ByteArray, FloatArray

PART = 2048
"""Crops in one part of the cache; what an interruption can lose."""

_BATCH = 64
_SHORTEST = 1e-6  # below it an embedding has no direction to imitate


def teacher_folder(teacher: Embedder, folder: Path | None = None) -> Path:
    """The folder of one teacher's embeddings; another file of weights, precision or pixel path has another folder.

    Args:
        teacher: the network.
        folder: the folder of all teachers; by default ``teachers`` in `omnireid.files.cache_folder`.
    """
    facts = [teacher.weights_sha256, teacher.precision, PIXEL_PATH, teacher.metadata.json()["preprocessing"]]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return (cache_folder() / "teachers" if folder is None else folder) / key[:32]


def teach(teacher: Embedder, paths: Sequence[Path], *, folder: Path | None = None, progress: bool = True) -> FloatArray:
    """Embed each crop and its mirror image by the teacher, or take what was embedded before from the cache.

    Args:
        teacher: the network to imitate.
        paths: N crops; the same content may come several times.
        folder: the folder of all teachers; see `teacher_folder`.
        progress: show a bar on standard error.

    Returns:
        (N, 2, D) float32 of unit length: [:, 0] of the crop, [:, 1] of its mirror image.

    Raises:
        TeacherError: the teacher gives an embedding that is not finite, or has no direction (all zeros).
        ImageError: a crop that cannot be read.
        OutputError: the cache cannot be written; `DiskFullError` where the disk is full.
    """
    place = teacher_folder(teacher, folder)
    contents = _hash_files(paths)
    with sole_writer(place / "parts", wait=True):
        known = _read_parts(place, teacher.metadata.embedding_dimension)
        first = {content: index for index, content in reversed(list(enumerate(contents)))}
        missing = sorted(index for content, index in first.items() if content not in known)
        with progress_bar("teacher", len(missing), show=progress and bool(missing)) as advance:
            for start in range(0, len(missing), PART):
                chosen = missing[start : start + PART]
                embeddings = _embed_both(teacher, [paths[index] for index in chosen], advance)
                _write_part(place, [contents[index] for index in chosen], embeddings)
                known |= zip([contents[index] for index in chosen], embeddings, strict=True)
    return np.stack([known[content] for content in contents])


def _hash_files(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of each file."""

    def digest(path: Path) -> str:
        try:
            return sha256_of(path)
        except OSError as error:
            raise ImageError(f"Cannot read {path}: {error.strerror or error}. Check its name and rights.") from error

    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="hash") as threads:
        return list(threads.map(digest, paths))


def _embed_both(teacher: Embedder, paths: Sequence[Path], advance: Advance) -> FloatArray:
    """(n, 2, D) unit embeddings of crops and of their mirror images, from one decoding."""
    embeddings = np.empty((len(paths), 2, teacher.metadata.embedding_dimension), dtype=np.float32)
    for batch in iterate_batches(list(paths), teacher.metadata.preprocessing, batch_size=_BATCH):
        rows = list(batch.indices)
        for mirrored, pixels in enumerate((batch.pixels, np.ascontiguousarray(batch.pixels[:, :, ::-1]))):
            try:
                embeddings[rows, mirrored] = teacher.embed(pixels)
            except EmbeddingError as error:
                path = paths[rows[_find_not_finite(teacher, pixels)]]
                raise TeacherError(
                    f"{teacher.weights} cannot teach: its embedding of {path}{' mirrored' if mirrored else ''} is not "
                    "finite. Leave the crop out if it is the only one; otherwise the weights are damaged (omnireid "
                    "inspect): choose another teacher."
                ) from error
        lengths = np.linalg.norm(embeddings[rows], axis=2)
        if not (lengths > _SHORTEST).all():
            path = paths[rows[int(np.argmin(lengths.min(axis=1)))]]
            raise TeacherError(
                f"{teacher.weights} cannot teach: its embedding of {path} is all zeros, so it has no direction to "
                "imitate. Leave the crop out, or choose another teacher."
            )
        embeddings[rows] /= lengths[:, :, None]
        advance(len(rows))
    return embeddings


def _find_not_finite(teacher: Embedder, pixels: ByteArray) -> int:
    """Find the first crop of a batch whose embedding is not finite: the error of the batch does not name its file."""
    for index in range(len(pixels)):
        try:
            teacher.embed(pixels[index : index + 1])
        except EmbeddingError:
            return index
    return 0


def _write_part(place: Path, contents: Sequence[str], embeddings: FloatArray) -> None:
    """Write the embeddings first and the list that makes them count last."""
    name = hashlib.sha256("".join(contents).encode()).hexdigest()[:32]
    with atomic_output(place / f"{name}.npy") as temporary, output_errors(place), temporary.open("wb") as stream:
        np.save(stream, embeddings)
    digest = hashlib.sha256(embeddings.tobytes()).hexdigest()
    write_json(place / f"{name}.json", {"sha256": digest, "crops": list(contents)})


def _read_parts(place: Path, width: int) -> dict[str, FloatArray]:
    """The embeddings of all whole parts by the SHA-256 of their crop; a damaged part is removed and made again."""
    known: dict[str, FloatArray] = {}
    for listing in sorted(place.glob("*.json")) if place.is_dir() else []:
        found = _read_part(listing, width)
        if found is None:
            for path in (listing, listing.with_suffix(".npy")):
                with suppress(OSError):
                    path.unlink()
        else:
            known |= found
    return known


def _read_part(listing: Path, width: int) -> Iterable[tuple[str, FloatArray]] | None:
    """Crops and embeddings of one part; None where it is not what was written."""
    try:
        record = json.loads(listing.read_bytes())
        embeddings = np.load(listing.with_suffix(".npy"), allow_pickle=False)
        contents = [str(content) for content in record["crops"]]
        whole = hashlib.sha256(embeddings.tobytes()).hexdigest() == record["sha256"]
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    if not whole or embeddings.shape != (len(contents), 2, width) or embeddings.dtype != np.float32:
        return None
    return zip(contents, embeddings, strict=True)
