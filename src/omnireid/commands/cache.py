"""``omnireid cache``: the decoded crops that training keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from omnireid.commands.options import LayoutOption, SeedOption, field_text
from omnireid.training.options import RunOptions

if TYPE_CHECKING:
    from omnireid.images.pixel_cache import PixelCacheEntry

BuildOption = Annotated[tuple[Path, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="DATA")]
# --store-folder belongs to the deprecated verb `store`, and goes when it goes.
FolderOption = Annotated[
    Path | None, tyro.conf.arg(aliases=["--store-folder"], help=field_text(RunOptions, "pixel_cache_folder"))
]
TestIdentitiesOption = Annotated[bool, tyro.conf.arg(help=field_text(RunOptions, "use_test_identities"))]


def cache(
    *,
    build: BuildOption = (),
    height: int = 256,
    width: int = 128,
    layout: LayoutOption = "auto",
    use_test_identities: TestIdentitiesOption = False,
    seed: SeedOption = 0,
    remove: str | None = None,
    pixel_cache_folder: FolderOption = None,
) -> None:
    """List the decoded crops that training keeps, decode some ahead of time, or remove them.

    Training decodes each data set once for each crop size, and finds the pixels again by the content of the files,
    wherever they lie. Anything listed here can be removed at any time: it is decoded again when it is needed.

    Example: omnireid cache --build Market-1501-v15.09.15 --height 256 --width 128

    Args:
        build: Data set whose training crops to decode. Repeat the flag for several, as with omnireid train --data.
        height: Height of the decoded crops in pixels.
        width: Width of the decoded crops in pixels.
        remove: Remove every pixel cache (all), or the one whose key begins with these digits.
    """
    from omnireid.errors import DataError
    from omnireid.images.pixel_cache import list_pixel_caches, open_pixel_cache, remove_pixel_caches
    from omnireid.images.pixel_cache import pixel_cache_folder as folder_of_pixel_caches

    if build and remove is not None:
        raise DataError("--build and --remove were given together. Give one of them.")
    folder = folder_of_pixel_caches(pixel_cache_folder)
    if remove is not None:
        print(f"freed {remove_pixel_caches(remove, folder) / 1e6:,.1f} MB in {folder}")
    elif build:
        from omnireid.data.training_data import load_training_data

        data = load_training_data(build, layout=layout, use_test_identities=use_test_identities, seed=seed)
        opened = open_pixel_cache(data.paths, height=height, width=width, folder=folder)
        print(f"{opened.path}: {len(data):,} crops of {height} × {width}, {opened.pixels.nbytes / 1e6:,.1f} MB")
    else:
        _print_entries(list_pixel_caches(folder), folder)


def _print_entries(entries: list[PixelCacheEntry], folder: Path) -> None:
    from datetime import datetime

    for entry in entries:
        shape = entry.shape
        crops = "unfinished" if shape is None else f"{shape[0]:,} crops of {shape[1]} × {shape[2]}"
        day = datetime.fromtimestamp(entry.last_used).astimezone().strftime("%Y-%m-%d %H:%M")
        print(f"{entry.key[:12]}  {crops:<28}  {entry.bytes / 1e6:>9,.1f} MB  last used {day}")
    total = sum(entry.bytes for entry in entries) / 1e6
    advice = " To free the space: omnireid cache --remove all (or a key)" if entries else ""
    print(f"{len(entries)} pixel cache{'' if len(entries) == 1 else 's'} in {folder}, {total:,.1f} MB.{advice}")
