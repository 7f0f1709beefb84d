"""CUHK03's ``cuhk-03.mat``: its images, which are written to files once, and its 20 classic test sets.

The file is HDF5. ``detected`` and ``labeled`` hold five references, one for each
pair of cameras. Each leads to a cell array with 10 images for each person: five
from the pair's first camera and five from its second, with gaps. ``testsets``
holds 20 references to 100 rows of (pair, person).
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from omnireid.data.matlab import open_hdf5
from omnireid.errors import DataError, OutputError
from omnireid.files import output_errors, sole_writer, write_json
from omnireid.progress import progress_bar

Kind = Literal["detected", "labeled"]

RELEASE_FILE = "cuhk-03.mat"
TESTSETS_FILE = "cuhk03_classic_testsets.json"

TestSet = frozenset[tuple[int, int]]
"""The 100 test people of a classic split, as (camera pair from 1, person in that pair from 1)."""


def images_folder(folder: Path, kind: Kind) -> Path:
    """The folder that the images of one kind are extracted to."""
    return folder / f"images_{kind}"


def extract(release: Path, kind: Kind, *, progress: bool = True) -> Path:
    """Write the images of one kind, and the classic test sets, beside `release`, unless they are there.

    No half-filled folder is left if the process is killed: the images are written
    under a temporary name, which is moved into place at the end.

    Returns:
        The folder of images named ``1_001_1_01.png``: camera pair, person, camera, image.

    Raises:
        OutputError: the folder cannot be written; `OutputInUseError` where another process is extracting.
        DataError: the file is damaged, or is another file.
        MissingDependencyError: h5py is not installed.
    """
    target = images_folder(release.parent, kind)
    store_testsets(release)
    if not target.is_dir():
        with _writing_beside(release), open_hdf5(release) as file, sole_writer(target):
            if not target.is_dir():  # another process may just have finished
                _write_images(file, kind, target, progress=progress)
    return target


def store_testsets(release: Path) -> Path:
    """Write the classic test sets to a small file beside `release`, unless it is there, and return its path.

    Raises:
        OutputError, DataError, MissingDependencyError: as for `extract`.
    """
    path = release.parent / TESTSETS_FILE
    if not path.is_file():
        with _writing_beside(release), open_hdf5(release) as file, sole_writer(path):
            _write_testsets(file, path, release)
    return path


@contextmanager
def _writing_beside(release: Path) -> Iterator[None]:
    """Add the next step to an `OutputError` that says nothing can be written beside `release`."""
    try:
        yield
    except OutputError as error:
        if type(error) is not OutputError:
            raise
        raise OutputError(
            f"The images in {release} cannot be extracted beside it: {error} To go on, copy {release.name} to a folder "
            "you may write to, and give that folder."
        ) from error


def read_testsets(path: Path) -> list[TestSet]:
    """The 20 classic test sets stored by `extract`.

    Raises:
        DataError: the file is damaged.
    """
    try:
        return [
            frozenset((int(pair), int(person)) for pair, person in people) for people in json.loads(path.read_bytes())
        ]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and read {RELEASE_FILE} again.") from error


def _read_array(file: Any, place: Any) -> Any:
    """The array stored under a name or a reference.

    Raises:
        DataError: it cannot be read, or has another type than in the release.
    """
    try:
        return np.asarray(file[place])
    except (OSError, TypeError, ValueError, KeyError, RuntimeError) as error:  # h5py raises one for each kind of damage
        raise DataError(
            f"{file.filename} is damaged, or another file than CUHK03's {RELEASE_FILE} ({error}). Copy it again."
        ) from error


def _read_references(file: Any, name: str) -> list[Any]:
    if name not in file:
        raise DataError(f"{file.filename} has no {name}; it has {', '.join(sorted(file))}. Is it {RELEASE_FILE}?")
    return list(_read_array(file, name).ravel())


def _require_count(file: Any, name: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise DataError(f"{name} in {file.filename} has {found} entries, not {wanted}. Is it {RELEASE_FILE}?")


def _references_by_person(file: Any, reference: Any) -> Any:
    """(people, images of each) references to the images of one pair of cameras."""
    people = _read_array(file, reference).T
    if people.ndim != 2:
        raise DataError(f"A camera pair in {file.filename} has shape {people.shape}. Is it {RELEASE_FILE}?")
    return people


def _write_testsets(file: Any, path: Path, release: Path) -> None:
    testsets = []
    for reference in _read_references(file, "testsets"):
        people = _read_array(file, reference).T
        if people.ndim != 2 or people.shape[1] != 2:
            raise DataError(f"A test set in {release} has shape {people.shape}, not (people, 2). Is it {RELEASE_FILE}?")
        try:
            testsets.append(sorted((int(pair), int(person)) for pair, person in people))
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"A test set in {release} holds more than numbers ({error}). Is it {RELEASE_FILE}?"
            ) from error
    _require_count(file, "testsets", len(testsets), 20)
    write_json(path, testsets, indent=None)


def _write_images(file: Any, kind: Kind, target: Path, *, progress: bool) -> None:
    for leftover in target.parent.glob(f".{target.name}-*"):  # left by a killed run; nobody else writes here now
        shutil.rmtree(leftover, ignore_errors=True)
    with output_errors(target):
        temporary = target.parent / f".{target.name}-{secrets.token_hex(6)}"
        temporary.mkdir()  # has a new folder's usual permissions; tempfile's would be private
    try:
        pairs = [_references_by_person(file, reference) for reference in _read_references(file, kind)]
        _require_count(file, kind, len(pairs), 5)
        with progress_bar(
            f"extract {target.name}", sum(len(people) for people in pairs), unit="people", show=progress
        ) as advance:
            for name, pixels in _read_images(file, pairs, advance):
                with output_errors(target):
                    Image.fromarray(pixels).save(temporary / name)
        with output_errors(target):
            temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read_images(
    file: Any, pairs: list[Any], advance: Any
) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.uint8]]]]:
    """Yield file name and (H, W, 3) pixels of each image. Where there is none, the cell's array lacks three axes."""
    for pair, people in enumerate(pairs, start=1):
        for person, references in enumerate(people, start=1):
            for number, reference in enumerate(references, start=1):
                pixels = _read_array(file, reference).T  # MATLAB orders axes the other way round
                if pixels.ndim == 3:
                    camera_id = 1 if number <= 5 else 2
                    name = f"{pair}_{person:03d}_{camera_id}_{number:02d}.png"
                    if pixels.shape[2] != 3 or pixels.dtype != np.uint8:
                        raise DataError(
                            f"Image {name} in {file.filename} is {pixels.dtype} of shape {pixels.shape}, not uint8 of "
                            f"(height, width, 3). Is it {RELEASE_FILE}?"
                        )
                    yield name, np.ascontiguousarray(pixels)
            advance(1)
