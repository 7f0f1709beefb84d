"""All known layouts, and the one function that reads any of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from omnireid.data import cuhk03, dukemtmcreid, folder, grid, manifest, market1501, msmt17, viper
from omnireid.data.crops import find_images, no_image_error, walk_images
from omnireid.data.folders import folder_names, given_path, input_errors, is_there, visible_names
from omnireid.data.layout import Layout, Request, count_differences
from omnireid.data.options import DataOptions
from omnireid.errors import DataError, DataNotFoundError, IncompleteDatasetError, UnknownLayoutError, list_briefly
from omnireid.types import Dataset

_LAYOUTS = (
    market1501.LAYOUT,
    *cuhk03.LAYOUTS.values(),
    dukemtmcreid.LAYOUT,
    msmt17.LAYOUT,
    viper.LAYOUT,
    grid.LAYOUT,
    manifest.LAYOUT,
    folder.LAYOUT,
)
LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in _LAYOUTS})
"""Every layout by name. ``auto`` is not among them: it stands for the one that fits."""

_SEARCH_DEPTH = 2  # data/grid/underground_reid/ is as deep as data sets usually lie


def load_dataset(
    root: str | Path, layout: str = "auto", *, split: int = 0, seed: int = 0, progress: bool = True
) -> Dataset:
    """Read a data set: its crops, who is on them, and which are train, query and gallery.

    Everything is sorted, so two machines agree. Junk (person -1) is dropped;
    distractors stay in the gallery. Training people keep their ids; training numbers
    them from 0 later. Counts that differ from the published ones, and files that were
    passed over, are reported in `Dataset.notes`; neither is an error.

    Args:
        root: The data set's folder, a folder one or two levels above it, or a manifest file.
        layout: A name in `LAYOUTS`, or ``auto`` for the one that fits.
        split: Which published split to read, from 0, if there are several (CUHK03 classic, VIPeR, GRID).
        seed: Seed for the automatic split, used only when the data set defines none.
        progress: Whether to show a bar while CUHK03's ``cuhk-03.mat`` is extracted.

    Raises:
        DataNotFoundError: there is no such folder, or no image in it.
        UnknownLayoutError: there is no layout of that name, or ``auto`` found none or several that fit.
        IncompleteDatasetError: a folder, list or image of the data set is missing.
        ManifestError: a column or value is wrong; the message names the row.
        MissingDependencyError: a ``.mat`` file needs the extra ``omnireid[matlab]``.
        DataError: the split does not exist; a file or folder may not be read, or is not what its name promises; or
            names of folders and files leave in doubt who is on the crops.

    >>> sorted(LAYOUTS)[:2]
    ['cuhk03-classic-detected', 'cuhk03-classic-labeled']
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise UnknownLayoutError(_no_such_layout(layout))
    path = given_path(root)
    with input_errors(path):
        _require_something(path)
        chosen, home = _find_layout(path, layout)
    if not 0 <= split < chosen.split_count:
        raise DataError(
            f"{chosen.name} has {chosen.split_count} split(s), counted from 0; there is no split {split}. "
            f"Choose one from 0 to {chosen.split_count - 1}."
        )
    with input_errors(home):
        dataset = chosen.read(home, Request(split=split, seed=seed, progress=progress))
    return replace(dataset, notes=count_differences(dataset, chosen) + dataset.notes)


def load_splits(root: str | Path, options: DataOptions = DataOptions()) -> list[Dataset]:
    """Load every published split of a data set, the first one first; most data sets have one.

    Scores of a data set with several splits are averaged over them.

    Args:
        root: The data set's folder or manifest. Raises the errors of `load_dataset`.
        options: How the data set is read. With a `split_index`, only that split is loaded.
    """
    layout, seed = options.layout, options.seed
    if options.split_index is not None:
        return [load_dataset(root, layout, split=options.split_index, seed=seed)]
    first = load_dataset(root, layout, seed=seed)
    return [first, *(load_dataset(root, layout, split=index, seed=seed) for index in range(1, first.split_count))]


def _no_such_layout(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), LAYOUTS, n=1, cutoff=0.4)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"No layout {name!r}.{hint} Known: auto, {', '.join(LAYOUTS)}."


def _require_something(path: Path) -> None:
    """Check that `path` exists and, if it is a folder, that something is in it."""
    if not is_there(path):
        parent = path.parent
        siblings = [name for name, _ in visible_names(parent)]
        close = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f" Did you mean {parent / close[0]}?" if close else " Check the path."
        raise DataNotFoundError(f"There is no {path}.{hint}")
    if path.is_dir() and not folder_names(path):
        raise DataNotFoundError(f"The folder {path} is empty. Unpack the data set into it, or give another folder.")


def _find_layout(path: Path, name: str) -> tuple[Layout, Path]:
    """Find the layout to use, and the data set's root: `path`, or the nearest folder below it that fits."""
    if path.is_file():
        if path.suffix.lower() in manifest.MANIFEST_SUFFIXES and name in ("auto", "manifest"):
            return LAYOUTS["manifest"], path
        raise UnknownLayoutError(
            f"{path} is a file; {'a data set' if name == 'auto' else name} is a folder. "
            "Give the folder, or a manifest ending in .csv or .parquet."
        )
    if name == "folder":
        return LAYOUTS[name], path
    wanted = [layout for layout in LAYOUTS.values() if name in ("auto", layout.name) and layout.name != "folder"]
    for level in _folders_by_depth(path):
        found = _without_incomplete(
            [(layout, home) for home, names in level for layout in wanted if layout.detect(home, names)]
        )
        if len(found) > 1:
            raise UnknownLayoutError(_several_fit(path, found))
        if found:
            return found[0]
    if name != "auto":
        raise IncompleteDatasetError(
            f"Neither {path} nor a folder in it is a {name}. Expected: {LAYOUTS[name].expected}. Found: "
            f"{_contents_briefly(path)}."
        )
    if next(walk_images(path, 4), None) is None:
        advice = f"Found: {_contents_briefly(path)}. Unpack the data set, or give another folder."
        raise no_image_error(path, find_images(path, 4).passed_over, advice)
    problem = folder.form_problem(path)
    if problem is not None:
        raise UnknownLayoutError(_nothing_fits(path, problem))
    return LAYOUTS["folder"], path


def _without_incomplete(found: list[tuple[Layout, Path]]) -> list[tuple[Layout, Path]]:
    """Drop layouts that lack a part if another can read the same folder, and repeats of one real folder."""
    homes = {home for layout, home in found if layout.is_readable(home)}
    kept = [(layout, home) for layout, home in found if home not in homes or layout.is_readable(home)]
    return list({(layout.name, home.resolve()): (layout, home) for layout, home in reversed(kept)}.values())[::-1]


def _folders_by_depth(root: Path) -> Iterator[list[tuple[Path, frozenset[str]]]]:
    """Yield the folders at depth 0, 1 and 2, each with the names in it.

    Folders below `root` that may not be looked into count as empty.
    """
    level = [root]
    for depth in range(_SEARCH_DEPTH + 1):
        listed = [(home, visible_names(home) if depth else folder_names(home)) for home in level]
        yield [(home, frozenset(name for name, _ in entries)) for home, entries in listed]
        level = [home / name for home, entries in listed for name, is_folder in entries if is_folder]


def _contents_briefly(path: Path) -> str:
    return list_briefly([name + "/" * is_folder for name, is_folder in folder_names(path)], 12)


def _several_fit(path: Path, found: list[tuple[Layout, Path]]) -> str:
    lines = "\n".join(f"  {layout.name} in {home}: {layout.sentence}" for layout, home in found)
    if len({layout.name for layout, _ in found}) == len(found):
        return f"Several layouts fit {path}:\n{lines}\nSay which one with layout (--layout {found[0][0].name})."
    return f"Several data sets are in {path}:\n{lines}\nGive the folder of the one you mean."


def _nothing_fits(path: Path, problem: str) -> str:
    lines = "\n".join(f"  {layout.name}: {layout.expected}" for layout in LAYOUTS.values())
    lists = [name for name, _ in folder_names(path) if Path(name).suffix.lower() in manifest.MANIFEST_SUFFIXES]
    hint = f" If {lists[0]} is a manifest, give its own path." if lists else ""
    return (
        f"{path} looks like no data set known here. Found: {_contents_briefly(path)}. As your own crops in folders it "
        f"cannot be read: {problem}.{hint} Expected one of:\n{lines}\n"
        "Say which one it is with layout (--layout) to see what is missing, or list the crops in a manifest "
        "(docs/datasets.md)."
    )
