"""Small data sets in every layout, under names like the real ones."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def drawn(seed: int, height: int = 64, width: int = 32) -> Pixels:
    """(H, W, 3) noise, another for each seed."""
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def draw(path: Path, seed: int = 0, height: int = 64, width: int = 32) -> Path:
    """Write one image, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn(seed, height, width)).save(path)
    return path


def touch(root: Path, names: Iterable[str]) -> Path:
    """Write empty files: enough for all that does not look inside."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_csv(file: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return file


def market(root: Path) -> Path:
    """Market-1501's folders: people 1, 2 to train, 3, 4 to test, a distractor and junk in the gallery."""
    names = {
        "bounding_box_train": ["0001_c1s1_000001_01.jpg", "0001_c2s1_000002_01.jpg", "0002_c1s1_000003_01.jpg"],
        "query": ["0003_c1s1_000001_00.jpg", "0004_c2s1_000002_00.JPG"],
        "bounding_box_test": [
            "-1_c1s1_000009_01.jpg",
            "0000_c3s1_000010_01.jpg",
            "0003_c1s1_000011_01.jpg",
            "0003_c2s1_000012_01.jpg",
            "0004_c1s1_000013_01.jpg",
        ],
    }
    for seed, path in enumerate(root / folder / name for folder, crops in names.items() for name in crops):
        draw(path, seed)
    touch(root, ["readme.txt", "query/Thumbs.db", "bounding_box_test/._0003_c1s1_000011_01.jpg"])
    return root


def duke(root: Path) -> Path:
    return touch(
        root,
        [
            "bounding_box_train/0001_c1_f0046182.jpg",
            "bounding_box_train/0001_c8_f0046302.jpg",
            "query/0005_c2_f0046985.jpg",
            "bounding_box_test/0005_c5_f0046985.jpg",
            "bounding_box_test/0006_c5_f0000001.jpg",
        ],
    )


MSMT17_LISTS = {
    "list_train.txt": ["0000/0000_045_12_0303morning_0006_2.jpg 0", "0000/0000_010_07_0303morning_0008_2.jpg 0"],
    "list_val.txt": ["0000/0000_013_04_0303morning_0020_2.jpg 0"],
    "list_query.txt": ["0000/0000_000_01_0303morning_0015_0.jpg 0", "0001/0001_001_02_0303noon_0015_0_ex.jpg 1"],
    "list_gallery.txt": ["0000/0000_008_03_0303morning_0019_2.jpg 0", "0001/0001_019_05_0303noon_0029_1.jpg 1"],
}


def msmt17(root: Path, train: str = "train", test: str = "test") -> Path:
    for file, lines in MSMT17_LISTS.items():
        folder = train if file in ("list_train.txt", "list_val.txt") else test
        touch(root, [f"{folder}/{line.split()[0]}" for line in lines])
        (root / file).write_text("\n".join(lines) + "\n")
    return root


def viper(root: Path, people: Sequence[int], partitions: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Path:
    from scipy.io import savemat

    touch(root, [f"cam_a/{person:03d}_{person % 4 * 45}.bmp" for person in people])
    touch(root, [f"cam_b/{person:03d}_{person % 3 * 90}.bmp" for person in people])
    parti = np.empty((1, len(partitions)), dtype=[("trnSet", "O"), ("tstSet", "O")])
    for index, (train, test) in enumerate(partitions):
        parti[0, index] = (np.array([train], dtype=np.uint16), np.array([test], dtype=np.uint16))
    savemat(root / "partition_viper.mat", {"parti": parti})
    return root


def grid(root: Path, train_people: Sequence[Sequence[int]]) -> Path:
    """Four people in probe and gallery, two distractors, and one list of training people a split."""
    from scipy.io import savemat

    touch(root, [f"probe/{person:04d}_{person}_25004_107_32_106_221.jpeg" for person in (1, 2, 3, 4)])
    touch(root, [f"gallery/{person:04d}_{person + 4}_25023_116_134_128_330.jpeg" for person in (1, 2, 3, 4)])
    touch(root, [f"gallery/0000_{camera}_25023_1_1_1_1.jpeg" for camera in (5, 6)])
    cells = np.empty((1, len(train_people)), dtype=object)
    for index, people in enumerate(train_people):
        cells[0, index] = {
            "features": np.zeros((2, 3)),
            "labels": np.ones((1, 4)),
            "people": np.array([people], dtype=np.uint8),
        }
    savemat(root / "features_and_partitions.mat", {"trainIdxAll": cells})
    return root


# Camera pair and person to the numbers of the images that are there (1-5 of the first camera, 6-10 of the second).
CUHK03_IMAGES: Mapping[tuple[int, int], Sequence[int]] = {
    (1, 1): (1, 2, 6, 7, 8),
    (1, 2): (1, 6),
    (2, 1): (1, 3, 6),
    (3, 1): (1, 6),
    (5, 1): (2, 9, 10),
}
CUHK03_TESTSETS = [[(1, 2), (5, 1)] if index % 2 == 0 else [(1, 1), (3, 1)] for index in range(20)]


def cuhk03_names() -> list[str]:
    return [
        f"{pair}_{person:03d}_{1 if number <= 5 else 2}_{number:02d}.png"
        for (pair, person), numbers in CUHK03_IMAGES.items()
        for number in numbers
    ]


def cuhk03_pixels(pair: int, person: int, number: int, kind: str) -> Pixels:
    return drawn(pair * 10_000 + person * 100 + number + (kind == "labeled") * 1_000_000, 12, 5)


def cuhk03_release(file: Path, **replaced: Any) -> Path:
    """A ``cuhk-03.mat`` built as MATLAB builds the release: cell arrays of references, axes the other way round."""
    import h5py

    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as release:
        pool = release.create_group("#refs#")

        def store(array: npt.NDArray[Any]) -> Any:
            return pool.create_dataset(str(len(pool)), data=array).ref

        def references(values: list[Any], shape: tuple[int, ...]) -> Any:
            array = np.empty(len(values), dtype=h5py.ref_dtype)
            array[:] = values
            return array.reshape(shape)

        empty = store(np.zeros(2, dtype=np.uint64))
        for kind in ("detected", "labeled"):
            pairs = []
            for pair in range(1, 6):
                people = max((person for there, person in CUHK03_IMAGES if there == pair), default=0)
                cells = [
                    store(cuhk03_pixels(pair, person, number, kind).transpose(2, 1, 0))
                    if number in CUHK03_IMAGES.get((pair, person), ())
                    else empty
                    for number in range(1, 11)
                    for person in range(1, people + 1)
                ]
                pairs.append(store(references(cells, (10, people))))
            release.create_dataset(kind, data=references(pairs, (1, 5)))
        testsets = [store(np.array(people, dtype=np.float64).T) for people in CUHK03_TESTSETS]
        release.create_dataset("testsets", data=references(testsets, (1, 20)))
        for name, value in replaced.items():
            del release[name]
            if value is not None:
                release.create_dataset(name, data=references([store(value)], (1, 1)))
    return file


def cuhk03_lists(file: Path) -> Path:
    """The new protocol over `CUHK03_IMAGES`: person 1 to train; 2, 3 to test, each camera's first crop the query."""
    from scipy.io import savemat

    names = cuhk03_names()
    people = sorted(CUHK03_IMAGES)
    labels = [people.index((int(name[0]), int(name[2:5]))) + 1 for name in names]
    cameras = [int(name[6]) for name in names]
    filelist = np.empty((len(names), 1), dtype=object)
    filelist[:, 0] = names
    index = np.arange(1, len(names) + 1)
    tested = np.isin(labels, (2, 3))
    first = np.array([labels[:i].count(labels[i]) == 0 for i in range(len(names))])
    variables = {
        "filelist": filelist,
        "labels": np.array(labels, dtype=np.uint16)[:, None],
        "camId": np.array(cameras, dtype=np.uint8)[:, None],
        "train_idx": index[np.array(labels) == 1][:, None],
        "query_idx": index[tested & first][:, None],
        "gallery_idx": index[tested & ~first][:, None],
    }
    savemat(file, variables)
    return file
