"""Every command line in the documentation is one that the command line understands."""

from __future__ import annotations

import contextlib
import functools
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.documentation.pages import PAGES, ROOT, command_lines, commands_in_text

from omnireid.cli import SUBCOMMAND_FILES, command_words, main


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands that read their flags and then do nothing; the list of those that were called."""
    called: list[str] = []
    for group, *rest in command_words():
        name = (rest[-1] if rest else group).replace("-", "_")
        key = " ".join([group, *rest[:-1]]) if rest else group
        files = SUBCOMMAND_FILES.get(key, (group.replace("-", "_"),))
        module = next(
            one for one in map(import_module, (f"omnireid.commands.{file}" for file in files)) if hasattr(one, name)
        )
        monkeypatch.setattr(module, name, idle(getattr(module, name), name, called))
    return called


def idle(function: Any, name: str, called: list[str]) -> Any:
    @functools.wraps(function)
    def note(*_values: object, **_more: object) -> None:
        called.append(name)

    return note


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_command_lines_are_understood(page: Path, understood: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    lines = [words for words in command_lines(page) if "…" not in words and "COMMAND" not in words[0]]
    for count, words in enumerate(lines, start=1):
        code: object
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code
        assert code == 0, (" ".join(words), capsys.readouterr().err)
        if "--help" not in words:
            assert len(understood) == count, " ".join(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.usefixtures("understood")
def test_commands_in_the_text_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands_in_text(page):
        if {"…", "COMMAND", "--FLAG", "VERB"} & set(words) or "…" in " ".join(words):
            continue
        with contextlib.suppress(SystemExit):
            main(words)
        shown = capsys.readouterr().err
        assert "nrecognized" not in shown, (" ".join(words), shown)
        assert "no command" not in shown, (" ".join(words), shown)


def test_there_are_command_lines() -> None:
    assert sum(len(command_lines(page)) for page in PAGES) > 100
