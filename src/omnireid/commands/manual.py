"""``omnireid manual``: the manual page."""

from __future__ import annotations


def manual() -> None:
    """Print the manual page, made of the help of every command, for man.

    Example: omnireid manual > ~/.local/share/man/man1/omnireid.1
    """
    from omnireid.cli import COMMANDS, command_words, help_text
    from omnireid.version import __version__

    lines = [
        f'.TH OMNIREID 1 "" "omnireid {__version__}" "User commands"',
        ".SH NAME",
        "omnireid \\- person re-identification, from crops to ranked identities",
        ".SH SYNOPSIS",
        ".B omnireid",
        "COMMAND [options]",
        ".SH COMMANDS",
    ]
    for verb, purpose in COMMANDS.items():
        lines += [".TP", f".B {_escaped(verb)}", _escaped(purpose)]
    for words in command_words():
        lines += [f".SH OMNIREID {_escaped(' '.join(words).upper())}", ".nf"]
        lines += [_escaped(line) for line in help_text(words).splitlines()]
        lines += [".fi"]
    print("\n".join(lines))


def _escaped(text: str) -> str:
    """A line of text that troff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
