from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path

import docstring_parser
import numpy as np
import pytest
from PIL import Image

from omnireid import __version__
from omnireid.cli import COMMANDS, EXIT_ERROR, main
from omnireid.embedding.tables import read_embeddings

ROOT = Path(__file__).resolve().parents[1]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["-h"]):
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert all(f"  {verb} " in shown for verb in COMMANDS)
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_commands_are_those_of_the_folder() -> None:
    files = {path.stem for path in (ROOT / "src" / "omnireid" / "commands").glob("*.py")}
    assert files - {"__init__", "options"} == set(COMMANDS)


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_help_has_an_example_and_explains_every_flag(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert re.search(rf"Example: `*omnireid {verb}\b", shown)
    function = getattr(import_module(f"omnireid.commands.{verb}"), verb)
    documented = {entry.arg_name for entry in docstring_parser.parse(function.__doc__).params if entry.description}
    assert set(signature(function).parameters) == documented


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evalute"]) == EXIT_ERROR
    assert "no command 'evalute'. Did you mean evaluate?" in capsys.readouterr().err


def test_a_wrong_flag_leaves_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["doctor", "x", "--no-such-flag"])
    assert left.value.code == EXIT_ERROR


def test_errors_have_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path / "gone")]) == EXIT_ERROR
    shown = capsys.readouterr().err
    assert shown.startswith("error: There is no ")
    assert "Traceback" not in shown


def test_a_reader_that_stops_reading_is_no_error() -> None:
    command = f"{shlex.quote(sys.executable)} -m omnireid.cli models --json | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_terminal_that_lacks_a_dash_is_no_error() -> None:
    words = [sys.executable, "-m", "omnireid", "models"]
    done = subprocess.run(words, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_error_of_the_system_has_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "x" * 300]) == EXIT_ERROR
    assert capsys.readouterr().err.startswith("error: ")


def make_crops(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 255, (64, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04d}.png")


def test_ctrl_c_while_embedding_loses_nothing(tmp_path: Path, untrained: Path) -> None:
    make_crops(tmp_path / "crops", 2500)
    output = tmp_path / "out.parquet"
    words = [sys.executable, "-m", "omnireid", "embed", str(tmp_path / "crops")]
    words += ["--weights", str(untrained), "--output", str(output), "--batch-size", "8"]
    # A suite that was started in the background ignores SIGINT, and its children would.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=heeding)  # noqa: PLW1509
    parts = tmp_path / ".out.parquet.parts"
    deadline = time.monotonic() + 120
    while not list(parts.rglob("[0-9]*.parquet")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == EXIT_ERROR
    assert re.search(r"error: Stopped. (1,024|2,048) of 2,500 crops are embedded and kept", shown)
    assert "Traceback" not in shown
    assert not output.exists()
    assert main(words[3:]) == 0
    assert len(read_embeddings(output).paths) == 2500


def readme_commands() -> list[str]:
    text = (ROOT / "README.md").read_text()
    lines = [line for block in text.split("```")[1::2] for line in block.splitlines()]
    return [line.split("#")[0].strip() for line in lines if line.startswith("omnireid ") and "COMMAND" not in line]


def test_the_commands_of_the_readme_run(
    tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a small drawn set, and untrained weights under the name of the public ones."""
    monkeypatch.chdir(tmp_path)
    commands = readme_commands()
    assert len(commands) >= 6
    replaced = {"W": str(untrained), "osnet_x0_25_market1501.pth": str(untrained)}
    smaller = {"100": "4", "6": "2"}
    for command in commands:
        words = [replaced.get(word, word) for word in shlex.split(command)[1:]]
        if words[0] == "synthesize":
            words = [smaller.get(word, word) for word in words]
        if words[0] == "train":
            words += ["--epochs", "1", "--warmup-epochs", "0", "--batch-size", "4", "--resolutions", "32x16@0"]
            words += ["--pixel-cache-folder", "store"]
        if words[0] == "bench":
            words[1:1] = [str(untrained), "--seconds", "0.01", "--runtimes", "onnxruntime"]
        assert main(words) == 0, (command, capsys.readouterr().err)
    assert (tmp_path / "scores.json").exists()
    assert (tmp_path / "ranked.png").exists()
