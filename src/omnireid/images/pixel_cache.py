"""Crops decoded and resized once, in a memory-mapped file that is found again by what is in them.

A store is a NumPy file, ``KEY.npy``, and ``KEY.json`` beside it, which is written last: without it the pixels are
of a build that never ended, and are built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import PIL

from omnireid.errors import DataError, DataNotFoundError, DiskFullError, ImageError
from omnireid.files import atomic_output, cache_folder, output_errors, sole_writer
from omnireid.images.batches import iterate_batches
from omnireid.images.preprocess import Preprocessing
from omnireid.machine import usable_cores
from omnireid.progress import progress_bar

PIXEL_PATH = f"1, Pillow {PIL.__version__}"
"""Version of `Preprocessing.resize`: to be raised where its pixels change. Pillow's own version may change them too."""

CHUNK = 64
"""Crops a checksum."""

SAMPLED_CHUNKS = 16
"""How many chunks are read again on opening, spread evenly, the first and the last among them."""

_FORMAT = 1
_FILE = re.compile(r"\.?([0-9a-f]{64})(?:-[0-9a-f]{12})?\.(?:npy|json)")


@dataclass(frozen=True, eq=False)
class CropStore:
    """Decoded crops.

    Attributes:
        path: the NumPy file.
        height: of each crop, in pixels.
        width: of each crop, in pixels.
        key: 64 hexadecimal digits; see `store_key`.
        pixels: (N, height, width, 3) uint8 RGB, a read-only memory map, in the order of the paths.
    """

    path: Path
    height: int
    width: int
    key: str
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class StoreEntry:
    """A store on the disk.

    Attributes:
        key: 64 hexadecimal digits.
        path: the NumPy file.
        shape: crops, height and width; None for what an interrupted build left.
        bytes: disk space of all its files.
        last_used: when it was opened last, in seconds since 1970.
    """

    key: str
    path: Path
    shape: tuple[int, int, int] | None
    bytes: int
    last_used: float


def store_folder(folder: Path | None = None) -> Path:
    """Where stores are kept: `folder`, or ``stores`` in ``$OMNIREID_CACHE`` or in this system's place for caches."""
    return cache_folder() / "stores" if folder is None else folder


def store_key(paths: Sequence[Path], *, height: int, width: int, workers: int | None = None) -> str:
    """SHA-256 over the SHA-256 of each file's bytes, in order, with the size and `PIXEL_PATH`.

    Names and folders do not count, so a data set that was moved keeps its store.

    Raises:
        ImageError: a file cannot be read.
    """
    digest = hashlib.sha256(f"omnireid pixels {PIXEL_PATH}, {height} x {width}".encode())
    with ThreadPoolExecutor(workers or usable_cores(), thread_name_prefix="hash") as threads:
        for content in threads.map(_digest, paths):
            digest.update(content)
    return digest.hexdigest()


def open_store(
    paths: Sequence[Path],
    *,
    height: int,
    width: int,
    folder: Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> CropStore:
    """Open the decoded crops of `paths`, decoding them first where that was not done before.

    The pixels are those of `Preprocessing.resize`, the path that every prediction takes. Every file is read for the
    key, but only a new store decodes. Two processes that want the same new store build it once: the second waits.

    An existing store is checked by its header, its exact length and the checksums of `SAMPLED_CHUNKS` chunks of
    `CHUNK` crops each (for Market-1501 at 256 × 128, 0.1 GB of 1.3 GB). That finds a file that is cut short,
    overwritten or another's, but not a single bit that turned in a chunk between. A store that fails is built
    again, and a line on standard error says so.

    Args:
        paths: the crops, in order; a file may come twice.
        height: of the stored crops, in pixels.
        width: of the stored crops, in pixels.
        folder: where stores are kept; see `store_folder`.
        workers: threads; the number of cores by default. They change no byte.
        progress: show a bar while decoding.

    Raises:
        DataError: no crop, no worker, or a file that changed while it was decoded.
        ImageError: the first crop that cannot be decoded; nothing is left of the store.
        ShapeError: a size that is no size.
        DiskFullError: less space than the store needs; told before decoding.
        OutputError: the folder cannot be written.
    """
    if not paths:
        raise DataError("A store of no crops was asked for. Give a data set with crops in it.")
    if workers is not None and workers < 1:
        raise DataError(f"workers must be 1 or more; got {workers}. Leave it out for one a core.")
    preprocessing = Preprocessing(height=height, width=width)
    key = store_key(paths, height=height, width=width, workers=workers)
    path = store_folder(folder) / f"{key}.npy"
    shape = (len(paths), height, width, 3)
    found = _open(path, key, shape)
    if not isinstance(found, CropStore):
        with sole_writer(path, wait=True):
            found = _open(path, key, shape)  # whom we waited for has built it
            if not isinstance(found, CropStore):
                if found is not None:
                    print(f"The stored crops {path} are damaged ({found}). They are decoded again.", file=sys.stderr)
                _build(path, key, paths, preprocessing, workers=workers, progress=progress)
                found = _open(path, key, shape)
    if not isinstance(found, CropStore):
        raise DataError(f"The stored crops {path} were written but cannot be read again ({found}). Check the disk.")
    with suppress(OSError):  # a folder shared for reading only
        os.utime(_record_path(path))
    return found


def list_stores(folder: Path | None = None) -> list[StoreEntry]:
    """The stores in `folder`, and what interrupted builds left there, in the order of their keys.

    Raises:
        OutputError: the folder cannot be looked into.
    """
    home = store_folder(folder)
    return [_entry(home, key, files) for key, files in _files_by_key(home).items()]


def remove_stores(which: str, folder: Path | None = None) -> int:
    """Delete stores.

    Args:
        which: ``all``, or the first digits of one key.
        folder: where they are; see `store_folder`.

    Returns:
        Bytes freed.

    Raises:
        DataNotFoundError: no key begins like that.
        DataError: several do.
        OutputInUseError: another process is building it.
        OutputError: no permission.
    """
    home = store_folder(folder)
    entries = [entry for entry in list_stores(home) if which == "all" or entry.key.startswith(which)]
    if which != "all" and len(entries) > 1:
        raise DataError(f"{len(entries)} stores in {home} begin with {which!r}. Give more digits, or all.")
    if which != "all" and not entries:
        raise DataNotFoundError(f"No store in {home} begins with {which!r}. 'omnireid store' lists them.")
    for entry in entries:
        with sole_writer(entry.path):
            _delete(home, entry.key)
    return sum(entry.bytes for entry in entries)


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except FileNotFoundError:
        raise ImageError(f"No such image: {path}. Check the path, or the list it came from.") from None
    except OSError as error:
        raise ImageError(f"Cannot read {path}: {error.strerror or error}. Check its name and rights.") from error


def _record_path(path: Path) -> Path:
    return path.with_suffix(".json")


class _DamagedError(Exception):
    """Why a file is not the store that its name promises."""


def _open(path: Path, key: str, shape: tuple[int, ...]) -> CropStore | str | None:
    """The store; what is wrong with it; or None where there is none."""
    if not path.exists() and not _record_path(path).exists():
        return None
    try:
        return CropStore(path, shape[1], shape[2], key, _checked_pixels(path, key, shape))
    except _DamagedError as error:
        return str(error)
    except FileNotFoundError:
        return "its build was interrupted"
    except (OSError, ValueError, TypeError, KeyError) as error:
        return f"it cannot be read: {error}"


def _checked_pixels(path: Path, key: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    record = json.loads(_record_path(path).read_text(encoding="utf-8"))
    checksums = record["checksums"]
    is_ours = (record["omnireid_store"], record["key"], record["shape"]) == (_FORMAT, key, [*shape])
    if not is_ours or len(checksums) != -(-shape[0] // CHUNK):
        raise _DamagedError("its .json is of another store")
    size = path.stat().st_size
    if size != record["bytes"]:
        raise _DamagedError(f"it has {size:,} bytes, not {record['bytes']:,}")
    pixels: npt.NDArray[np.uint8] = np.lib.format.open_memmap(path, mode="r")
    if pixels.shape != shape or pixels.dtype != np.uint8 or not pixels.flags.c_contiguous:
        raise _DamagedError(f"its header says {pixels.shape} {pixels.dtype}")
    for chunk in np.unique(np.linspace(0, len(checksums) - 1, SAMPLED_CHUNKS).round().astype(int)).tolist():
        if zlib.crc32(pixels[chunk * CHUNK : (chunk + 1) * CHUNK].data) != checksums[chunk]:
            raise _DamagedError(f"the checksum of crops {chunk * CHUNK:,} and on is wrong")
    return pixels


def _build(
    path: Path,
    key: str,
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    *,
    workers: int | None,
    progress: bool,
) -> None:
    """Decode `paths` into `path`, which nobody else writes, and then write the record that makes it a store."""
    shape = (len(paths), preprocessing.height, preprocessing.width, 3)
    _delete(path.parent, key)
    _require_space(path, int(np.prod(shape)))
    checksums: list[int] = []
    # Written, not mapped: on a full disk, writing to a map kills the process instead of raising an error.
    with atomic_output(path) as temporary, temporary.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        with progress_bar("decode", len(paths), show=progress) as advance:
            for pixels in _decoded(paths, preprocessing, workers):
                checksums.append(zlib.crc32(pixels.data))
                stream.write(pixels.data)
                advance(len(pixels))
        size = _size_of(stream)
        if store_key(paths, height=shape[1], width=shape[2], workers=workers) != key:
            raise DataError("A crop changed while it was decoded, so nothing was stored. Run the same command again.")
    record = {"omnireid_store": _FORMAT, "key": key, "shape": shape, "bytes": size, "checksums": checksums}
    with atomic_output(_record_path(path)) as temporary:
        temporary.write_text(json.dumps(record) + "\n", encoding="utf-8")


def _decoded(
    paths: Sequence[Path], preprocessing: Preprocessing, workers: int | None
) -> Iterator[npt.NDArray[np.uint8]]:
    """The crops in order, a chunk at a time. Threads: Pillow frees the interpreter while it decodes and resizes."""
    for batch in iterate_batches(paths, preprocessing, batch_size=CHUNK, workers=workers):
        yield batch.pixels


def _size_of(stream: BinaryIO) -> int:
    stream.flush()
    return stream.tell()


def _require_space(path: Path, needed: int) -> None:
    with output_errors(path):
        free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise DiskFullError(
            f"The decoded crops take {needed:,} bytes, but the disk of {path.parent} has only {free:,} free. "
            "Free some (omnireid store --remove all does), or keep stores on another disk with --store-folder or "
            "OMNIREID_CACHE."
        )


def _files_by_key(home: Path) -> dict[str, list[Path]]:
    """Files of each store in `home`, unfinished ones too, sorted."""
    files: dict[str, list[Path]] = {}
    with output_errors(home):
        names = sorted(os.listdir(home)) if home.is_dir() else []  # noqa: PTH208
    for name in names:
        if match := _FILE.fullmatch(name):
            files.setdefault(match[1], []).append(home / name)
    return dict(sorted(files.items()))


def _entry(home: Path, key: str, files: Sequence[Path]) -> StoreEntry:
    path = home / f"{key}.npy"
    size, last_used = 0, 0.0
    for file in files:
        with suppress(FileNotFoundError):  # a build that ends meanwhile renames its file
            size += file.stat().st_size
            last_used = max(last_used, file.stat().st_mtime)
    shape = None
    with suppress(OSError, ValueError, TypeError, KeyError):
        crops, height, width, _ = json.loads(_record_path(path).read_text(encoding="utf-8"))["shape"]
        if path.is_file():
            shape = (int(crops), int(height), int(width))
    return StoreEntry(key, path, shape, size, last_used)


def _delete(home: Path, key: str) -> None:
    """Remove all files of one store, the record first: what is left of it by a kill in between is no store."""
    for file in sorted(_files_by_key(home).get(key, []), key=lambda file: file.suffix != ".json"):
        with output_errors(file):
            file.unlink(missing_ok=True)
