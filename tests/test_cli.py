from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import is_dataclass
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from urllib.request import urlopen

import docstring_parser
import numpy as np
import pytest
from PIL import Image
from tests.ports import free_port

from omnireid import __version__
from omnireid.cli import COMMANDS, EXIT_ERROR, SUBCOMMAND_FILES, command_words, main
from omnireid.commands.options import field_text
from omnireid.data.options import DataOptions
from omnireid.embedding.options import NetworkOptions
from omnireid.embedding.tables import read_embeddings
from omnireid.service.options import ServiceOptions
from omnireid.training.options import RunOptions
from omnireid.training.recipes import Recipe
from omnireid.weights.shipped import shipped_weights

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
    parts = {file for several in SUBCOMMAND_FILES.values() for file in several}
    assert files - {"__init__", "options", "keys"} == {command.replace("-", "_") for command in COMMANDS} | parts


VERBS = [" ".join(words) for words in command_words()]
"""What a user types before the flags."""


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*verb.split(), "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert re.search(rf"Example: `*omnireid {verb}\b", shown)
    assert "{None}" not in shown
    named = set(re.findall(r"(?<![\w/])osnet\w*\.(?!safetensors|pth|onnx|xml)\w+(?![\w.])", shown))
    assert named <= set(shipped_weights())


def command(verb: str) -> Any:
    *before, name = verb.replace("-", "_").split()
    group = " ".join(before) or name
    modules = [import_module(f"omnireid.commands.{file}") for file in SUBCOMMAND_FILES.get(group, (group,))]
    return next(getattr(module, name) for module in modules if hasattr(module, name))


@pytest.mark.parametrize("verb", VERBS)
def test_no_command_has_more_than_eight_parameters(verb: str) -> None:
    assert len(signature(command(verb)).parameters) <= 8, "Group some of them in an option value of the library."


def flag_texts(owner: Any) -> dict[tuple[str, str], str]:
    """The text of every flag of a command or option value, by where it is written and its name."""
    documented = {entry.arg_name: entry.description or "" for entry in docstring_parser.parse(owner.__doc__).params}
    texts: dict[tuple[str, str], str] = {}
    for name, kind in get_type_hints(owner, include_extras=True).items():
        if name == "return":
            continue
        value, *marks = get_args(kind) if get_origin(kind) is Annotated else (kind,)
        helps = [mark.help for mark in marks if getattr(mark, "help", None)]
        if is_dataclass(value):
            texts |= flag_texts(value)
        elif helps:
            texts["shared", helps[0]] = helps[0]
        else:
            texts[owner.__qualname__, name] = documented.get(name, "")
    for base in getattr(owner, "__mro__", [])[1:-1]:
        inherited = flag_texts(base)
        texts = {key: text for key, text in texts.items() if (base.__qualname__, key[1]) not in inherited} | inherited
    return texts


def test_every_flag_is_explained_in_one_place() -> None:
    texts: dict[tuple[str, str], str] = {}
    for owner in (*map(command, VERBS), Recipe):
        texts |= flag_texts(owner)
    assert len(texts) > 60
    assert [place for place, text in texts.items() if not text.strip()] == []
    sentences = [sentence for text in texts.values() for sentence in re.split(r"\.\s+", " ".join(text.split()))]
    said = Counter(sentence.rstrip(".") for sentence in sentences if len(sentence.split()) > 3)
    taken = {field_text(value, name) for value, name in TAKEN}
    twice = [text for text, count in said.items() if count > 1 and not any(text in whole for whole in taken)]
    assert twice == [], "Write the text once: in the option value, or in commands/options.py."


TAKEN = (
    (NetworkOptions, "architecture"),
    (DataOptions, "layout"),
    (DataOptions, "seed"),
    (RunOptions, "use_test_identities"),
    (RunOptions, "pixel_cache_folder"),
    (ServiceOptions, "tokens"),
)
"""Fields whose text other commands take for a flag of their own, by `field_text`."""


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
    command = f"{shlex.quote(sys.executable)} -m omnireid.cli models --json - | head -1"
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


def serves(words: list[str]) -> bool:
    """Whether a service starts and answers; it is stopped then."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "omnireid", *words, "--port", str(port)])
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
            time.sleep(0.2)
        return False
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.slow
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
        if words[0] == "demo":
            words += ["--people", "3", "--cameras", "2", "--seconds", "6", "--height", "240", "--no-page"]
        if words[0] == "serve":
            assert serves(words), command
            continue
        assert main(words) == 0, (command, capsys.readouterr().err)
    assert (tmp_path / "scores.json").exists()
    assert (tmp_path / "ranked.png").exists()
