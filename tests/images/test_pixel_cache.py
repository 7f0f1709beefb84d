from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from omnireid.errors import (
    DataError,
    DataNotFoundError,
    DiskFullError,
    ImageError,
    OutputError,
    OutputInUseError,
    ShapeError,
)
from omnireid.files import sole_writer
from omnireid.images import pixel_cache
from omnireid.images.batches import iterate_batches
from omnireid.images.pixel_cache import (
    CHUNK,
    PixelCache,
    list_pixel_caches,
    open_pixel_cache,
    pixel_cache_folder,
    pixel_cache_key,
    remove_pixel_caches,
)
from omnireid.images.preprocess import Preprocessing


@pytest.fixture
def crops(crop_folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(crop_folder.iterdir()))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """More crops than a chunk holds, of two formats and many sizes."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for i in range(CHUNK * 2 + 5):
        pixels = rng.integers(0, 255, (8 + i % 5, 4 + i % 3, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04d}.{'jpg' if i % 2 else 'png'}")
    return tuple(sorted(folder.iterdir()))


def opened(paths: Sequence[Path], folder: Path, **options: Any) -> PixelCache:
    return open_pixel_cache(paths, **{"height": 16, "width": 8, "folder": folder, "progress": False, **options})


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Iterator[None]:
        raise AssertionError("something was decoded")

    monkeypatch.setattr(pixel_cache, "iterate_batches", refuse)


def test_the_pixels_are_those_of_every_prediction(many: tuple[Path, ...], tmp_path: Path) -> None:
    found = opened(many, tmp_path)
    preprocessing = Preprocessing(16, 8)
    assert found.pixels.shape == (len(many), 16, 8, 3)
    for path, pixels in zip(many, found.pixels, strict=True):
        np.testing.assert_array_equal(pixels, preprocessing.resize(path))
    assert (found.height, found.width, found.path) == (16, 8, tmp_path / f"{found.key}.npy")
    assert not found.pixels.flags.writeable
    np.testing.assert_array_equal(np.load(found.path, mmap_mode="r"), found.pixels)
    assert sorted(os.listdir(tmp_path)) == [f"{found.key}.json", f"{found.key}.npy"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workers=st.integers(1, 5), order=st.permutations(range(12)), height=st.integers(1, 20))
def test_any_number_of_workers_gives_the_same_bytes(
    crops: tuple[Path, ...], tmp_path: Path, workers: int, order: list[int], height: int
) -> None:
    paths = [crops[i] for i in order[:7]] + [crops[order[0]]]
    one = opened(paths, tmp_path / "1", height=height, workers=1)
    other = opened(paths, tmp_path / str(workers), height=height, workers=workers)
    assert one.path.read_bytes() == other.path.read_bytes()
    np.testing.assert_array_equal(one.pixels[0], one.pixels[-1])


@pytest.mark.usefixtures("no_decoding")
def test_the_test_for_decoding_would_notice(crops: tuple[Path, ...], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="something was decoded"):
        opened(crops, tmp_path)


def test_the_second_opening_decodes_nothing(
    crops: tuple[Path, ...], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first = opened(crops, tmp_path)
    os.utime(first.path.with_suffix(".json"), (0, 0))
    request.getfixturevalue("no_decoding")
    second = opened(crops, tmp_path)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert list_pixel_caches(tmp_path)[0].last_used > 0


def test_the_key_depends_on_content_order_and_size_but_not_on_names(crops: tuple[Path, ...], tmp_path: Path) -> None:
    key = pixel_cache_key(crops, height=16, width=8)
    shutil.copytree(crops[0].parent, tmp_path / "moved")
    moved = sorted((tmp_path / "moved").iterdir())
    assert pixel_cache_key(moved, height=16, width=8, workers=3) == key
    others = {
        pixel_cache_key(crops[::-1], height=16, width=8),
        pixel_cache_key(crops[1:], height=16, width=8),
        pixel_cache_key(crops, height=8, width=16),
    }
    moved[3].write_bytes(moved[3].read_bytes() + b"\0")
    others.add(pixel_cache_key(moved, height=16, width=8))
    assert len(others | {key}) == 5


def test_the_key_depends_on_the_pixel_path(crops: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    key = pixel_cache_key(crops, height=16, width=8)
    monkeypatch.setattr(pixel_cache, "PIXEL_PATH", "another")
    assert pixel_cache_key(crops, height=16, width=8) != key


def cut_short(found: PixelCache) -> None:
    os.truncate(found.path, found.path.stat().st_size - 1)


def turn_a_bit(found: PixelCache) -> None:
    content = bytearray(found.path.read_bytes())
    content[-1] ^= 1
    found.path.write_bytes(content)


def spoil_the_header(found: PixelCache) -> None:
    size = found.path.stat().st_size
    found.path.write_bytes(b"\0" * size)


def turn_the_header(found: PixelCache) -> None:
    content = found.path.read_bytes()
    found.path.write_bytes(content.replace(b"False", b"True ", 1))


def forget_the_pixels(found: PixelCache) -> None:
    found.path.unlink()


def forget_the_record(found: PixelCache) -> None:
    found.path.with_suffix(".json").unlink()


def spoil_the_record(found: PixelCache) -> None:
    found.path.with_suffix(".json").write_text("[]")


def swap_the_record(found: PixelCache) -> None:
    file = found.path.with_suffix(".json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"key": "0" * 64}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_short, "it has .* bytes, not "),
        (turn_a_bit, "the checksum of the crops from 128 on is wrong"),
        (spoil_the_header, "it cannot be read: "),
        (turn_the_header, "its header says "),
        (forget_the_pixels, "its build was interrupted"),
        (forget_the_record, "its build was interrupted"),
        (spoil_the_record, "it cannot be read: "),
        (swap_the_record, "its .json belongs to another one"),
    ],
)
def test_a_damaged_pixel_cache_is_built_again(
    many: tuple[Path, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Any, reason: str
) -> None:
    found = opened(many, tmp_path)
    content = found.path.read_bytes()
    damage(found)
    again = opened(many, tmp_path)
    assert again.path.read_bytes() == content
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1
    assert re.search(rf"The decoded crops in .* are damaged \({reason}.*\)\. Decoding them again", printed)
    assert sorted(os.listdir(tmp_path)) == [f"{found.key}.json", f"{found.key}.npy"]


def test_a_disk_that_loses_what_is_written(
    crops: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = iter(range(99))
    monkeypatch.setattr("omnireid.images.pixel_cache.zlib.crc32", lambda _pixels: next(counter))
    with pytest.raises(DataError, match=r"were written but cannot be read back \(the checksum .* Check the disk"):
        opened(crops, tmp_path)


def test_a_corrupt_crop_leaves_nothing(many: tuple[Path, ...], tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(many[1].read_bytes()[:100])
    with pytest.raises(ImageError, match=r"bad\.jpg is damaged or truncated"):
        opened([*many[:100], bad, *many[100:]], tmp_path / "stores")
    assert os.listdir(tmp_path / "stores") == []


def test_a_crop_that_is_gone_or_no_file(crops: tuple[Path, ...], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"No such image: .*gone\.jpg"):
        opened([*crops, tmp_path / "gone.jpg"], tmp_path / "stores")
    with pytest.raises(ImageError, match="is a folder, not an image"):
        opened([*crops, tmp_path], tmp_path / "stores")
    with pytest.raises(ImageError, match="/dev/zero is a device, not a file"):  # reading it would never end
        opened([*crops, Path("/dev/zero")], tmp_path / "stores")
    assert os.listdir(tmp_path) == []


def test_a_crop_that_changes_while_it_is_decoded(
    crops: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = tmp_path / "changing.jpg"
    shutil.copy(crops[0], changing)
    decode = iterate_batches

    def change(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield from decode(*arguments, **options)
        shutil.copy(crops[5], changing)

    monkeypatch.setattr(pixel_cache, "iterate_batches", change)
    with pytest.raises(DataError, match="A crop changed while it was decoded, so nothing was kept"):
        opened([*crops, changing], tmp_path / "stores")
    assert os.listdir(tmp_path / "stores") == []


@pytest.mark.parametrize(
    ("stop", "expected"),
    [(OSError(errno.ENOSPC, "No space left on device"), DiskFullError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_full_disk_or_ctrl_c_in_the_middle_leaves_nothing(
    many: tuple[Path, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: BaseException,
    expected: type[BaseException],
) -> None:
    decode = iterate_batches

    def fail(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield next(decode(*arguments, **options))
        assert [name[-4:] for name in os.listdir(tmp_path) if not name.endswith(".lock")] == [".npy"]
        raise stop

    monkeypatch.setattr(pixel_cache, "iterate_batches", fail)
    with pytest.raises(expected):
        opened(many, tmp_path)
    assert os.listdir(tmp_path) == []


def test_too_little_space_is_an_error_before_decoding(
    crops: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_decoding: None
) -> None:
    monkeypatch.setattr("omnireid.images.pixel_cache.shutil.disk_usage", lambda _: SimpleNamespace(free=4607))
    with pytest.raises(DiskFullError, match=r"take 4,608 bytes, but the disk of .* has only 4,607 free\. Free some"):
        opened(crops, tmp_path)
    assert os.listdir(tmp_path) == []


def test_what_a_kill_left_is_cleared_away(crops: tuple[Path, ...], tmp_path: Path) -> None:
    key = pixel_cache_key(crops, height=16, width=8)
    left = tmp_path / f".{key}-0123456789ab.npy"
    left.write_bytes(b"half")
    foreign = tmp_path / f".{'f' * 64}-0123456789ab.npy"
    foreign.write_bytes(b"of another build")
    opened(crops, tmp_path)
    assert not left.exists()
    assert foreign.exists()


def _open_in_process(paths: Sequence[Path], folder: Path, start: Any, results: Any) -> None:
    decoded = []
    decode = iterate_batches

    def count(*arguments: Any, **options: Any) -> Iterator[Any]:
        decoded.append(1)
        yield from decode(*arguments, **options)

    setattr(pixel_cache, "iterate_batches", count)  # noqa: B010 - mypy
    start.wait(60)
    found = opened(paths, folder)
    results.put((len(decoded), int(found.pixels.astype(np.int64).sum())))


def test_two_processes_at_once_build_one_pixel_cache(many: tuple[Path, ...], tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    both = [context.Process(target=_open_in_process, args=(many, tmp_path, start, results)) for _ in range(2)]
    for process in both:
        process.start()
    found = [results.get(timeout=120) for _ in both]
    for process in both:
        process.join(60)
    assert sorted(decoded for decoded, _ in found) == [0, 1]
    assert found[0][1] == found[1][1]
    assert len(os.listdir(tmp_path)) == 2


def test_a_pixel_cache_shared_read_only_is_opened(
    crops: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(crops, tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pixel_cache, "sole_writer", refuse)
    monkeypatch.setattr("omnireid.images.pixel_cache.os.utime", refuse)
    assert opened(crops, tmp_path).key == first.key


def test_what_cannot_be_asked_for(crops: tuple[Path, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There are no crops to decode"):
        opened([], tmp_path)
    with pytest.raises(DataError, match="workers must be 1 or more; got 0. Leave it out"):
        opened(crops, tmp_path, workers=0)
    with pytest.raises(ShapeError, match="An input of 0 × 8 pixels"):
        opened(crops, tmp_path, height=0)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file or folder of another kind is in the way"):
        opened(crops, tmp_path / "file")


def test_where_pixel_caches_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crops: tuple[Path, ...]) -> None:
    monkeypatch.setenv("OMNIREID_CACHE", str(tmp_path / "cache"))
    assert pixel_cache_folder() == tmp_path / "cache" / "stores"
    assert pixel_cache_folder(tmp_path) == tmp_path
    assert list_pixel_caches() == []
    found = open_pixel_cache(crops, height=4, width=2, progress=False)
    assert found.path.parent == tmp_path / "cache" / "stores"
    assert remove_pixel_caches(found.key[:5]) > 12 * 4 * 2 * 3
    assert list_pixel_caches() == []


def test_listing_and_removing(crops: tuple[Path, ...], tmp_path: Path) -> None:
    small, large = opened(crops, tmp_path, height=2), opened(crops[:5], tmp_path)
    left = tmp_path / f".{'f' * 64}-0123456789ab.npy"
    left.write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("not of ours")
    entries = {entry.key: entry for entry in list_pixel_caches(tmp_path)}
    assert list(entries) == sorted(entries)
    assert {key: entry.shape for key, entry in entries.items()} == {
        small.key: (12, 2, 8),
        large.key: (5, 16, 8),
        "f" * 64: None,
    }
    assert entries["f" * 64].bytes == 4
    on_disk = sum(file.stat().st_size for file in tmp_path.glob(f"{small.key}.*"))
    assert entries[small.key].bytes == on_disk == remove_pixel_caches(small.key, tmp_path)
    with pytest.raises(DataNotFoundError, match=r"No pixel cache in .* begins with '.*'\. 'omnireid cache' lists them"):
        remove_pixel_caches(small.key, tmp_path)
    with pytest.raises(DataError, match=r"2 pixel caches in .* begin with ''\. Give more digits, or all"):
        remove_pixel_caches("", tmp_path)
    with sole_writer(large.path), pytest.raises(OutputInUseError, match="Another process is writing"):
        remove_pixel_caches(large.key, tmp_path)
    assert remove_pixel_caches("all", tmp_path) == entries[large.key].bytes + 4
    assert os.listdir(tmp_path) == ["notes.txt"]
    assert remove_pixel_caches("all", tmp_path) == 0
