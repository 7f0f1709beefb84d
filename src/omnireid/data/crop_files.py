"""The examination of a data set's files: unreadable, duplicate and odd-sized crops."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from omnireid.data.examination import EXAMPLES, Finding, shown_path
from omnireid.data.identical import group_identical
from omnireid.errors import ImageError
from omnireid.images.decode import read_image
from omnireid.machine import usable_cores
from omnireid.progress import progress_bar
from omnireid.types import Dataset

SMALL_HEIGHT, SMALL_WIDTH = 32, 16
"""Smaller crops are reported: a quarter of the usual 128×64 pixels and less carries little identity."""

_TEST_SPLITS = ("query", "gallery", "multi_query")
_LEARNING_SPLITS = ("train", "validation")
_AT_ONCE = 512


@dataclass(frozen=True)
class CropFile:
    """The result of reading one file.

    Attributes:
        problem: why it cannot be read, or None.
        size: (height, width) in pixels, or None where it cannot be read.
    """

    problem: str | None
    size: tuple[int, int] | None


def read_crop_files(paths: Sequence[Path], *, progress: bool) -> dict[Path, CropFile]:
    """Read and decode each file, in threads."""
    files: dict[Path, CropFile] = {}
    with (
        ThreadPoolExecutor(usable_cores()) as pool,
        progress_bar("examine", len(paths), unit="crops", show=progress) as advance,
    ):
        # In portions, so that Ctrl-C waits for one portion and not for the whole set.
        for start in range(0, len(paths), _AT_ONCE):
            portion = paths[start : start + _AT_ONCE]
            files.update(zip(portion, pool.map(_read_crop_file, portion), strict=True))
            advance(len(portion))
    return files


def examine_files(dataset: Dataset, *, progress: bool) -> list[Finding]:
    """Read every file of the data set and report what is wrong with any."""
    paths = list(dict.fromkeys(path for split in dataset.splits.values() for path in split.paths))
    files = read_crop_files(paths, progress=progress)
    return [*_find_unreadable(files), *_find_duplicates(dataset, paths), *_find_odd_sizes(dataset, files)]


def _read_crop_file(path: Path) -> CropFile:
    try:
        height, width = read_image(path.read_bytes(), name=str(path)).shape[:2]
    except OSError as error:
        return CropFile(f"{path}: {error.strerror}", None)
    except ImageError as error:
        return CropFile(str(error), None)
    return CropFile(None, (height, width))


def _find_unreadable(files: dict[Path, CropFile]) -> list[Finding]:
    problems = [file.problem for file in files.values() if file.problem is not None]
    if not problems:
        return []
    return [
        Finding(
            "unreadable",
            "error",
            len(problems),
            f"{len(problems):,} of {len(files):,} files cannot be read as images.",
            tuple(problems[:EXAMPLES]),
            "Copy them again from the source, or take them out (embed --skip-unreadable leaves them out and counts "
            "them).",
        )
    ]


def _find_duplicates(dataset: Dataset, paths: Sequence[Path]) -> list[Finding]:
    """Files with the same bytes: across train and test, and inside query and gallery."""
    learned, tested = (
        {path for name, split in dataset.splits.items() if name in names for path in split.paths}
        for names in (_LEARNING_SPLITS, _TEST_SPLITS)
    )
    leaks, doubles = [], []
    for group in group_identical(paths):
        in_train = [paths[index] for index in group if paths[index] in learned]
        in_test = [paths[index] for index in group if paths[index] in tested]
        if in_train and in_test:
            leaks.append((in_train[0], in_test[0]))
        if len(in_test) > 1:
            doubles.append((in_test[0], in_test[1]))

    def shown(pairs: list[tuple[Path, Path]]) -> tuple[str, ...]:
        return tuple(" = ".join(shown_path(path, dataset) for path in pair) for pair in pairs[:EXAMPLES])

    findings = []
    if leaks:
        findings.append(
            Finding(
                "duplicates-train-test",
                "warning",
                len(leaks),
                f"{len(leaks):,} images are both in train and in test, byte for byte: the model has seen the answer.",
                shown(leaks),
                "Take them out of train (or out of test), and check where the copies came from.",
            )
        )
    if doubles:
        findings.append(
            Finding(
                "duplicates-in-test",
                "warning",
                len(doubles),
                f"{len(doubles):,} images are in query and gallery more than once, byte for byte: an easy match, "
                "or two names for one person.",
                shown(doubles),
                "Keep one of each, and check that its person and camera id are right.",
            )
        )
    return findings


def _find_odd_sizes(dataset: Dataset, files: dict[Path, CropFile]) -> list[Finding]:
    sizes = {path: file.size for path, file in files.items() if file.size is not None}
    small = [path for path, (height, width) in sizes.items() if height < SMALL_HEIGHT or width < SMALL_WIDTH]
    landscape = [path for path, (height, width) in sizes.items() if width > height]

    def shown(paths: list[Path]) -> tuple[str, ...]:
        return tuple(f"{shown_path(path, dataset)}: {sizes[path][0]}×{sizes[path][1]}" for path in paths[:EXAMPLES])

    findings = []
    if small:
        findings.append(
            Finding(
                "small-crops",
                "warning",
                len(small),
                f"{len(small):,} crops are smaller than {SMALL_HEIGHT}×{SMALL_WIDTH} pixels (height × width).",
                shown(small),
                "Look at a few: people this far away are hardly recognisable. Raise the detector's minimum size.",
            )
        )
    if landscape:
        findings.append(
            Finding(
                "landscape-crops",
                "warning",
                len(landscape),
                f"{len(landscape):,} crops are wider than high; a standing person is not.",
                shown(landscape),
                "Look at a few: they may be whole scenes, cut-off people or several people in a box. Crop each person "
                "alone.",
            )
        )
    return findings
