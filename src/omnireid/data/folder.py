"""Your own crops in folders: ``person/camera/*.jpg``, ``person/*.jpg``, or Market-style names anywhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnireid.data.assembly import OwnData, Row, assemble, role_problem
from omnireid.data.crops import find_images, no_image_error, walk_images
from omnireid.data.folders import folder_names
from omnireid.data.layout import Layout, Request
from omnireid.data.market_names import market_ids
from omnireid.data.naming import looks_like_part, naming_problem, part_roles
from omnireid.errors import DataError, IncompleteDatasetError, list_briefly
from omnireid.types import Dataset

_FORMS = (
    "person/camera/*.jpg, person/*.jpg, or names like 0002_c1s1_000451_03.jpg; "
    "optionally inside train/, query/ and gallery/"
)
_DEPTH = 3  # one more than person/camera/, to see and name what lies too deep
_NUMBER = re.compile(r"[0-9]{1,18}")
_MANY_CAMERAS = 8

_Files = Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class _Tree:
    """The crops below one folder."""

    rows: list[Row]
    is_market: bool
    notes: tuple[str, ...]


def detect(folder: Path, _names: frozenset[str]) -> bool:
    """Whether the images in it lie in one of the forms, or in folders named like parts of a split."""
    return form_problem(folder) is None


def form_problem(folder: Path) -> str | None:
    """Why the images in `folder` lie in none of the forms, or None where they do, or lie in parts of a split."""
    if _part_folders(folder):
        return None
    files = list(walk_images(folder, _DEPTH))
    return _form_problem(files) if files else "there is no image"


def read(root: Path, request: Request) -> Dataset:
    """Read a folder tree.

    Folders named like parts (``query/`` and ``gallery/``, also ``train/`` and
    ``validation/``; or ``train/`` and ``test/``) are the split; otherwise one is
    made, see `partition`. Names of people and cameras that are not whole numbers are
    numbered in sorted order and kept in the columns ``person_name`` and ``camera_name``.

    Raises:
        DataError: the images lie in none of the forms or in different ones; folders look like cameras or parts
            where people are expected; or a folder and a file name disagree about the person.
        IncompleteDatasetError: parts of a split are missing, such as ``gallery/`` beside ``query/``.
    """
    parts = _part_folders(root)
    if not parts:
        tree = _read_tree(root, None)
        return assemble(_own_data(root, tree.rows, tree.is_market, tree.notes), request)
    roles = part_roles(parts)
    others = [name for name, is_folder in folder_names(root) if is_folder and name not in roles]
    _require_whole_split(root, parts, roles, others)
    rows, styles, notes = [], set(), []
    for name, role in roles.items():
        tree = _read_tree(root / name, role)
        rows += tree.rows
        styles.add((tree.is_market, tree.rows[0].camera is not None))
        notes += [f"{name}: {note}" for note in tree.notes]
    if len(styles) > 1:
        raise DataError(
            f"The folders {_listed(roles)} of {root} are of different forms (some with cameras or Market-style "
            f"names, some without). Give all of them one form: {_FORMS}."
        )
    if others:
        notes.append(f"Not read: {_listed(others)}.")
    return assemble(_own_data(root, rows, styles.pop()[0], tuple(notes)), request)


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


def _listed(folders: Sequence[str] | dict[str, str]) -> str:
    return ", ".join(f"{name}/" for name in folders)


def _part_folders(root: Path) -> list[str]:
    """The folders in `root` that are parts of a split by their names, known or not; empty where there is no such sign.

    ``val`` is also a person's name: alone it is no sign.
    """
    names = [name for name, is_folder in folder_names(root) if is_folder]
    if not any(map(looks_like_part, names)):
        return []
    return [name for name in names if looks_like_part(name) or part_roles([name])]


def _require_whole_split(root: Path, parts: Sequence[str], roles: dict[str, str], others: Sequence[str]) -> None:
    """Check that the parts of a split are all there, and that no person's folder stands among them.

    Raises:
        IncompleteDatasetError: something to search for or to search in is missing.
    """
    problem = role_problem(set(roles.values()))
    with_images = [name for name in others if next(walk_images(root / name, _DEPTH), None) is not None]
    if problem is None and not (set(roles.values()) == {"test"} and with_images):
        return
    beside = [name for name in with_images if name not in parts]
    raise IncompleteDatasetError(
        f"{root} is split into {_listed(parts)}, but has {problem or 'no train'}"
        + (f" (beside them: {list_briefly([f'{name}/' for name in beside])})" if beside else "")
        + ". Folders of these names are read as parts of a split, never as people. Add what is missing (query/ and "
        "gallery/, or test/), rename a person's folder that has such a name, or list the crops in a manifest with a "
        "column split (docs/datasets.md)."
    )


def _read_tree(folder: Path, role: str | None) -> _Tree:
    """The crops below `folder`, whether their names are Market-style, and notes on what was left out."""
    found = find_images(folder, _DEPTH)
    files = found.files
    if not files:
        raise no_image_error(folder, found.passed_over, f"Expected {_FORMS}.")
    inner = next((parts for parts in files if any(map(looks_like_part, parts[:-1]))), None)
    if inner is not None:
        depth = next(index for index, name in enumerate(inner) if looks_like_part(name))
        raise DataError(
            f"{folder.joinpath(*inner[: depth + 1])} is named like a part of a split, not like a person or a camera. "
            f"Give {folder.joinpath(*inner[:depth])} itself, or list the crops in a manifest (docs/datasets.md)."
        )
    problem = _form_problem(files)
    if problem is not None:
        raise DataError(f"The crops in {folder} cannot be told apart by person: {problem}. Expected {_FORMS}.")
    ids = [market_ids(parts[-1]) for parts in files]
    people_level = _check_people_folders(folder, files, ids)
    notes = found.passed_over.notes
    if all(ids):
        if people_level is None and any(len(parts) > 1 for parts in files):
            shown = sorted({"/".join(parts[:-1]) for parts in files if len(parts) > 1})
            notes += (
                "People and cameras were read from the file names (person, then camera), not from the folders: "
                f"{list_briefly([f'{name}/' for name in shown])}.",
            )
        rows = [
            Row(folder.joinpath(*parts), str(pair[0]), str(pair[1]), role)
            for parts, pair in zip(files, ids, strict=True)
            if pair
        ]
        return _Tree(rows, True, notes)
    problem = naming_problem(files)
    if problem is not None:
        raise DataError(f"The people in {folder} cannot be told by their folders: {problem} (docs/datasets.md).")
    notes += _more_cameras_than_people(files)
    rows = []
    for parts in files:
        person, *camera = (unicodedata.normalize("NFC", name) for name in parts[:-1])
        rows.append(Row(folder.joinpath(*parts), person, camera[0] if camera else None, role))
    return _Tree(rows, False, notes)


def _more_cameras_than_people(files: _Files) -> tuple[str, ...]:
    """A note where folders of ``person/camera/*.jpg`` are probably ``day/person/*.jpg`` or the like."""
    people, cameras = {parts[0] for parts in files}, {parts[1] for parts in files if len(parts) == 3}
    if len(cameras) <= max(len(people), _MANY_CAMERAS):
        return ()
    return (
        f"The folders name {len(people):,} people and {len(cameras):,} cameras, such as {sorted(people)[0]}/"
        f"{sorted(cameras)[0]}/. If the second folder is the person, list the crops in a manifest.",
    )


def _form_problem(files: _Files) -> str | None:
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


def _check_people_folders(folder: Path, files: _Files, ids: Sequence[tuple[int, int] | None]) -> int | None:
    """Check that the numbers of people's folders and the people in Market-style file names agree.

    Numbered folders that are cameras, or hold many people and agree with no name (days, say), are no people's folders.

    Returns:
        The depth at which the people's folders lie; None where there are none.

    Raises:
        DataError: some crops lie in one person's folder and carry another person in their name.
    """
    for level in range(_DEPTH):
        numbered = [
            (parts, pair[0])
            for parts, pair in zip(files, ids, strict=True)
            if pair and len(parts) > level + 1 and _NUMBER.fullmatch(parts[level])
        ]
        # As written, so that 0001/0002_c1s1.jpg is the folder of a person and 1/0002_c1s1.jpg that of a camera.
        if all(re.match(rf".*?_c{parts[level]}(?!\d)", parts[-1]) for parts, _ in numbered):
            continue
        named = [("/".join(parts), int(parts[level]), person) for parts, person in numbered]
        wrong = [(name, number, person) for name, number, person in named if number != person]
        people_and_folders = {(number, person) for _, number, person in named}
        if len(wrong) == len(named) and len(people_and_folders) > len({number for number, _ in people_and_folders}):
            continue
        if not wrong:
            return level
        name, number, person = wrong[0]
        raise DataError(
            f"{len(wrong):,} crop(s) in {folder} lie in one person's folder and carry another person in their name: "
            f"{name} lies in the folder of person {number} and is named for person {person}"
            f"{' (more: ' + list_briefly([name for name, *_ in wrong[1:]]) + ')' if len(wrong) > 1 else ''}. Move or "
            "rename them, or say in a manifest who is on each crop (docs/datasets.md)."
        )
    return None


LAYOUT = Layout(
    name="folder",
    sentence="Your own crops in folders, a folder a person; split automatically where you have no split.",
    expected=_FORMS,
    licence="your own data: its terms are for you to know",
    detect=detect,
    read=read,
)
