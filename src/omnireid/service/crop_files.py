"""The pictures that the service may show, below the folders that its operator named, and those that it keeps itself."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from omnireid.errors import NotInGalleryError, SettingError
from omnireid.files import atomic_output, make_folder
from omnireid.images.decode import open_rgb
from omnireid.service.uploads import MOST_PIXELS, SUFFIXES, Upload, media_type_of

_MOST_BYTES = 32 * 2**20
_KEPT = re.compile(r"[0-9a-f]{64}\.(?:jpg|png|webp)")
_NOT_SHOWN = "The picture of this sighting is not shown by this service."


@dataclass(frozen=True)
class CropFiles:
    """Files of crops that may be shown.

    Attributes:
        roots: The folders below which they lie, absolute.
        keep: The folder for pictures that are added through the service; one of the roots. None keeps nothing.
    """

    roots: tuple[Path, ...] = ()
    keep: Path | None = None

    def may_show(self, path: str) -> bool:
        """Whether a path lies below a root. The file itself is not looked at."""
        return self._below(path) is not None

    def read(self, path: str) -> tuple[bytes, str]:
        """The bytes of a picture and its media type; JPEG, PNG and WebP as they are, others as PNG.

        No link below a root is followed, whatever happens to the files meanwhile: every folder on the way is opened
        from the one before it.

        Raises:
            NotInGalleryError: the path is not below a root, is no regular file, or is gone.
            ImageError: it is no picture.
        """
        found = self._below(path)
        if found is None:
            raise NotInGalleryError(_NOT_SHOWN)
        try:
            content = _read_without_links(*found)
        except OSError:
            raise NotInGalleryError(_NOT_SHOWN) from None
        kind = media_type_of(content)
        if kind is not None:
            return content, kind
        converted = io.BytesIO()
        open_rgb(content, name="The picture", max_pixels=MOST_PIXELS).save(converted, format="PNG")
        return converted.getvalue(), "image/png"

    def store(self, upload: Upload) -> Path:
        """Keep a picture under the hash of its content. It is on the disk when this returns.

        Raises:
            SettingError: no folder was named for it.
        """
        path = self.path_of(upload)
        if not path.exists():
            with atomic_output(path) as temporary:
                temporary.write_bytes(upload.content)
        return path

    def path_of(self, upload: Upload) -> Path:
        """Where a picture is kept.

        Raises:
            SettingError: no folder was named for it.
        """
        if self.keep is None:
            raise SettingError(
                "This service keeps no pictures, so nothing can be added. Its operator can allow that with "
                "--keep-crops FOLDER."
            )
        return self.keep / f"{upload.sha256}{SUFFIXES[upload.media_type]}"

    def delete(self, paths: Iterable[str]) -> int:
        """Delete the pictures among `paths` that the service keeps; returns how many."""
        deleted = 0
        for path in {Path(text) for text in paths}:
            if path.parent == self.keep and _KEPT.fullmatch(path.name):
                with suppress(FileNotFoundError):
                    path.unlink()
                    deleted += 1
        return deleted

    def _below(self, path: str) -> tuple[Path, tuple[str, ...]] | None:
        """The root and the names below it; None where the path is not below any."""
        if not path.startswith(os.sep) or "\0" in path:
            return None
        normal = Path(os.path.normpath(path))
        for root in self.roots:
            if normal.is_relative_to(root) and normal != root:
                return root, normal.relative_to(root).parts
        return None


def open_crop_files(serve: Iterable[Path], keep: Path | None) -> CropFiles:
    """Check the folders, and make the one for kept pictures where it is missing.

    Raises:
        SettingError: a folder is not there, or this system cannot open a file without following links.
    """
    serve = tuple(serve)
    if (serve or keep is not None) and os.open not in os.supports_dir_fd:
        raise SettingError("serve_crops and keep_crops (--serve-crops, --keep-crops) need Linux or macOS.")
    if keep is not None:
        make_folder(keep)
    for root in serve:
        if not root.is_dir():
            raise SettingError(f"serve_crops: there is no folder {root}.")
    named = [root.absolute() for root in (*serve, *(() if keep is None else (keep,)))]
    # A gallery holds paths as they were typed, so a root counts under its own name and under the one without links.
    roots = tuple(dict.fromkeys(path for root in named for path in (Path(os.path.normpath(root)), root.resolve())))
    return CropFiles(roots, None if keep is None else keep.resolve())


def _read_without_links(root: Path, names: tuple[str, ...]) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)  # the operator's own, which may be a link
    try:
        for name in names[:-1]:
            inner = os.open(name, flags | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        file = os.open(names[-1], flags | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            raise OSError("no regular file, or too large")
        return stream.read(_MOST_BYTES)
