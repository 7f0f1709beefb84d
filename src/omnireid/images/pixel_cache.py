"""Crops decoded and resized once, kept in a memory-mapped file whose name is a hash of the images' content.

A pixel cache is a NumPy file, ``KEY.npy``, with a ``KEY.json`` beside it. The JSON is written last, so pixels without
one come from a build that was interrupted, and are decoded again.
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
import PIL

from omnireid.errors import DataError, DataNotFoundError, DiskFullError, ImageError
from omnireid.files import atomic_output, cache_folder, output_errors, sole_writer, write_json
from omnireid.images.batches import iterate_batches
from omnireid.images.decode import check_regular_file
from omnireid.images.preprocess import Preprocessing
from omnireid.machine import usable_cores
from omnireid.progress import progress_bar
from omnireid.types import ByteArray

PIXEL_PATH = f"1, Pillow {PIL.__version__}"
"""Version of `Preprocessing.resize`. Raise it when its pixels change; Pillow's version may change them too."""

CHUNK = 64
"""Crops covered by one checksum."""

SAMPLED_CHUNKS = 16
"""How many chunks are checked on opening. They are spread evenly and include the first and the last."""

_FORMAT = 1
_FILE = re.compile(r"\.?([0-9a-f]{64})(?:-[0-9a-f]{12})?\.(?:npy|json)")


@dataclass(frozen=True, eq=False)
class PixelCache:
    """Decoded crops, ready to be read.

    Attributes:
        path: The NumPy file.
        height: Height of each crop in pixels.
        width: Width of each crop in pixels.
        key: 64 hexadecimal digits; see `pixel_cache_key`.
        pixels: (N, height, width, 3) uint8 RGB, a read-only memory map, in the order of the paths.
    """

    path: Path
    height: int
    width: int
    key: str
    pixels: ByteArray


@dataclass(frozen=True)
class PixelCacheEntry:
    """A pixel cache on the disk, as `list_pixel_caches` finds it.

    Attributes:
        key: 64 hexadecimal digits.
        path: The NumPy file.
        shape: Number of crops, height and width; None for the remains of an interrupted build.
        bytes: Disk space taken by all its files.
        last_used: Time of the last opening, in seconds since 1970.
    """

    key: str
    path: Path
    shape: tuple[int, int, int] | None
    bytes: int
    last_used: float


def pixel_cache_folder(folder: Path | None = None) -> Path:
    """The folder of pixel caches: `folder`, else ``stores`` in ``$OMNIREID_CACHE`` or the user's cache folder."""
    return cache_folder() / "stores" if folder is None else folder


def pixel_cache_key(paths: Sequence[Path], *, height: int, width: int, workers: int | None = None) -> str:
    """Hash the files' contents in order, together with the crop size and `PIXEL_PATH`.

    Names and folders are not part of the key, so a data set that was moved keeps its pixel cache.

    Raises:
        ImageError: a file cannot be read.
    """
    digest = hashlib.sha256(f"omnireid pixels {PIXEL_PATH}, {height} x {width}".encode())
    with ThreadPoolExecutor(workers or usable_cores(), thread_name_prefix="hash") as threads:
        for content in threads.map(_digest, paths):
            digest.update(content)
    return digest.hexdigest()


def open_pixel_cache(
    paths: Sequence[Path],
    *,
    height: int,
    width: int,
    folder: Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> PixelCache:
    """Open the decoded crops of `paths`, decoding them first if that has not been done yet.

    The pixels are those of `Preprocessing.resize`, the path that every prediction takes. Every file is read to
    compute the key, but is decoded only for a new cache. When two processes want the same new cache, one builds it
    and the other waits.

    An existing cache is checked by its header, its exact length and the checksums of `SAMPLED_CHUNKS` chunks of
    `CHUNK` crops each (for Market-1501 at 256 × 128, 0.1 GB of 1.3 GB). This finds a file that is truncated,
    overwritten or swapped, but not a single flipped bit in a chunk that is not sampled. A cache that fails is decoded
    again, and a line on standard error says so.

    Args:
        paths: The crops, in order. A file may come twice.
        height: Height to resize to, in pixels.
        width: Width to resize to, in pixels.
        folder: Folder that holds pixel caches; see `pixel_cache_folder`.
        workers: Number of threads, by default one per core. The bytes do not depend on it.
        progress: Show a progress bar while decoding.

    Raises:
        DataError: `paths` is empty, `workers` is below 1, or a file changed while it was decoded.
        ImageError: a crop cannot be decoded. The first one is named, and no cache is left behind.
        ShapeError: `height` or `width` is below 1.
        DiskFullError: the disk lacks the space; raised before decoding.
        OutputError: the folder cannot be written.
    """
    if not paths:
        raise DataError("There are no crops to decode. Give a data set that has some.")
    if workers is not None and workers < 1:
        raise DataError(f"workers must be 1 or more; got {workers}. Leave it out for one thread per core.")
    preprocessing = Preprocessing(height=height, width=width)
    key = pixel_cache_key(paths, height=height, width=width, workers=workers)
    path = pixel_cache_folder(folder) / f"{key}.npy"
    shape = (len(paths), height, width, 3)
    found = _open(path, key, shape)
    if not isinstance(found, PixelCache):
        with sole_writer(path, wait=True):
            found = _open(path, key, shape)  # the process we waited for may have built it
            if not isinstance(found, PixelCache):
                if found is not None:
                    print(f"The decoded crops in {path} are damaged ({found}). Decoding them again.", file=sys.stderr)
                _build(path, key, paths, preprocessing, workers=workers, progress=progress)
                found = _open(path, key, shape)
    if not isinstance(found, PixelCache):
        raise DataError(f"The decoded crops in {path} were written but cannot be read back ({found}). Check the disk.")
    with suppress(OSError):  # the folder may be shared read-only
        os.utime(_record_path(path))
    return found


def list_pixel_caches(folder: Path | None = None) -> list[PixelCacheEntry]:
    """List the pixel caches in `folder` and the remains of interrupted builds, sorted by key.

    Raises:
        OutputError: the folder cannot be listed.
    """
    home = pixel_cache_folder(folder)
    return [_entry(home, key, files) for key, files in _files_by_key(home).items()]


def remove_pixel_caches(which: str, folder: Path | None = None) -> int:
    """Delete pixel caches.

    Args:
        which: ``all``, or the first digits of one key.
        folder: Folder that holds pixel caches; see `pixel_cache_folder`.

    Returns:
        The number of bytes freed.

    Raises:
        DataNotFoundError: no key begins with `which`.
        DataError: several keys do.
        OutputInUseError: another process is building the cache.
        OutputError: a file may not be deleted.
    """
    home = pixel_cache_folder(folder)
    entries = [entry for entry in list_pixel_caches(home) if which == "all" or entry.key.startswith(which)]
    if which != "all" and len(entries) > 1:
        raise DataError(f"{len(entries)} pixel caches in {home} begin with {which!r}. Give more digits, or all.")
    if which != "all" and not entries:
        raise DataNotFoundError(f"No pixel cache in {home} begins with {which!r}. 'omnireid cache' lists them.")
    for entry in entries:
        with sole_writer(entry.path):
            _delete(home, entry.key)
    return sum(entry.bytes for entry in entries)


def _digest(path: Path) -> bytes:
    try:
        check_regular_file(path, str(path))
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except FileNotFoundError:
        raise ImageError(f"No such image: {path}. Check the path, or the list it came from.") from None
    except OSError as error:
        raise ImageError(f"Cannot read {path}: {error.strerror or error}. Check its name and rights.") from error


def _record_path(path: Path) -> Path:
    return path.with_suffix(".json")


class _DamagedError(Exception):
    """The file is not the pixel cache that its name promises; the message says why."""


def _open(path: Path, key: str, shape: tuple[int, ...]) -> PixelCache | str | None:
    """The pixel cache; what is wrong with it; or None if there is none."""
    if not path.exists() and not _record_path(path).exists():
        return None
    try:
        return PixelCache(path, shape[1], shape[2], key, _checked_pixels(path, key, shape))
    except _DamagedError as error:
        return str(error)
    except FileNotFoundError:
        return "its build was interrupted"
    except (OSError, ValueError, TypeError, KeyError) as error:
        return f"it cannot be read: {error}"


def _checked_pixels(path: Path, key: str, shape: tuple[int, ...]) -> ByteArray:
    record = json.loads(_record_path(path).read_text(encoding="utf-8"))
    checksums = record["checksums"]
    is_ours = (record["omnireid_store"], record["key"], record["shape"]) == (_FORMAT, key, [*shape])
    if not is_ours or len(checksums) != -(-shape[0] // CHUNK):
        raise _DamagedError("its .json belongs to another one")
    size = path.stat().st_size
    if size != record["bytes"]:
        raise _DamagedError(f"it has {size:,} bytes, not {record['bytes']:,}")
    pixels: ByteArray = np.lib.format.open_memmap(path, mode="r")
    if pixels.shape != shape or pixels.dtype != np.uint8 or not pixels.flags.c_contiguous:
        raise _DamagedError(f"its header says {pixels.shape} {pixels.dtype}")
    for chunk in np.unique(np.linspace(0, len(checksums) - 1, SAMPLED_CHUNKS).round().astype(int)).tolist():
        if zlib.crc32(pixels[chunk * CHUNK : (chunk + 1) * CHUNK].data) != checksums[chunk]:
            raise _DamagedError(f"the checksum of the crops from {chunk * CHUNK:,} on is wrong")
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
    """Decode `paths` into `path` and then write its record. The caller holds the right to write `path`."""
    shape = (len(paths), preprocessing.height, preprocessing.width, 3)
    _delete(path.parent, key)
    _require_space(path, int(np.prod(shape)))
    checksums: list[int] = []
    # Written, not memory-mapped: on a full disk, writing to a map kills the process instead of raising an error.
    with atomic_output(path) as temporary, temporary.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        with progress_bar("decode", len(paths), show=progress) as advance:
            for pixels in _decoded(paths, preprocessing, workers):
                checksums.append(zlib.crc32(pixels.data))
                stream.write(pixels.data)
                advance(len(pixels))
        size = _size_of(stream)
        if pixel_cache_key(paths, height=shape[1], width=shape[2], workers=workers) != key:
            raise DataError("A crop changed while it was decoded, so nothing was kept. Run the same command again.")
    record = {"omnireid_store": _FORMAT, "key": key, "shape": shape, "bytes": size, "checksums": checksums}
    write_json(_record_path(path), record, indent=None)


def _decoded(paths: Sequence[Path], preprocessing: Preprocessing, workers: int | None) -> Iterator[ByteArray]:
    """Yield the crops in order, one chunk at a time."""
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
            "Free some (omnireid cache --remove all does), or keep pixel caches on another disk with "
            "--pixel-cache-folder or OMNIREID_CACHE."
        )


def _files_by_key(home: Path) -> dict[str, list[Path]]:
    """The files of each pixel cache in `home`, unfinished ones too, sorted by key."""
    files: dict[str, list[Path]] = {}
    with output_errors(home):
        names = sorted(os.listdir(home)) if home.is_dir() else []  # noqa: PTH208
    for name in names:
        if match := _FILE.fullmatch(name):
            files.setdefault(match[1], []).append(home / name)
    return dict(sorted(files.items()))


def _entry(home: Path, key: str, files: Sequence[Path]) -> PixelCacheEntry:
    path = home / f"{key}.npy"
    size, last_used = 0, 0.0
    for file in files:
        with suppress(FileNotFoundError):  # a build that finishes now renames its file
            size += file.stat().st_size
            last_used = max(last_used, file.stat().st_mtime)
    shape = None
    with suppress(OSError, ValueError, TypeError, KeyError):
        crops, height, width, _ = json.loads(_record_path(path).read_text(encoding="utf-8"))["shape"]
        if path.is_file():
            shape = (int(crops), int(height), int(width))
    return PixelCacheEntry(key, path, shape, size, last_used)


def _delete(home: Path, key: str) -> None:
    """Remove all files of one pixel cache, the record first, so that a kill in between leaves an unfinished one."""
    for file in sorted(_files_by_key(home).get(key, []), key=lambda file: file.suffix != ".json"):
        with output_errors(file):
            file.unlink(missing_ok=True)
