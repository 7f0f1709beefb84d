"""Crops at addresses, fetched side by side and ahead of the decoder, in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from omnireid.addresses import Address
from omnireid.errors import DataNotFoundError, ImageError

AT_ONCE = 32
"""Files that are fetched at once. An answer of object storage takes tens of milliseconds, whatever the crop's size."""

AHEAD = 2 * AT_ONCE
"""Files that are fetched before they are asked for."""


@dataclass(frozen=True)
class FetchedImage:
    """An image file that is on its way here. As a path it is its address, by which errors name it.

    Attributes:
        address: Where the file is.
        content: Its bytes, as soon as they are here.
    """

    address: Address
    content: Future[bytes]

    def __fspath__(self) -> str:
        return str(self.address)


def read_fetched(source: Address | FetchedImage) -> bytes:
    """The bytes of an image at an address.

    Raises:
        ImageError: there is no such file.
        DataError: it cannot be fetched, which says nothing about the image.
    """
    try:
        return source.read_bytes() if isinstance(source, Address) else source.content.result()
    except DataNotFoundError as error:
        address = os.fspath(source)
        raise ImageError(f"No such image: {address}. Check the address, or the list it came from.") from error


def fetch_ahead(paths: Sequence[Path]) -> Iterator[Path | FetchedImage]:
    """The paths in their order, with each address replaced by its file, which is fetched ahead in threads."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as threads:
        waiting: deque[Path | FetchedImage] = deque()
        try:
            for path in paths:
                waiting.append(
                    FetchedImage(path, threads.submit(path.read_bytes)) if isinstance(path, Address) else path
                )
                if len(waiting) > AHEAD:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
