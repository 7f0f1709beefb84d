from __future__ import annotations

import io
import subprocess
import sys
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnireid.errors import ImageError, ImageTooLargeError
from omnireid.images import decode
from omnireid.images.decode import MAX_PIXELS, RgbArray, open_rgb, read_image
from omnireid.images.jpeg import decode_plain_jpeg
from omnireid.images.preprocess import Preprocessing


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours under noise, so that both the transform and the upsampling of the colours matter."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3)), np.ones((8, 8, 1)))[:height, :width]
    noisy = blocks + rng.integers(-25, 26, blocks.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def by_pillow(content: bytes, max_pixels: int = MAX_PIXELS) -> RgbArray | str:
    """The naive reference: what Pillow gives, or the text of the error."""
    try:
        return np.asarray(open_rgb(content, name="it", max_pixels=max_pixels))
    except ImageError as error:
        return str(error)


def by_us(content: bytes, max_pixels: int = MAX_PIXELS) -> RgbArray | str:
    try:
        return read_image(content, name="it", max_pixels=max_pixels)
    except ImageError as error:
        return str(error)


def agree(content: bytes, max_pixels: int = MAX_PIXELS) -> bool:
    ours, pillows = by_us(content, max_pixels), by_pillow(content, max_pixels)
    if isinstance(ours, str) or isinstance(pillows, str):
        return isinstance(ours, str) and isinstance(pillows, str) and ours == pillows
    return np.array_equal(ours, pillows)


SIZES = [(64, 128), (1, 1), (7, 9), (16, 16), (17, 33), (8, 65)]
KINDS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"optimize": True},
    {"restart_marker_blocks": 2},
    {"comment": b"drawn"},
]


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_the_bytes_are_those_of_pillow(options: dict[str, Any]) -> None:
    for size, subsampling, quality, mode in product(SIZES, (0, 1, 2), (5, 50, 75, 95, 100), ("RGB", "L")):
        content = jpeg(picture(*size).convert(mode), quality=quality, subsampling=subsampling, **options)
        ours = decode_plain_jpeg(content, MAX_PIXELS)
        assert ours is not None, (size, subsampling, quality, mode)  # the fast way was taken
        assert np.array_equal(ours, by_pillow(content)), (size, subsampling, quality, mode)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 90), height=st.integers(1, 90), quality=st.integers(1, 100), subsampling=st.integers(0, 2),
    progressive=st.booleans(), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_size_and_quality(
    width: int, height: int, quality: int, subsampling: int, progressive: bool, seed: int
) -> None:
    content = jpeg(picture(width, height, seed), quality=quality, subsampling=subsampling, progressive=progressive)
    ours = decode_plain_jpeg(content, MAX_PIXELS)
    assert ours is not None
    assert np.array_equal(ours, by_pillow(content))
    assert ours.flags.writeable


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}], ids=str)
def test_a_truncated_file_is_refused_in_the_same_words(options: dict[str, Any]) -> None:
    content = jpeg(picture(19, 27), quality=60, **options)
    for length in range(len(content)):
        assert isinstance(by_us(content[:length]), str), length
        assert agree(content[:length]), length


BASES = [jpeg(picture(20, 12), quality=60, **options) for options in (KINDS[0], KINDS[1], KINDS[3])] + [
    jpeg(picture(9, 10).convert("L"), quality=90)
]
BYTES = st.sampled_from([0, 1, 0xC0, 0xC4, 0xD9, 0xE0, 0xFF]) | st.integers(0, 255)


@settings(max_examples=300, deadline=None)
@given(
    base=st.sampled_from(BASES),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), BYTES), min_size=1, max_size=6),
    cut=st.one_of(st.none(), st.floats(0, 1)),
    tail=st.binary(max_size=12),
)
def test_whatever_the_damage_pillow_decides(
    base: bytes, damage: list[tuple[float, int]], cut: float | None, tail: bytes
) -> None:
    content = bytearray(base)
    for place, value in damage:
        content[int(place * len(content))] = value
    whole = bytes(content if cut is None else content[: int(cut * len(content))]) + tail
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged EXIF blocks
        assert agree(whole, max_pixels=1_000_000)


@given(st.binary(max_size=40))
def test_garbage(rest: bytes) -> None:
    assert decode_plain_jpeg(rest, MAX_PIXELS) is None
    assert decode_plain_jpeg(b"\xff\xd8" + rest, MAX_PIXELS) is None
    assert agree(b"\xff\xd8\xff" + rest)


def test_data_behind_the_end_is_no_damage() -> None:
    content = jpeg(picture(20, 12)) + b"left by a camera"
    assert decode_plain_jpeg(content, MAX_PIXELS) is not None
    assert agree(content)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_left_to_pillow_which_turns_the_image(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "phone.jpg"
    path.write_bytes(jpeg(picture(24, 40), exif=exif))
    assert decode_plain_jpeg(path.read_bytes(), MAX_PIXELS) is None
    assert read_image(path).shape == ((40, 24, 3) if orientation < 5 else (24, 40, 3))
    assert np.array_equal(read_image(path), np.asarray(open_rgb(path)))


def of_two_pictures() -> bytes:
    stream = io.BytesIO()
    picture(16, 16).save(stream, "MPO", save_all=True, append_images=[picture(16, 16, 1)])
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        jpeg(picture(16, 16).convert("CMYK")),
        jpeg(picture(16, 16), icc_profile=b"a profile of some colours"),
        of_two_pictures(),
        jpeg(picture(16, 16), keep_rgb=True),
        b"\xff\xd8\xff\xe0\0\x06JFIF" + jpeg(picture(16, 16))[20:],
    ],
    ids=["CMYK", "profile", "MPO", "RGB components", "short JFIF"],
)
def test_what_is_unusual_is_as_before(content: bytes) -> None:
    assert agree(content)


def test_the_limit_is_looked_at_before_decoding() -> None:
    content = jpeg(picture(64, 128))
    with pytest.raises(ImageTooLargeError, match=r"more than 8,191 pixels \(64 × 128\)"):
        read_image(content, max_pixels=64 * 128 - 1)
    assert decode_plain_jpeg(content, 64 * 128 - 1) is None
    assert decode_plain_jpeg(content, 64 * 128) is not None


def test_files_longer_than_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(jpeg(picture(300, 400), quality=100, subsampling=0))
    assert path.stat().st_size > 65_536
    expected = np.asarray(open_rgb(path))
    assert np.array_equal(read_image(path), expected)
    monkeypatch.setattr(decode, "_MOST_READS", 1)
    assert decode._jpeg_file(path, MAX_PIXELS) is None
    assert np.array_equal(read_image(str(path)), expected)


def test_a_file_that_is_no_jpeg_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    path.write_bytes(bytes(200_000))
    content = decode._jpeg_file(path, MAX_PIXELS)
    assert content is not None
    assert len(content) == 65_536


WITHOUT = """
import sys
sys.modules['simplejpeg'] = None  # as if it were not installed
import numpy as np
from omnireid.images import jpeg
from omnireid.images.preprocess import Preprocessing
assert jpeg.decode_jpeg is None
np.save(sys.argv[2], Preprocessing(64, 32).resize(sys.argv[1]))
"""


def test_without_simplejpeg_pillow_gives_the_same(tmp_path: Path) -> None:
    crop, result = tmp_path / "crop.jpg", tmp_path / "result.npy"
    crop.write_bytes(jpeg(picture(40, 90)))
    done = subprocess.run([sys.executable, "-c", WITHOUT, crop, result], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(result), Preprocessing(64, 32).resize(crop))


@pytest.mark.real
@pytest.mark.parametrize(("height", "width"), [(256, 128), (128, 64), (192, 96)])
def test_real_crops_bit_for_bit(shared: Path, height: int, width: int) -> None:
    paths = sorted((shared / "data" / "Market-1501-v15.09.15" / "query").glob("*.jpg"))[::5]
    assert len(paths) >= 600
    preprocessing = Preprocessing(height, width)
    for path in paths:
        with Image.open(path) as image:
            pillows = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
        assert np.array_equal(preprocessing.resize(path), pillows), path
        assert decode_plain_jpeg(path.read_bytes(), MAX_PIXELS) is not None, path
