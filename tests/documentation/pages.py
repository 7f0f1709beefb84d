"""The fenced blocks of the documentation, and the command lines in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
_INLINE = re.compile(r"`omnireid ([^`]+)`")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every fenced block. Those in bash or python are meant to run from top to bottom."""
    return _FENCE.findall(page.read_text(encoding="utf-8"))


def commands_in_text(page: Path) -> list[list[str]]:
    """The words of the calls of omnireid outside of blocks. They may leave out what is needed."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [shlex.split(" ".join(call.split())) for call in _INLINE.findall(text)]


def command_lines(page: Path) -> list[list[str]]:
    """The words of every call of omnireid in the blocks that are no Python."""
    found = []
    for language, text in blocks(page):
        if language == "python":
            continue
        for line in re.sub(r"\$\w+", "1", text.replace("\\\n", " ")).splitlines():
            start = re.search(r"(?:^\s*|-m |; do |\$ )omnireid (?=[a-z-])", line)
            if start:
                words = shlex.split(line[start.end() :], comments=True)
                ends = [place for place, word in enumerate(words) if word in ("|", ">", "&&") or word.endswith(";")]
                found.append(
                    [word.rstrip(";") for word in words[: ends[0] + 1 if ends else None] if word not in "|>&&"]
                )
    return found
