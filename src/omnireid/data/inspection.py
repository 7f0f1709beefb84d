"""What the files of a data set are, byte by byte: unreadable, duplicate and odd-sized crops."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from omnireid.data.examination import EXAMPLES, Finding, shown_path
from omnireid.errors import ImageError
from omnireid.images.decode import read_image
from omnireid.progress import progress_bar
from omnireid.types import Dataset

SMALL_HEIGHT, SMALL_WIDTH = 32, 16
"""Crops with fewer pixels than this are told: a quarter of the usual 128×64 and less carries little identity."""

_TEST_SPLITS = ("query", "gallery", "multi_query")
_LEARNING_SPLITS = ("train", "validation")
_AT_ONCE = 512


@dataclass(frozen=True)
class Look:
    """What one file is.

    Attributes:
        problem: why it cannot be read, or None.
        size: (height, width) in pixels, or None where it cannot be read.
        digest: of its bytes; empty where there are none to read.
    """

    problem: str | None
    size: tuple[int, int] | None
    digest: str


def look_at(paths: Sequence[Path], *, progress: bool) -> dict[Path, Look]:
    """Read and decode each file, in threads."""
    looks: dict[Path, Look] = {}
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar("examine", len(paths), unit="crops", show=progress) as advance,
    ):
        # In portions, so that Ctrl-C waits for one portion and not for the whole set.
        for start in range(0, len(paths), _AT_ONCE):
            portion = paths[start : start + _AT_ONCE]
            looks.update(zip(portion, pool.map(_look, portion), strict=True))
            advance(len(portion))
    return looks


def examine_files(dataset: Dataset, *, progress: bool) -> list[Finding]:
    """Read every file of the data set once and say what is wrong with any."""
    paths = list(dict.fromkeys(path for split in dataset.splits.values() for path in split.paths))
    looks = look_at(paths, progress=progress)
    return [*_unreadable(looks), *_duplicates(dataset, looks), *_sizes(dataset, looks)]


def _look(path: Path) -> Look:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Look(f"{path}: {error.strerror}", None, "")
    digest = hashlib.blake2b(content, digest_size=16).hexdigest() if content else ""
    try:
        height, width = read_image(content, name=str(path)).shape[:2]
    except ImageError as error:
        return Look(str(error), None, digest)
    return Look(None, (height, width), digest)


def _unreadable(looks: dict[Path, Look]) -> list[Finding]:
    wrong = [path for path, look in looks.items() if look.problem is not None]
    if not wrong:
        return []
    return [
        Finding(
            "unreadable",
            "error",
            len(wrong),
            f"{len(wrong):,} of {len(looks):,} files cannot be read as images.",
            tuple(str(looks[path].problem) for path in wrong[:EXAMPLES]),
            "Copy them again from the source, or take them out (embed goes on with --skip-unreadable and counts them).",
        )
    ]


def _duplicates(dataset: Dataset, looks: dict[Path, Look]) -> list[Finding]:
    """Files with the same bytes: across train and test, and inside query and gallery."""
    halves = {"train": _LEARNING_SPLITS, "test": _TEST_SPLITS}
    by_content: dict[str, dict[str, list[Path]]] = {}
    for half, names in halves.items():
        paths = dict.fromkeys(path for name, split in dataset.splits.items() if name in names for path in split.paths)
        for path in paths:
            if looks[path].digest:
                by_content.setdefault(looks[path].digest, {}).setdefault(half, []).append(path)
    leaks = [found for found in by_content.values() if len(found) == 2]
    doubles = [found["test"] for found in by_content.values() if len(found.get("test", ())) > 1]
    findings = []
    if leaks:
        findings.append(
            Finding(
                "duplicates-train-test",
                "warning",
                len(leaks),
                f"{len(leaks):,} images are byte for byte both in train and in test: the model has seen the answer.",
                tuple(
                    f"{shown_path(found['train'][0], dataset)} = {shown_path(found['test'][0], dataset)}"
                    for found in leaks[:EXAMPLES]
                ),
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
                tuple(" = ".join(shown_path(path, dataset) for path in paths[:2]) for paths in doubles[:EXAMPLES]),
                "Keep one of each, and check that its person and camera id are right.",
            )
        )
    return findings


def _sizes(dataset: Dataset, looks: dict[Path, Look]) -> list[Finding]:
    sizes = {path: look.size for path, look in looks.items() if look.size is not None}
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
                "Look at some: people this far away are hardly recognisable. Raise the detector's smallest size.",
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
                "Look at some: whole scenes, cut-off people, several people in a box. Crop again, one person each.",
            )
        )
    return findings
