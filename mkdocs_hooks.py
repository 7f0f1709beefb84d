"""What `make docs` adds to the pages of docs/: the reference, and pages that stand elsewhere in the repository.

The commands' page is their own ``--help``, and the Python page the docstrings of every public name, so neither can
differ from the code.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent
_PAGE = re.compile(r"(?<![(\[/\w`])docs/([\w-]+\.md)")
_CODE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    from mkdocs.structure.files import File

    pages = {
        "reference/commands.md": command_reference(),
        "reference/python.md": python_reference(),
        "reference/changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "reference/contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Make links of the pages that a text names, as in "docs/gallery.md has the details"."""
    up = "../" * page.file.src_uri.count("/")
    parts = _CODE.split(markdown)
    parts[::2] = [_PAGE.sub(rf"[\1]({up}\1)", part) for part in parts[::2]]
    return "".join(parts)


def command_reference() -> str:
    """The help of every command, in the order in which ``omnireid --help`` lists them."""
    from omnireid.cli import COMMANDS, command_words, help_text

    lines = ["# Commands", "", "What `omnireid COMMAND --help` prints.", ""]
    for verb, purpose in COMMANDS.items():
        lines += [f"## omnireid {verb}", "", f"{purpose[0].upper()}{purpose[1:]}.", ""]
        for words in (words for words in command_words() if words[0] == verb):
            heading = [f"### omnireid {' '.join(words)}", ""] if len(words) > 1 else []
            lines += [*heading, "```text", help_text(words), "```", ""]
    return "\n".join(lines)


def python_reference() -> str:
    """A heading and the docstring of every public name: functions and values first, then the errors."""
    import omnireid
    from omnireid import errors

    names = [name for name in sorted(omnireid.__all__) if not name.startswith("_")]
    of_errors = [name for name in names if hasattr(errors, name)]
    lines = ["# Python", "", "Everything here is imported from `omnireid`; modules below it may change.", ""]
    groups = {"Functions and values": [name for name in names if name not in of_errors], "Errors": of_errors}
    for heading, members in groups.items():
        lines += [f"## {heading}", ""]
        for name in members:
            lines += [f"::: omnireid.{name}", ""]
    return "\n".join(lines)
