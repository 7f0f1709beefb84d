"""MSMT17, in its first and second release, read from its own lists.

Source: Wei et al., "Person Transfer GAN to Bridge Domain Gap for Person
Re-Identification", CVPR 2018. The second release blurs faces; names and lists are the same.
"""

from __future__ import annotations

from pathlib import Path

from omnireid.data.crops import split_of
from omnireid.data.folders import folder_names, missing_files
from omnireid.data.layout import Layout, Published, Request
from omnireid.errors import DataError, IncompleteDatasetError, list_briefly
from omnireid.types import Dataset, Sample, Split

_LISTS = {
    "train": "list_train.txt",
    "validation": "list_val.txt",
    "query": "list_query.txt",
    "gallery": "list_gallery.txt",
}
_TOO_LARGE = 2**63
_FOLDERS = {"train": ("mask_train_v2", "train"), "test": ("mask_test_v2", "test")}


def detect(_folder: Path, names: frozenset[str]) -> bool:
    """Recognise two of the lists, or the second release's image folders."""
    return len(names & set(_LISTS.values())) >= 2 or bool(names & {"mask_train_v2", "mask_test_v2"})


def read(root: Path, _request: Request) -> Dataset:
    """Read MSMT17. Its lists say which crops belong where; a listed crop that is missing is an error.

    Person ids are the numbers in the lists. Train and test are numbered separately:
    train person 5 and test person 5 are two people.
    """
    entries = folder_names(root)
    absent = [name for name in _LISTS.values() if (name, False) not in entries]
    folders = {
        half: next((root / name for name in names if (name, True) in entries), None) for half, names in _FOLDERS.items()
    }
    absent += [f"{' or '.join(_FOLDERS[half])}/" for half, folder in folders.items() if folder is None]
    if absent or folders["train"] is None or folders["test"] is None:
        raise IncompleteDatasetError(
            f"{root} is not a complete msmt17: {', '.join(absent)} missing. "
            f"There: {list_briefly([name for name, _ in entries], 12)}. Unpack the data set again."
        )
    home = {
        "train": folders["train"],
        "validation": folders["train"],
        "query": folders["test"],
        "gallery": folders["test"],
    }
    splits = {name: _read_list(root / file, home[name]) for name, file in _LISTS.items()}
    _require_files(root, splits)
    return Dataset(
        name=LAYOUT.name,
        layout=LAYOUT.name,
        root=root,
        train=splits["train"],
        query=splits["query"],
        gallery=splits["gallery"],
        validation=splits["validation"],
        licence=LAYOUT.licence,
    )


def _read_list(list_file: Path, folder: Path) -> Split:
    """The crops of one list, with a line such as ``0000/0000_045_12_0303morning_0006_2.jpg 0`` for each.

    The third part of the name is the camera, the last number of the line the person.
    """
    samples = []
    for number, line in enumerate(list_file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            name, person_id = line.split()
            camera_id = name.rpartition("/")[2].split("_")[2]
            ids = int(person_id), int(camera_id)
            if max(ids) >= _TOO_LARGE:
                raise ValueError
            samples.append(Sample(folder / name, *ids))
        except (ValueError, IndexError):
            raise DataError(
                f"Line {number} of {list_file} is not of the form "
                f"'0000/0000_045_12_0303morning_0006_2.jpg 0' (crop, person): {line[:80]!r}. "
                "Unpack the list again from the data set's archive."
            ) from None
    return split_of(samples)


def _require_files(root: Path, splits: dict[str, Split]) -> None:
    for name, split in splits.items():
        missing = missing_files(split.paths)
        if missing:
            shown = [path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in missing]
            raise IncompleteDatasetError(
                f"{len(missing):,} of the {len(split):,} crops in {_LISTS[name]} are not in {root}: "
                f"{list_briefly(shown)}. Unpack the images again; the archive was cut short or files were moved."
            )


LAYOUT = Layout(
    name="msmt17",
    sentence="MSMT17 (V1 or V2): 15 cameras, 1,041 identities to train, 3,060 to test.",
    expected="list_train.txt, list_val.txt, list_query.txt, list_gallery.txt beside train/ and test/ "
    "(or mask_train_v2/ and mask_test_v2/)",
    licence="research only, under the agreement signed with its authors",
    detect=detect,
    read=read,
    published={
        "train": Published(30_248, 1_041),
        "validation": Published(2_373, 1_041),
        "query": Published(11_659, 3_060),
        "gallery": Published(82_161, 3_060),
    },
    people_numbered_apart=True,
)
