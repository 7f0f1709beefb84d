"""One's own crops in folders: ``person/camera/*.jpg``, ``person/*.jpg``, or Market-style names anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omnireid.data.assembly import OwnData, Row, assemble, role_problem
from omnireid.data.crops import walk_images
from omnireid.data.folders import folder_names
from omnireid.data.layout import Layout, Request
from omnireid.data.market_names import market_ids
from omnireid.errors import DataError, DataNotFoundError, IncompleteDatasetError, list_briefly
from omnireid.types import Dataset

_ROLE_OF_FOLDER = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "query": "query",
    "probe": "query",
    "gallery": "gallery",
    "test": "test",
}
_FORMS = (
    "person/camera/*.jpg, person/*.jpg, or names like 0002_c1s1_000451_03.jpg; "
    "optionally inside train/, query/ and gallery/"
)
_DEPTH = 3  # one more than person/camera/, to see and name what lies too deep


def detect(folder: Path, _names: frozenset[str]) -> bool:
    """Whether the images in it lie in one of the forms."""
    if _roles(folder):
        return True
    files = list(walk_images(folder, _DEPTH))
    return bool(files) and _problem(files) is None


def read(root: Path, request: Request) -> Dataset:
    """Read a folder tree.

    With ``query/`` and ``gallery/`` (and ``train/``, ``validation/``), or ``train/``
    and ``test/``, these are the split; else it is made, see `partition`. Names of
    people and cameras that are not whole numbers are numbered in sorted order, and
    kept in the columns ``person_name`` and ``camera_name``.

    Raises:
        DataError: the images lie in none of the forms, or in different ones.
        IncompleteDatasetError: ``query/`` without ``gallery/``, or the other way round.
    """
    roles = _roles(root)
    if not roles:
        rows, is_market = _read_tree(root, None)
        return assemble(_own_data(root, rows, is_market, ()), request)
    problem = role_problem(set(roles.values()))
    if problem is not None:
        raise IncompleteDatasetError(
            f"{root} is split into {', '.join(f'{name}/' for name in roles)}, but has {problem}. "
            "Add what is missing, or give the people's folders themselves to have them split automatically."
        )
    rows, styles = [], set()
    for name, role in roles.items():
        part, is_market = _read_tree(root / name, role)
        rows += part
        styles.add((is_market, part[0].camera is not None))
    if len(styles) > 1:
        raise DataError(
            f"The folders {', '.join(f'{name}/' for name in roles)} of {root} are of different forms (some with "
            f"cameras or Market-style names, some without). Give all of them one form: {_FORMS}."
        )
    others = [name for name, is_folder in folder_names(root) if is_folder and name not in roles]
    note = (f"Not read: {', '.join(f'{name}/' for name in others)}.",) if others else ()
    return assemble(_own_data(root, rows, styles.pop()[0], note), request)


def _own_data(root: Path, rows: Sequence[Row], is_market: bool, notes: tuple[str, ...]) -> OwnData:
    return OwnData(
        name=root.resolve().name,
        layout=LAYOUT.name,
        root=root,
        licence=LAYOUT.licence,
        rows=rows,
        has_distractors=is_market,
        notes=notes,
    )


def _roles(root: Path) -> dict[str, str]:
    """The subfolders that are parts of a split, where there is any part to test on."""
    names = [name for name, is_folder in folder_names(root) if is_folder]
    roles = {name: _ROLE_OF_FOLDER[name.lower()] for name in names if name.lower() in _ROLE_OF_FOLDER}
    return roles if set(roles.values()) & {"query", "gallery"} or {"train", "test"} <= set(roles.values()) else {}


def _read_tree(folder: Path, role: str | None) -> tuple[list[Row], bool]:
    """The crops below `folder`, and whether their names are Market-style."""
    files = list(walk_images(folder, _DEPTH))
    if not files:
        raise DataNotFoundError(f"There is no image in {folder}. Expected {_FORMS}.")
    problem = _problem(files)
    if problem is not None:
        raise DataError(f"The crops in {folder} cannot be told apart by person: {problem}. Expected {_FORMS}.")
    ids = [market_ids(parts[-1]) for parts in files]
    if all(ids):
        return [
            Row(folder.joinpath(*parts), str(found[0]), str(found[1]), role)
            for parts, found in zip(files, ids, strict=True)
            if found
        ], True
    has_camera = len(files[0]) == 3
    return [Row(folder.joinpath(*parts), parts[0], parts[1] if has_camera else None, role) for parts in files], False


def _problem(files: list[tuple[str, ...]]) -> str | None:
    """Why these files (parts of their relative paths) are in none of the forms, or None."""
    strange = ["/".join(parts) for parts in files if market_ids(parts[-1]) is None]
    if not strange:
        return None
    by_depth: dict[int, list[str]] = {}
    for parts in files:
        by_depth.setdefault(len(parts), []).append("/".join(parts))
    if 1 in by_depth:
        loose = [name for name in strange if "/" not in name] or by_depth[1]
        return (
            f"{len(loose):,} image(s) lie in no person's folder and have no Market-style name ({list_briefly(loose)})"
        )
    if max(by_depth) > 3:
        return f"{len(by_depth[4]):,} image(s) or more lie too deep ({list_briefly(by_depth[4])})"
    if len(by_depth) > 1:
        return f"some lie in person/ ({by_depth[2][0]}), some in person/camera/ ({by_depth[3][0]})"
    return None


LAYOUT = Layout(
    name="folder",
    sentence="Your own crops in folders, a folder a person; split automatically where you have no split.",
    expected=_FORMS,
    licence="your own data: its terms are for you to know",
    detect=detect,
    read=read,
)
