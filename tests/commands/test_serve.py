from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.gallery.tables import filled
from tests.service.conftest import crop_bytes

from omnireid import Gallery, ServiceClient, ServiceError
from omnireid.cli import EXIT_ERROR, main


def test_tokens_are_made_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery = ["--gallery", str(tmp_path)]
    assert main(["serve", "token", "add", *gallery, "--name", "anna", "--role", "write"]) == 0
    token = capsys.readouterr().out.strip()
    assert token.startswith("omnireid_")
    assert main(["serve", "token", "list", *gallery, "--json", "-"]) == 0
    shown = capsys.readouterr()
    (record,) = json.loads(shown.out)["tokens"]
    assert (record["name"], record["role"], record["revoked"]) == ("anna", "write", None)
    assert "1 tokens count" in shown.err
    assert token not in shown.out + shown.err + (tmp_path / ".tokens.json").read_text()
    assert main(["serve", "token", "revoke", *gallery, "--name", "anna"]) == 0
    assert main(["serve", "token", "revoke", *gallery, "--name", "anna"]) == EXIT_ERROR
    assert "There is no token 'anna' that counts" in capsys.readouterr().err
    assert main(["serve", "token"]) == 0
    assert "usage: omnireid serve token COMMAND" in capsys.readouterr().out
    assert main(["serve", "token", "ad"]) == EXIT_ERROR
    assert "no command serve token 'ad'. Did you mean add?" in capsys.readouterr().err


def test_what_cannot_be_served_is_said_before_the_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_arguments: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("omnireid.commands.serve.load_gallery_embedder", load)
    monkeypatch.setattr("omnireid.memory.give_back_memory", lambda _environment: None)  # for this process
    monkeypatch.setattr("omnireid.gallery.database._flush", lambda _path: True)
    filled(tmp_path / "g", 3)
    for words, message in {
        ("g", "--host", "0.0.0.0"): "Make a token first: omnireid serve token add --gallery",
        ("g", "--port", "99999"): "port must be a number from 0 to 65535",
        ("s3://bucket/g",): "Name one: tokens (--tokens)",
        ("gone",): "There is no gallery at",
    }.items():
        place = words[0] if "://" in words[0] else str(tmp_path / words[0])
        assert main(["serve", "--gallery", place, *words[1:]]) == EXIT_ERROR, words
        assert message in capsys.readouterr().err


@contextmanager
def running(gallery: Path, kept: Path, *flags: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A service in a process of its own, and its address."""
    words = [sys.executable, "-m", "omnireid", "serve", "--gallery", str(gallery), "--keep-crops", str(kept)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*words, "--port", "0", "--runtime", "onnxruntime", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield line.split()[-1], process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_acknowledged_and_a_stop_finishes_what_has_begun(
    tmp_path: Path, untrained: Path
) -> None:
    """benchmarks/service_kills.py does it many times."""
    gallery, kept = tmp_path / "g", tmp_path / "kept"
    crop = tmp_path / "first.png"
    crop.write_bytes(crop_bytes(0, "PNG"))
    add = ["gallery", "add", str(crop), "--gallery", str(gallery), "--weights", str(untrained)]
    assert main([*add, "--runtime", "onnxruntime"]) == 0
    acknowledged: list[int] = []

    def write(address: str, first: int) -> None:
        with ServiceClient(address) as service:
            for seed in range(first, first + 10_000):
                try:
                    acknowledged.append(service.add_sighting(crop_bytes(seed)).sighting.number)
                except ServiceError:
                    return

    for attempt in range(2):
        with running(gallery, kept, "--requests-per-second", "1000") as (address, process):
            seeds = [10_000 * (3 * attempt + part) + 1 for part in range(3)]
            writers = [threading.Thread(target=write, args=(address, seed)) for seed in seeds]
            for writer in writers:
                writer.start()
            enough = len(acknowledged) + 12
            while len(acknowledged) < enough:
                assert process.poll() is None
                assert all(writer.is_alive() for writer in writers)
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL if attempt == 0 else signal.SIGTERM)
            for writer in writers:
                writer.join()
            if attempt == 1:
                assert process.wait(60) in (0, -signal.SIGTERM)
        opened = Gallery.open(gallery)
        assert opened.check().problems == ()
        there = {sighting.number: Path(sighting.path) for sighting in opened.sightings()}
        assert set(acknowledged) <= set(there)
        assert all(there[number].is_file() for number in acknowledged)
    assert len(acknowledged) == len(set(acknowledged)) >= 24


@pytest.mark.slow
def test_a_port_that_is_taken_is_an_error_without_a_traceback(tmp_path: Path, untrained: Path) -> None:
    crop = tmp_path / "first.png"
    crop.write_bytes(crop_bytes(0, "PNG"))
    gallery = ["--gallery", str(tmp_path / "g"), "--weights", str(untrained), "--runtime", "onnxruntime"]
    assert main(["gallery", "add", str(crop), *gallery]) == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = [sys.executable, "-m", "omnireid", "serve", *gallery, "--port", port]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == EXIT_ERROR
    assert f"error: Cannot listen on 127.0.0.1, port {port}" in done.stderr
    assert "Traceback" not in done.stderr
