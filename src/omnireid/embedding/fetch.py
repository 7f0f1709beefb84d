"""From a name of weights to a file on this disk, downloaded once and checked."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from filelock import FileLock

from omnireid.errors import DownloadError, MissingDependencyError, OutputError, WeightsNotFoundError
from omnireid.files import atomic_output, make_folder, output_error, output_errors, sha256_of
from omnireid.progress import progress_bar

TIMEOUT_S = 30.0
_CHUNK = 1 << 20
_HUB_NAME = re.compile(r"hf://(?P<repository>[^/@\s]+/[^/@\s]+)/(?P<file>[^@\s]+?)(?:@(?P<revision>[^@\s]+))?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def cache_folder() -> Path:
    """Where downloads are kept: ``$OMNIREID_CACHE``, or this system's usual place for caches."""
    if chosen := os.environ.get("OMNIREID_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "omnireid"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "omnireid"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "omnireid"


def resolve_weights(weights: str | os.PathLike[str]) -> Path:
    """The file that `weights` names, downloading it on first use.

    Args:
        weights: a path; ``hf://owner/repository/file[@revision]``; or
            ``https://…#sha256=…``, whose checksum is not optional. What was
            downloaded once is taken from the cache, without a network.

    Raises:
        WeightsNotFoundError: no such file.
        DownloadError: the download failed, or came with another SHA-256.
        MissingDependencyError: ``hf://`` without huggingface_hub.
    """
    name = os.fspath(weights)
    if name.startswith("hf://"):
        return _from_hub(name)
    if name.startswith(("https://", "http://")):
        return _from_url(name)
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise WeightsNotFoundError(f"{path} is a folder, not a file of weights. Name a file in it.")
    raise WeightsNotFoundError(
        f"No such file of weights: {path}. Give a path, hf://owner/repository/file or https://…#sha256=…; "
        "'omnireid models' lists the published weights this version knows by their SHA-256."
    )


def _from_url(url: str) -> Path:
    parts = urlsplit(url)
    if parts.scheme == "http" and not _is_this_machine(parts):
        raise DownloadError(f"{url} would be fetched without encryption. Use https://.")
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", parts.fragment)
    if match is None:
        raise DownloadError(
            f"{url} does not say which bytes to expect. Add the file's checksum: https://…#sha256=<64 hexadecimal "
            "digits> (sha256sum FILE prints it)."
        )
    expected = match[1].lower()
    file_name = Path(unquote(parts.path)).name or "weights"
    target = cache_folder() / "downloads" / expected / file_name
    make_folder(target.parent)
    # Two processes that want the same file: the second waits and finds it there.
    with output_errors(target), FileLock(target.parent / ".lock"):
        if target.is_file() and sha256_of(target) == expected:
            return target
        _download(url.partition("#")[0], target, expected)
    return target


def _is_this_machine(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _download(url: str, target: Path, expected: str) -> None:
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "omnireid"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response, atomic_output(target) as temporary:
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            received = 0
            with temporary.open("wb") as stream, progress_bar(f"download {target.name}", total, unit="B") as advance:
                while chunk := response.read(_CHUNK):
                    with output_errors(target):
                        stream.write(chunk)
                    digest.update(chunk)
                    received += len(chunk)
                    advance(len(chunk))
            if total is not None and received < total:
                raise DownloadError(f"{url} broke off after {received:,} of {total:,} bytes. Run the command again.")
            if digest.hexdigest() != expected:
                raise DownloadError(
                    f"{url} arrived with SHA-256 {digest.hexdigest()}, expected {expected}. It was not kept: the file "
                    "at that address has changed, or something on the way altered it."
                )
    except OutputError:
        raise
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{url} answered {error.code} {error.reason}. Check the address.") from error
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise DownloadError(
            f"{url} could not be reached ({getattr(error, 'reason', None) or error}). Without a network, download the "
            "file elsewhere and give its path."
        ) from error


def _from_hub(name: str) -> Path:
    match = _HUB_NAME.fullmatch(name)
    if match is None:
        raise DownloadError(f"{name} is not of the form hf://owner/repository/file[@revision].")
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingDependencyError(
            "Weights named hf://… need huggingface_hub. Install it with: pip install 'omnireid[hub]'"
        ) from error
    repository, file, revision = match["repository"], match["file"], match["revision"]
    folder = cache_folder() / "hub"
    try:
        return Path(hf_hub_download(repository, file, revision=revision, cache_dir=folder))
    except LocalEntryNotFoundError as error:
        raise DownloadError(
            f"{name} is not in the cache ({folder}) and the hub cannot be reached. Connect once, or download the file "
            "elsewhere and give its path."
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise DownloadError(
            f"{name} could not be fetched: {reason} Check owner, repository, file and revision; a private repository "
            "needs a token (HF_TOKEN)."
        ) from error
    except OSError as error:  # the hub's own errors are OSErrors too, so this comes last
        raise output_error(error, folder) from error
