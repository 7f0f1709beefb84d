"""Files with the same content: the same crop under several names, links and copies alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from omnireid.machine import usable_cores

_AT_ONCE = 64


def group_identical(paths: Sequence[Path]) -> list[list[int]]:
    """Find files that hold the same bytes.

    A link counts as the file it leads to. Only files of equal size are read, and each real file once,
    so that a large set costs one stat for each file and few reads. Empty and unreadable files equal no other.

    Returns:
        Groups of two or more indices into `paths`, each ascending, in order of their first index.
    """
    names: dict[tuple[int, int], list[int]] = {}  # a real file, by device and inode, to its places in `paths`
    files_by_size: dict[int, list[tuple[int, int]]] = {}
    for index, path in enumerate(paths):
        try:
            status = path.stat()
        except (OSError, ValueError):
            continue
        file = (status.st_dev, status.st_ino)
        if file not in names and status.st_size:
            files_by_size.setdefault(status.st_size, []).append(file)
        if status.st_size:
            names.setdefault(file, []).append(index)
    alike = [file for files in files_by_size.values() if len(files) > 1 for file in files]
    digests = dict(zip(alike, _digests(paths[names[file][0]] for file in alike), strict=True))
    by_content: dict[object, list[int]] = {}
    for file, indices in names.items():
        by_content.setdefault(digests.get(file) or file, []).extend(indices)
    return sorted(sorted(indices) for indices in by_content.values() if len(indices) > 1)


def find_shared_crops(query: Sequence[Path], gallery: Sequence[Path]) -> list[tuple[int, int]]:
    """Find gallery crops that are a query over again, as a link, a copy or the same file.

    Returns:
        (query index, gallery index) pairs, ascending: every gallery file with the same content as a query.
    """
    pairs = []
    for group in group_identical([*query, *gallery]):
        searched = [index for index in group if index < len(query)]
        found = [index - len(query) for index in group if index >= len(query)]
        pairs += [(one, other) for one in searched for other in found]
    return sorted(pairs)


def _digests(paths: Iterable[Path]) -> list[bytes | None]:
    """The digest of each file's content, read in threads; None for a file that cannot be read."""
    waiting = list(paths)
    portions = [waiting[start : start + _AT_ONCE] for start in range(0, len(waiting), _AT_ONCE)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        try:
            return [digest for portion in pool.map(_digest_portion, portions) for digest in portion]
        finally:
            pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for files that are not begun


def _digest_portion(paths: Sequence[Path]) -> list[bytes | None]:
    """One task for many files: crops are small, so a task for each would cost more than reading it."""
    return [_digest(path) for path in paths]


def _digest(path: Path) -> bytes | None:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError:
        return None
