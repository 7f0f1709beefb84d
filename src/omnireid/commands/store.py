"""``omnireid store``: the crops that training keeps decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from omnireid.commands.options import OptionalPath, OptionalText

BuildOption = Annotated[tuple[Path, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="DATA")]


def store(
    *,
    build: BuildOption = (),
    height: int = 256,
    width: int = 128,
    layout: str = "auto",
    use_test_identities: bool = False,
    seed: int = 0,
    remove: OptionalText = None,
    store_folder: OptionalPath = None,
) -> None:
    """List the crops that training keeps decoded, build them ahead of time, or remove them.

    Training decodes each data set once a size and finds it again by the files' bytes, wherever they lie. Everything
    here can be removed at any time: it is decoded again when it is needed.

    Example: omnireid store --build Market-1501-v15.09.15 --height 256 --width 128

    Args:
        build: decode the training crops of this data set; several, with a flag each, as for omnireid train --data.
        height: of the decoded crops, in pixels.
        width: of the decoded crops, in pixels.
        layout: of the data sets; auto looks which one fits.
        use_test_identities: decode the crops of the test identities too, as omnireid train does with this flag.
        seed: of the automatic split of data that has none; the recipe's.
        remove: all, or the first digits of a store's key.
        store_folder: where stores are kept; by default in $OMNIREID_CACHE or this system's place for caches.
    """
    from omnireid.errors import DataError
    from omnireid.images.pixel_cache import list_stores, open_store, remove_stores
    from omnireid.images.pixel_cache import store_folder as home_of

    if build and remove is not None:
        raise DataError("--build and --remove were given together. Give one of them.")
    home = home_of(store_folder)
    if remove is not None:
        print(f"freed {remove_stores(remove, home) / 1e6:,.1f} MB in {home}")
    elif build:
        from omnireid.data.training_data import load_training_data

        data = load_training_data(build, layout=layout, use_test_identities=use_test_identities, seed=seed)
        opened = open_store(data.paths, height=height, width=width, folder=home)
        print(f"{opened.path}: {len(data):,} crops of {height} × {width}, {opened.pixels.nbytes / 1e6:,.1f} MB")
    else:
        entries = list_stores(home)
        total = sum(entry.bytes for entry in entries) / 1e6
        for entry in entries:
            print(_line(entry.key, entry.shape, entry.bytes, entry.last_used))
        print(f"{len(entries)} store(s) in {home}, {total:,.1f} MB. Free them: omnireid store --remove all (or a key)")


def _line(key: str, shape: tuple[int, int, int] | None, size: int, last_used: float) -> str:
    from datetime import datetime

    crops = "unfinished" if shape is None else f"{shape[0]:,} crops of {shape[1]} × {shape[2]}"
    day = datetime.fromtimestamp(last_used).astimezone().strftime("%Y-%m-%d %H:%M")
    return f"{key[:12]}  {crops:<28}  {size / 1e6:>9,.1f} MB  last used {day}"
