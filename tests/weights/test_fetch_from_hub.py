"""Files of the Hugging Face hub: from a server of this machine, from the cache, and what the hub's errors become."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import errors as hub_errors
from tests.weights.file_server import CONTENT, serve_files

from omnireid.errors import DiskFullError, DownloadError, OutputError
from omnireid.weights.fetch import resolve_weights


def resolve_on_hub(names: tuple[str, ...], endpoint: str, cache: Path, **environment: str) -> list[str]:
    """Resolve names in a fresh process, because huggingface_hub reads its endpoint when it is imported.

    Returns a line for each name: a path, or the text of the error.
    """
    code = (
        "import sys; from omnireid.weights.fetch import resolve_weights; from omnireid.errors import DownloadError\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(resolve_weights(name))\n"
        "    except DownloadError as error: print('DownloadError:', ' '.join(str(error).split()))"
    )
    settings = {"HF_ENDPOINT": endpoint, "OMNIREID_CACHE": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *names],
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


NAMES = tuple(f"hf://team/osnet/{file}" for file in ("w.bin@main", "other.bin@main", "reset.bin@main"))


@dataclass(frozen=True)
class HubAnswers:
    """What `NAMES` became with a hub, offline after that (with a name that was never fetched), and with a dead hub."""

    cache: Path
    online: list[str]
    offline: list[str]
    dead: list[str]
    requests_offline: list[str]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> HubAnswers:
    cache = tmp_path_factory.mktemp("hub") / "cache"
    with serve_files() as server:
        online = resolve_on_hub(NAMES, server.address, cache)
        server.requests.clear()
        offline = resolve_on_hub((*NAMES, "hf://team/osnet/cut.bin"), server.address, cache, HF_HUB_OFFLINE="1")
        requests = list(server.requests)
    return HubAnswers(cache, online, offline, resolve_on_hub(NAMES[:1], server.address, cache), requests)


def test_a_file_of_the_hub_is_downloaded_once_and_works_offline(answers: HubAnswers) -> None:
    path = Path(answers.online[0])
    assert path.read_bytes() == CONTENT
    assert answers.cache in path.parents
    assert answers.offline[0] == str(path)
    assert not [request for request in answers.requests_offline if request.startswith("GET")]


def test_a_file_that_the_hub_lacks(answers: HubAnswers) -> None:
    assert "DownloadError: " in answers.online[1]
    assert "could not be fetched" in answers.online[1]
    assert "DownloadError: " in answers.offline[3]
    assert "is not in the cache" in answers.offline[3]


def test_a_file_comes_from_the_cache_when_the_hub_is_dead(answers: HubAnswers) -> None:
    assert answers.dead == answers.online[:1]


def test_a_connection_to_the_hub_that_breaks(answers: HubAnswers) -> None:
    assert "reset.bin@main could not be fetched from the hub: " in answers.online[2]
    assert "Run the command again" in answers.online[2]


@pytest.mark.parametrize(
    "kind",
    ["RevisionResolutionError", "XetDownloadError", "FileMetadataError", "OfflineModeIsEnabled", "EntryNotFoundError"],
)
def test_errors_of_the_hub(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = getattr(hub_errors, kind, None)
    if error is None:
        pytest.skip(f"this huggingface_hub has no {kind}")
    with pytest.raises(DownloadError, match="hf://a/b/w.pth could not be fetched from the hub: it says why. Run the"):
        resolve_from_hub_that_raises(error("first line\nit says why"), monkeypatch)


@pytest.mark.parametrize(
    "error",
    [
        OSError("Consistency check failed"),  # huggingface_hub raises it bare, after a short file
        RuntimeError("Data processing error: CAS service error"),  # Xet
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TimeoutError(errno.ETIMEDOUT, "timed out"),
        *(kind("") for kind in hub_errors.HfHubHTTPError.__mro__[1:2]),  # the HTTP client's, without a word
    ],
)
def test_errors_below_the_hub(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match="could not be fetched from the hub: .+ Run the command again") as caught:
        resolve_from_hub_that_raises(error, monkeypatch)
    assert caught.value.__cause__ is error


def test_errors_of_the_disk_below_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiskFullError, match="No space left on the disk"):
        resolve_from_hub_that_raises(OSError(errno.ENOSPC, "No space left on device"), monkeypatch)
    with pytest.raises(OutputError, match="No permission to write"):
        resolve_from_hub_that_raises(PermissionError(errno.EACCES, "Permission denied"), monkeypatch)


def resolve_from_hub_that_raises(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    resolve_weights("hf://a/b/w.pth")
