"""Find the file that a name of weights stands for. What has to be downloaded is downloaded once, and checked."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from filelock import FileLock

from omnireid.errors import DownloadError, WeightsError, WeightsNotFoundError, require
from omnireid.files import atomic_output, cache_folder, make_folder, output_error, output_errors, sha256_of
from omnireid.progress import progress_bar
from omnireid.weights.published import PUBLISHED_WEIGHTS, PublishedWeights, suggest_published
from omnireid.weights.reid_folder import CONFIG_NAME, find_model
from omnireid.weights.shipped import find_shipped, shipped_weights

TIMEOUT_S = 30.0
_CHUNK = 1 << 20
_HUB_NAME = re.compile(r"hf://(?P<repository>[^/@\s]+/[^/@\s]+)/(?P<file>[^@\s]+?)(?:@(?P<revision>[^@\s]+))?")


def resolve_weights(weights: str | bytes | os.PathLike[str], *, as_published: bool = False) -> Path:
    """Find the file that `weights` names, and download it on first use.

    Args:
        weights: A file, or a folder that roboflow's ``reid`` wrote, which stands for the weights in it. Or the name of
            weights that ship with omnireid, such as ``osnet_x0_25.market1501``, or of published ones, such as
            ``openvino/person-reidentification-retail-0288``; a file or such a folder of that name goes first. Or
            ``hf://owner/repository/file[@revision]``, or ``https://…#sha256=…``, whose checksum is not optional.
            A file that was downloaded once is taken from the cache, without a network.
        as_published: Of a published graph, find the file of its publisher instead of the artefact that was made of it.

    Raises:
        WeightsError: `weights` is neither text nor a path.
        WeightsNotFoundError: There is no such file or name, this build has no default weights, or the weights must be
            downloaded by hand; the message then says from where and how to check them.
        DownloadError: The download failed, or arrived with another SHA-256.
        MissingDependencyError: A name that begins with ``hf://`` and huggingface_hub is not installed, or one that
            begins with ``openvino/`` and OpenVINO is not.
    """
    try:
        name = os.fsdecode(weights)
    except TypeError as error:
        raise WeightsError(
            f"weights is a path or a name, such as 'osnet_x0_25.market1501'; got {weights!r:.60} "
            f"({type(weights).__name__})."
        ) from error
    if not name:
        raise WeightsNotFoundError("weights is empty. Give a path, or a name that omnireid models lists.")
    if name.startswith("hf://"):
        return _from_hub(name)
    if name.startswith(("https://", "http://")):
        return _from_url(name)
    return _from_disk(name, as_published)


def _from_disk(name: str, as_published: bool) -> Path:
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    except (OSError, ValueError, RuntimeError) as error:  # no permission, too long, a zero byte, no such home
        reason = getattr(error, "strerror", None) or error
        raise WeightsNotFoundError(f"{name!r} cannot be looked up: {reason}. Check the path and its rights.") from error
    if stat.S_ISREG(mode):
        return path
    if stat.S_ISDIR(mode) and (weights := find_model(path)) is not None:
        return weights
    if (shipped := find_shipped(name)) is not None:
        return shipped
    if (published := PUBLISHED_WEIGHTS.get(name)) is not None:
        first = _from_publisher(published)
        return first if as_published or published.description is None else _adopt(first, published)
    if stat.S_ISDIR(mode):
        raise WeightsNotFoundError(
            f"{path} is a folder, not a file of weights, and has no {CONFIG_NAME}, as a model of roboflow's reid has. "
            "Name a file in it."
        )
    raise WeightsNotFoundError(
        f"No such file of weights: {path}. Give a path, hf://owner/repository/file or https://…#sha256=…, or a name "
        f"that ships with omnireid ({', '.join(shipped_weights()) or 'this build has none'}); 'omnireid models' lists "
        f"these and the weights of other publishers.{_suggestion(name)}"
    )


def _suggestion(name: str) -> str:
    """Suggest the full name of the published weights that `name` may mean."""
    meant = suggest_published(name)
    return "" if meant is None else f" Did you mean {meant.name}?"


def _from_publisher(published: PublishedWeights) -> Path:
    """Download the files of published weights into one folder, and return the first of them."""
    urls = [f"{file.url}#sha256={file.sha256}" for file in published.files if file.url and file.sha256]
    if len(urls) < len(published.files):
        raise WeightsNotFoundError(
            f"{published.name} does not ship with omnireid, and there is no address of it to rely on. "
            f"{published.how_to_get()}"
        )
    folder = cache_folder() / "downloads" / str(published.files[0].sha256)
    arrived: list[Path] = []
    try:
        for url in urls:
            arrived.append(_from_url(url, folder))  # noqa: PERF401 - what came before a failure is removed below
    except DownloadError:
        for path in arrived:
            path.unlink(missing_ok=True)
        raise
    return arrived[0]


def _adopt(graph: Path, published: PublishedWeights) -> Path:
    """Make an artefact of a graph that was downloaded, once, and keep it in the cache too."""
    from omnireid.weights.foreign_graph import adopt_graph
    from omnireid.weights.graph_file import read_graph, write_graph

    artefact = graph.parent / "artefact" / graph.name
    with output_errors(artefact), FileLock(graph.parent / ".lock"):
        with suppress(WeightsError):  # it is not there yet, or was damaged
            read_graph(artefact)
            return artefact
        write_graph(artefact, adopt_graph(graph, published.described()))
    return artefact


def _from_url(url: str, folder: Path | None = None) -> Path:
    """Download a file into `folder`, by default one of its own."""
    try:
        parts = urlsplit(url)
        is_open = parts.scheme == "http" and not _is_this_machine(parts)
    except ValueError as error:
        raise DownloadError(f"{url} is not an address: {error}. Check it.") from error
    if is_open:
        raise DownloadError(f"{url} would be fetched without encryption. Use https://.")
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", parts.fragment)
    if match is None:
        raise DownloadError(
            f"{url} does not say which bytes to expect. Add the file's checksum: https://…#sha256=<64 hexadecimal "
            "digits> (sha256sum FILE prints it)."
        )
    expected = match[1].lower()
    file_name = Path(unquote(parts.path).replace("\0", "_")).name or "weights"
    target = (folder or cache_folder() / "downloads" / expected) / file_name
    make_folder(target.parent)
    # Where two processes want the same file, the second waits and finds it there.
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
    """Download `url` to `target`. Failures of the network and of the disk have errors of their own."""
    digest = hashlib.sha256()
    received = 0
    with _open(url) as response, atomic_output(target) as temporary:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        with temporary.open("wb") as stream, progress_bar(f"download {target.name}", total, unit="B") as advance:
            while chunk := _read(response, url, received, total):
                stream.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                advance(len(chunk))
        if total is not None and received < total:
            raise _broken_off(url, received, total, "the connection was closed")
        if digest.hexdigest() != expected:
            raise DownloadError(
                f"{url} arrived with SHA-256 {digest.hexdigest()}, expected {expected}. It was not kept: the file "
                "at that address has changed, or something on the way altered it."
            )


def _open(url: str) -> HTTPResponse:
    try:
        # Request itself raises ValueError for a space or a letter beyond ASCII that the address should have escaped.
        request = urllib.request.Request(url, headers={"User-Agent": "omnireid"})
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"{url} answered {error.code} {error.reason}. Check the address.") from error
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(
            f"{url} could not be reached ({getattr(error, 'reason', None) or error}). Without a network, download the "
            "file elsewhere and give its path."
        ) from error
    return response


def _read(response: HTTPResponse, url: str, received: int, total: int | None) -> bytes:
    """Read the next bytes. Its errors are always the network's, although an output file is open around it."""
    try:
        return response.read(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _broken_off(url, received, total, str(error) or type(error).__name__) from error


def _broken_off(url: str, received: int, total: int | None, reason: str) -> DownloadError:
    of = "" if total is None else f" of {total:,}"
    return DownloadError(f"{url} broke off after {received:,}{of} bytes ({reason}). Run the command again.")


def _from_hub(name: str) -> Path:
    match = _HUB_NAME.fullmatch(name)
    if match is None:
        raise DownloadError(f"{name} does not have the form hf://owner/repository/file[@revision].")
    require("huggingface_hub", "hub", "A name that begins with hf://")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, file, revision = match["repository"], match["file"], match["revision"]
    folder = cache_folder() / "hub"
    try:
        return Path(hf_hub_download(repository, file, revision=revision, cache_dir=folder))
    except LocalEntryNotFoundError as error:
        raise DownloadError(
            f"{name} is not in the cache ({folder}) and the hub cannot be reached: "
            f"{_last_line(error.__cause__ or error)} Connect once, or download the file elsewhere and give its path."
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise DownloadError(
            f"{name} could not be fetched: {_last_line(error)} Check owner, repository, file and revision; a private "
            "repository needs a token (HF_TOKEN)."
        ) from error
    except _hub_failures() as error:
        raise _hub_broken_off(name, error) from error
    except OSError as error:  # last, since many of the hub's own errors are OSErrors too
        if error.errno is None or isinstance(error, (ConnectionError, TimeoutError)):
            raise _hub_broken_off(name, error) from error
        raise output_error(error, folder) from error


def _hub_failures() -> tuple[type[Exception], ...]:
    """List the errors that a failed download from the hub can raise, other than those about a name.

    These are all errors of huggingface_hub in the version at hand; the errors of its HTTP client, which was requests,
    then httpx, then httpx2, and is recognised by the hub's errors that derive from it; and RuntimeError, from Xet.
    """
    from huggingface_hub import errors

    own = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    kinds = {base for kind in own for base in kind.__mro__ if base.__module__ != "builtins"}
    return (*kinds, RuntimeError)


def _hub_broken_off(name: str, error: Exception) -> DownloadError:
    return DownloadError(
        f"{name} could not be fetched from the hub: {_last_line(error)} Run the command again; without a network, "
        "download the file elsewhere and give its path."
    )


def _last_line(error: BaseException) -> str:
    """The last line of an error's text, where the hub says what matters, or its type if it has no text."""
    line = (str(error).strip().splitlines() or [""])[-1].strip() or type(error).__name__
    return line if line.endswith((".", "!", "?")) else f"{line}."
