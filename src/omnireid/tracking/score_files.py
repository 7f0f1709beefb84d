"""Which file of tracks belongs to which ground truth."""

from __future__ import annotations

from pathlib import Path

from omnireid.errors import DataNotFoundError


def find_pairs(tracks: Path, truth: Path) -> dict[str, tuple[Path, Path]]:
    """Find which file of tracks belongs to which ground truth.

    Args:
        tracks: File of tracks, or a folder with ``NAME.txt`` for each sequence.
        truth: A ``gt.txt``, the folder of a sequence with ``gt/gt.txt``, or a folder of such folders.

    Returns:
        Ground truth and tracks of each sequence by its name, sorted.

    Raises:
        DataNotFoundError: There is no ground truth, or no file of tracks for one of the sequences.
    """
    truths = _find_truths(truth)
    if tracks.is_dir():
        pairs = {name: (file, tracks / f"{name}.txt") for name, file in truths.items()}
    elif len(truths) == 1:
        pairs = {name: (file, tracks) for name, file in truths.items()}
    else:
        raise DataNotFoundError(
            f"{truth} holds {len(truths)} sequences, and {tracks} is not a folder. Give a folder with a file for each: "
            f"{', '.join(f'{name}.txt' for name in truths)}."
        )
    for name, (_, file) in pairs.items():
        if not file.is_file():
            raise DataNotFoundError(f"There are no tracks of the sequence {name}: {file} does not exist.")
    return pairs


def _find_truths(truth: Path) -> dict[str, Path]:
    """The ground truth of each sequence by its name."""
    if truth.is_file():
        named = truth.parent.parent if truth.parent.name == "gt" else truth.with_suffix("")
        return {named.resolve().name: truth}
    if (truth / "gt" / "gt.txt").is_file():
        return {truth.resolve().name: truth / "gt" / "gt.txt"}
    found = {file.parent.parent.name: file for file in sorted(truth.glob("*/gt/gt.txt"))}
    if not found:
        raise DataNotFoundError(f"There is no ground truth in {truth}: neither gt/gt.txt nor NAME/gt/gt.txt.")
    return found
