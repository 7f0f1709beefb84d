"""Image folders: one folder of pictures for each class, as ImageNet and torchvision's ImageFolder have them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from omnireid.data.crops import find_images
from omnireid.data.folders import folder_names, given_path, is_there
from omnireid.data.naming import part_roles
from omnireid.errors import DataError, DataNotFoundError, IncompleteDatasetError, list_briefly
from omnireid.types import IntArray

_DEPTH = 3
"""How many folders below the folder of its class a picture may lie."""


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """N pictures and their classes.

    Attributes:
        paths: N files.
        classes: (N,) int64, indices into `ImageFolder.class_names`.

    Raises:
        DataError: The arrays disagree in length.
    """

    paths: tuple[Path, ...]
    classes: IntArray

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.classes):
            raise DataError(f"There are {len(self.paths):,} pictures but {len(self.classes):,} class numbers.")

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, chosen: npt.NDArray[np.bool_]) -> LabelledPictures:
        """The pictures where the (N,) mask `chosen` is true, in the same order."""
        return LabelledPictures(tuple(self.paths[index] for index in np.flatnonzero(chosen)), self.classes[chosen])


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """The pictures of an image folder.

    Attributes:
        root: The folder.
        class_names: Names of the C classes, sorted by code point. A picture's class is an index into them.
        train: Pictures to learn from; every class has at least one.
        validation: Pictures to score on; None where the folder has no such part.
    """

    root: Path
    class_names: tuple[str, ...]
    train: LabelledPictures
    validation: LabelledPictures | None


def load_image_folder(root: str | Path) -> ImageFolder:
    """Read a folder with ``train/CLASS/…`` and perhaps ``val/CLASS/…``, or with ``CLASS/…`` alone.

    The parts are recognised by their names, as those of a data set of crops are; ``test/`` counts as validation where
    there is no ``val/``. A class's pictures may lie up to three folders below its own. What is not read, such as
    pictures in other formats, is counted and named in a warning.

    Raises:
        DataNotFoundError: There is no such folder.
        IncompleteDatasetError: There is a validation part but no training part.
        DataError: There are fewer than two classes, a class has no picture, or validation has classes that training
            lacks.
    """
    root = _existing(root)
    parts = _find_parts(root)
    if parts and "train" not in parts:
        raise IncompleteDatasetError(
            f"{root} has {' and '.join(f'{name}/' for name in parts.values())} but no train/ to learn from. Give the "
            "folder that holds train/ and val/, or one that holds a folder for each class."
        )
    home = root / parts["train"] if parts else root
    class_names, train = _read_classes(home)
    if len(class_names) < 2:
        raise DataError(
            f"{home} holds {len(class_names)} folder(s), and classification needs at least two classes: one folder of "
            "pictures for each."
        )
    name = parts.get("validation", parts.get("test"))
    validation = None if name is None else _read_known_classes(root / name, class_names)
    return ImageFolder(root, class_names, train, validation)


def load_validation_pictures(root: str | Path, class_names: Sequence[str]) -> LabelledPictures:
    """Read only the pictures to score on: a folder's validation part, or its class folders where it has no parts.

    Args:
        root: The folder.
        class_names: Names of the classes that were learned; not all of them need to be there.

    Raises:
        DataNotFoundError: There is no such folder.
        DataError: A class is not among `class_names`, or has no picture.
    """
    root = _existing(root)
    parts = _find_parts(root)
    name = parts.get("validation", parts.get("test", parts.get("train", "")))
    return _read_known_classes(root / name, class_names)


def _existing(root: str | Path) -> Path:
    path = given_path(root)
    if not is_there(path):
        raise DataNotFoundError(f"There is no folder {path}. Check its name.")
    return path


def _find_parts(root: Path) -> dict[str, str]:
    """Role to name of the folders that are parts of a split. They hold folders; a ``train/`` without any is a class."""
    roles = part_roles([name for name, is_folder in folder_names(root) if is_folder])
    return {role: name for name, role in roles.items() if any(is_folder for _, is_folder in folder_names(root / name))}


def _read_classes(folder: Path) -> tuple[tuple[str, ...], LabelledPictures]:
    """The names of the classes, sorted, and their pictures in sorted order."""
    class_names = tuple(name for name, is_folder in folder_names(folder) if is_folder)
    number = {name: index for index, name in enumerate(class_names)}
    found = find_images(folder, 1 + _DEPTH)
    inside = [parts for parts in found.files if len(parts) > 1]
    classes = np.array([number[name] for name, *_ in inside], dtype=np.int64)
    counts = np.bincount(classes, minlength=len(class_names))
    empty = [name for name, count in zip(class_names, counts.tolist(), strict=True) if not count]
    notes = [*found.passed_over.notes]
    if len(inside) < len(found.files):
        outside = [parts[0] for parts in found.files if len(parts) == 1]
        notes.append(f"{len(outside):,} picture(s) in no folder of a class were passed over: {list_briefly(outside)}.")
    if empty:
        raise DataError(
            f"{len(empty):,} of the {len(class_names):,} class folders in {folder} hold no picture that can be read: "
            f"{list_briefly(empty)}. {' '.join([*notes, 'Remove them, or add pictures.'])}"
        )
    for note in notes:
        warnings.warn(f"{folder}: {note}", UserWarning, stacklevel=4)
    return class_names, LabelledPictures(tuple(folder.joinpath(*parts) for parts in inside), classes)


def _read_known_classes(folder: Path, class_names: Sequence[str]) -> LabelledPictures:
    """The pictures of a folder of classes, numbered by `class_names`."""
    found, pictures = _read_classes(folder)
    if not found:
        raise DataError(f"{folder} holds no folder of a class. Give one that has the folders of the training classes.")
    number = {name: index for index, name in enumerate(class_names)}
    unknown = [name for name in found if name not in number]
    if unknown:
        raise DataError(
            f"{folder} has {len(unknown):,} class(es) that training lacks: {list_briefly(unknown)}. Both need the same "
            "folder names."
        )
    numbers = np.array([number[name] for name in found], dtype=np.int64)
    return LabelledPictures(pictures.paths, numbers[pictures.classes])
