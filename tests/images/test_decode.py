from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnireid.errors import ImageError, ImageTooLargeError
from omnireid.images.decode import IMAGE_SUFFIXES, MAX_PIXELS, open_rgb, read_image

RED = (200, 30, 30)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "gif", "avif", "jp2", "ppm"])
def test_reads_the_formats_people_have(tmp_path: Path, suffix: str) -> None:
    path = save(Image.new("RGB", (12, 20), RED), tmp_path / f"crop.{suffix}")
    pixels = read_image(path)
    assert pixels.shape == (20, 12, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - RED).max() <= 4


def test_path_bytes_image_and_array_agree(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 12, 3), dtype=np.uint8)
    path = save(Image.fromarray(pixels), tmp_path / "crop.png")
    with Image.open(path) as image:
        for source in (path, str(path), path.read_bytes(), image, pixels):
            assert np.array_equal(read_image(source), pixels)


def test_the_result_is_its_own_memory() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    read_image(pixels)[:] = 9
    assert pixels.max() == 0


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    path = save(Image.new("L", (6, 8), 77), tmp_path / "grey.png")
    assert np.array_equal(read_image(path), np.full((8, 6, 3), 77, np.uint8))
    assert np.array_equal(read_image(np.full((8, 6), 77, np.uint8)), np.full((8, 6, 3), 77, np.uint8))


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    path = save(Image.new("1", (6, 8), 1), tmp_path / "mask.png")
    assert np.array_equal(read_image(path), np.full((8, 6, 3), 255, np.uint8))


def test_palette(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (6, 8), RED).convert("P", palette=Image.Palette.ADAPTIVE), tmp_path / "palette.png")
    assert np.abs(read_image(path).astype(int) - RED).max() <= 2


def test_transparency_lies_over_black(tmp_path: Path) -> None:
    half = Image.new("RGBA", (6, 8), (200, 100, 50, 128))
    path = save(half, tmp_path / "half.png")
    assert np.abs(read_image(path).astype(int) - (100, 50, 25)).max() <= 1
    assert np.abs(read_image(np.asarray(half)).astype(int) - (100, 50, 25)).max() <= 1
    clear = Image.new("P", (6, 8), 0)
    clear.putpalette([200, 100, 50])
    path = save(clear, tmp_path / "clear.png", transparency=0)
    assert read_image(path).max() == 0


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    expected = np.arange(256).reshape(16, 16)
    path = save(Image.fromarray(ramp), tmp_path / "deep.png")
    assert np.array_equal(read_image(path)[..., 0], expected)
    assert np.array_equal(read_image(ramp)[..., 1], expected)
    assert np.array_equal(read_image(Image.fromarray(ramp.astype(np.int32)))[..., 2], expected)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (16, 16), RED).convert("CMYK"), tmp_path / "print.jpg", quality=95)
    assert np.abs(read_image(path).astype(int) - RED).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = np.zeros((20, 12, 3), np.uint8)
    upright[:5, :4] = 255  # a mark in the top left corner tells all eight apart
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(np.ascontiguousarray(stored)), tmp_path / f"phone.{suffix}", exif=exif)
    assert np.array_equal(read_image(path), upright)
    with Image.open(path) as image:
        assert np.array_equal(read_image(image), upright)


def test_truncated_jpeg_names_the_file(tmp_path: Path) -> None:
    path = save(Image.effect_noise((64, 128), 50), tmp_path / "cut.jpg")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match=r"cut\.jpg is damaged or truncated.*Copy it again, or leave it out"):
        read_image(path)


def test_text_named_jpg(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("no image")
    with pytest.raises(ImageError, match=r"notes\.jpg is not a JPEG, PNG, WebP, BMP, .* image, whatever its name says"):
        read_image(path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "nothing.jpg"
    path.touch()
    with pytest.raises(ImageError, match=r"nothing\.jpg is empty \(0 bytes\)"):
        read_image(path)
    with pytest.raises(ImageError, match=r"image in memory \(0 bytes\) is empty"):
        read_image(b"")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing: what a decompression bomb starts with."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (10_000, 9_500), (8_001, 8_001)])
def test_decompression_bomb_is_not_decoded(tmp_path: Path, width: int, height: int) -> None:
    # Above Pillow's error limit, between its warning and error limits, and just above ours.
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(ImageTooLargeError, match=r"bomb\.png has more than 64,000,000 pixels.*was not decoded"):
        read_image(path)


def test_the_limit_also_holds_for_arrays_and_images() -> None:
    with pytest.raises(ImageTooLargeError, match="more than 100 pixels"):
        read_image(np.zeros((20, 20, 3), np.uint8), max_pixels=100)
    with pytest.raises(ImageTooLargeError, match=r"more than 100 pixels \(20 × 20\)"):
        open_rgb(Image.new("RGB", (20, 20)), max_pixels=100)
    assert MAX_PIXELS == 64_000_000


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"No such image: .*gone\.jpg"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="is a folder, not an image"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 20, 12), np.uint8), r"shape \(3, 20, 12\).*Channels come last"),
        (np.zeros((20,), np.uint8), r"an image is \(H, W\)"),
        (np.zeros((20, 12, 3), np.float32), r"type float32; pixels are uint8.*\(array \* 255\)"),
        (np.zeros((0, 12, 3), np.uint8), "no pixel in it. Was the box outside the frame"),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(array)


def test_floating_point_image() -> None:
    with pytest.raises(ImageError, match="floating-point pixels"):
        read_image(Image.new("F", (4, 4)))


def test_integers_of_unknown_range() -> None:
    with pytest.raises(ImageError, match="integers outside 0–65535, whose range is unknown"):
        read_image(Image.fromarray(np.full((4, 4), 70_000, np.int32)))


def test_formats_that_no_crop_comes_in_are_refused_even_if_pillow_knows_them() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "EPS")
    with pytest.raises(ImageError, match="is not a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, JPEG 2000 or PPM image"):
        read_image(stream.getvalue())


def test_every_suffix_of_a_format_that_is_read_names_an_image() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".ppm"} <= IMAGE_SUFFIXES
    assert not {".eps", ".pdf", ".tga", ".psd", ".txt"} & IMAGE_SUFFIXES


HEIC = """
import sys, types
from PIL import Image
plugin = types.ModuleType("pillow_heif")
def register():
    Image.register_open("HEIF", object)
    Image.register_extensions("HEIF", [".heic"])
plugin.register_heif_opener = register
sys.modules["pillow_heif"] = plugin if sys.argv[1] == "there" else None
from omnireid.images.decode import IMAGE_SUFFIXES
from omnireid.images.formats import FORMAT_NAMES
print(".heic" in IMAGE_SUFFIXES, "HEIC" in FORMAT_NAMES)
"""


@pytest.mark.parametrize(("plugin", "expected"), [("there", "True True"), ("missing", "False False")])
def test_heic_is_read_where_the_plugin_is_installed(plugin: str, expected: str) -> None:
    done = subprocess.run([sys.executable, "-c", HEIC, plugin], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_the_first_frame_of_several_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 8), colour) for colour in (RED, (0, 0, 255))]
    for suffix in ("gif", "tif"):
        frames[0].save(tmp_path / f"frames.{suffix}", save_all=True, append_images=frames[1:])
        assert np.array_equal(read_image(tmp_path / f"frames.{suffix}"), np.full((8, 6, 3), RED, np.uint8))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_named_pipe_is_refused_and_does_not_block(tmp_path: Path, suffix: str) -> None:
    pipe = tmp_path / f"pipe.{suffix}"
    os.mkfifo(pipe)
    for source in (pipe, str(pipe)):
        with pytest.raises(ImageError, match=rf"pipe\.{suffix} is a named pipe, not a file"):
            read_image(source)


@pytest.mark.skipif(os.name != "posix", reason="this system has no device files")
def test_devices_and_sockets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="/dev/zero is a device, not a file"):
        read_image("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        with pytest.raises(ImageError, match=r"socket\.jpg is a socket, not a file"):
            read_image("socket.jpg")


def test_a_name_with_a_nul_character() -> None:
    with pytest.raises(ImageError, match="is no name of a file: it has a NUL character"):
        read_image("crop\0.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "gif"])
def test_a_pil_image_that_was_closed_says_so(tmp_path: Path, suffix: str) -> None:
    path = save(Image.new("RGB", (6, 8), RED), tmp_path / f"crop.{suffix}")
    with Image.open(path) as left:
        pass
    closed = Image.open(path)
    closed.close()
    for image in (left, closed):
        with pytest.raises(
            ImageError, match=rf"crop\.{suffix} was closed before its pixels were read.*image\.load\(\)"
        ):
            read_image(image)
    in_memory = Image.new("RGB", (6, 8))
    in_memory.close()
    with pytest.raises(ImageError, match="the PIL image was closed before its pixels were read"):
        read_image(in_memory)


def test_a_truncated_pil_image_is_damaged_not_closed(tmp_path: Path) -> None:
    path = save(Image.effect_noise((64, 128), 50), tmp_path / "cut.jpg")
    path.write_bytes(path.read_bytes()[:-200])
    with Image.open(path) as image, pytest.raises(ImageError, match=r"cut\.jpg is damaged or truncated"):
        read_image(image)
