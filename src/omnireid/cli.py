"""The command line: finds the command, calls it, and prints errors without a traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from omnireid.errors import OmnireidError
from omnireid.version import __version__

if TYPE_CHECKING:
    from tyro.constructors import PrimitiveConstructorSpec, PrimitiveTypeInfo

COMMANDS = {
    "synthesize": "draw a data set of pedestrians, to try everything without photographs of people",
    "synthesize-video": "draw footage of several cameras, with the truth about who is where",
    "doctor": "check a data set: what it is, what is wrong with it, what to do",
    "models": "list the networks and the weights that have a name",
    "inspect": "show what a file of weights is, and whether it covers its network",
    "convert": "turn a checkpoint, or a graph made by others, into an omnireid artefact",
    "train": "train a network by a recipe",
    "experiment": "make a table of many training runs, with the paper's values beside it",
    "embed": "turn crops into a table of embeddings",
    "gallery": "keep sightings in a gallery that lasts: add, search, decide, erase",
    "evaluate": "score weights, or stored embeddings, on a data set",
    "attributes": "read what people wear and carry off their embeddings: train, evaluate, predict",
    "calibrate": "learn which probability of the same person a distance stands for",
    "track": "find the people in a video: boxes in, people out, one identity through gaps",
    "link": "give the people of several cameras one identity each, from their tables of tracks",
    "track-score": "score tracks against ground truth, in one camera and across cameras: HOTA, MOTA, IDF1",
    "report": "write a report of an evaluation or a training run as one HTML file",
    "explain": "show where a network responds, which places make two crops alike, and what its gates weigh",
    "export": "turn weights into a graph for ONNX Runtime or OpenVINO, and compare it with torch",
    "bench": "measure weights in every runtime and precision on this machine",
    "demo": "go the whole way on drawn footage: cameras, tracks, people, gallery, page",
    "serve": "serve a gallery to a team: an HTTP API and a page, with tokens",
    "completion": "print a script that completes commands and flags in a shell",
    "manual": "print the manual page, made of the help of every command",
    "cache": "list, build or remove the decoded crops that training keeps",
}
"""Verb and what it does; `omnireid.commands` holds a module and function of each name, with _ for -."""

SUBCOMMANDS = {
    "gallery": {
        "add": "add crops, or a table of embeddings; the first add makes the gallery",
        "search": "find the sightings nearest to a query",
        "people": "list the people, those seen most often first",
        "assign": "say whom sightings are of",
        "merge": "say that people are one person",
        "split": "make some of a person's sightings a person of their own",
        "rename": "give a person another name",
        "undo": "take back a decision, also an old one under later ones",
        "differ": "say that sightings show different people",
        "cluster": "propose people among the sightings that have none, and apply that if asked",
        "review": "ask about the most doubtful pairs, one key for each answer",
        "decisions": "list who decided what, when and why",
        "remove": "erase sightings so that nothing of them is left on the disk, with a receipt",
        "retain": "erase sightings older than a number of days",
        "calibrate": "keep a calibration, so that a search prints probabilities and verdicts",
        "optimize": "join files, and make an index where it is faster; its recall is measured and printed",
        "reindex": "embed every picture again, with other weights",
        "info": "show the model, the size, the cameras and times",
        "check": "read everything, and list what is wrong",
    },
    "serve token": {
        "add": "make a token, and print it once",
        "list": "list whose tokens there are, what they allow, and which are revoked",
        "revoke": "revoke a token, from the next request on",
    },
    "attributes": {
        "train": "train a head on embeddings with known attributes, in seconds",
        "evaluate": "score a head beside the majority baseline",
        "predict": "write a column for each attribute of crops",
    },
}
"""Commands that are groups, or have a group beside them; a module has a function for each subcommand."""

SUBCOMMAND_FILES = {"gallery": ("gallery", "gallery_people"), "serve token": ("serve_token",)}
"""Groups whose functions stand in other modules of `omnireid.commands` than the one of their own name."""

DEPRECATED = {"store": "cache"}
"""Old verb to new. An old verb works for one release more, and says so."""

EXIT_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, or 2 after an error that was reported on standard error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # the terminal's encoding may lack a dash
    verb = words[0] if words else "--help"
    if verb in DEPRECATED:
        old, verb = verb, DEPRECATED[verb]
        print(
            f"note: 'omnireid {old}' is now 'omnireid {verb}'; the old name goes with the next release.",
            file=sys.stderr,
        )
    if verb in ("-h", "--help"):
        print(_help())
    elif verb == "--version":
        print(f"omnireid {__version__}")
    elif verb in COMMANDS:
        group = " ".join(words[:2])
        return _run(group, words[2:]) if group in SUBCOMMANDS else _run(verb, words[1:])
    else:
        return _fail(f"no command {verb!r}.{_closest(verb, COMMANDS)} 'omnireid --help' lists them.")
    return 0


def _run(verb: str, words: Sequence[str]) -> int:
    import warnings

    if verb in SUBCOMMANDS:
        known = SUBCOMMANDS[verb]
        if not words or words[0] in ("-h", "--help"):
            print(_group_help(verb))
            return 0
        if words[0] not in known:
            hint = f"{_closest(words[0], known)} 'omnireid {verb} --help' lists them."
            return _fail(f"no command {verb} {words[0]!r}.{hint}")
    with warnings.catch_warnings():  # a program that calls main gets its warnings back
        warnings.showwarning = _show_warning
        try:
            _call(verb, words)
        except OmnireidError as error:
            return _fail(str(error))
        except KeyboardInterrupt:
            return _fail("stopped by Ctrl-C. Nothing was left half-written; run the command again.")
        except BrokenPipeError:
            # The reader, such as head, has closed the pipe. Without this, Python would complain again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            return _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    return 0


def _call(verb: str, words: Sequence[str]) -> None:
    """Call the function of a command with the values its flags give."""
    import tyro

    name = words[0] if verb in SUBCOMMANDS else verb.replace("-", "_")
    modules = [
        import_module(f"omnireid.commands.{file}") for file in SUBCOMMAND_FILES.get(verb, (verb.replace("-", "_"),))
    ]
    function = next(getattr(module, name) for module in modules if hasattr(module, name))
    if verb in SUBCOMMANDS:
        verb, words = f"{verb} {name}", words[1:]
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitArgPrefixes)
    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(_read_optional)
    tyro.cli(function, prog=f"omnireid {verb}", args=words, config=config, registry=registry)


def _read_optional(annotation: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Parse and show ``X | None`` like X: leaving the flag out means None, which nobody needs to type."""
    from dataclasses import replace
    from types import NoneType
    from typing import get_args

    from tyro.constructors import ConstructorRegistry, PrimitiveTypeInfo, UnsupportedTypeAnnotationError

    kinds = get_args(annotation.type)
    if len(kinds) != 2 or NoneType not in kinds:
        return None
    kind = next(kind for kind in kinds if kind is not NoneType)
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, annotation.markers))
    if isinstance(spec, UnsupportedTypeAnnotationError):
        return None
    return replace(
        spec,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else spec.str_from_instance(value),
    )


def _show_warning(message: Warning | str, *_where: object, **_more: object) -> None:
    """Print the sentence of a warning without the line of code it comes from."""
    print(f"note: {message}", file=sys.stderr)


def command_words() -> list[list[str]]:
    """The words of every command, such as ``["embed"]`` and ``["gallery", "add"]``, in the order of the help."""
    single = [verb for verb in COMMANDS if verb not in SUBCOMMANDS]
    grouped = [f"{group} {name}" for group, names in SUBCOMMANDS.items() for name in names]
    place = {verb: at for at, verb in enumerate(COMMANDS)}
    return sorted((words.split() for words in (*single, *grouped)), key=lambda words: place[words[0]])


def help_text(words: Sequence[str]) -> str:
    """What a command prints with ``--help``, 100 columns wide and without colours.

    Args:
        words: The command, such as ``["gallery", "add"]``; nothing for the list of commands.
    """
    import re
    from contextlib import redirect_stdout, suppress
    from unittest.mock import patch

    shown = io.StringIO()
    with patch.dict(os.environ, COLUMNS="100"), redirect_stdout(shown), suppress(SystemExit):
        main([*words, "--help"])
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue())
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return EXIT_ERROR


def _closest(word: str, known: Iterable[str]) -> str:
    """A question that names the known word nearest to a mistyped one; empty where none is near."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _group_help(verb: str) -> str:
    known = SUBCOMMANDS[verb]
    width = max(map(len, known))
    return "\n".join(
        [
            f"usage: omnireid {verb} COMMAND [options]",
            "",
            *(f"  {name:<{width}}  {purpose}" for name, purpose in known.items()),
            "",
            f"'omnireid {verb} COMMAND --help' shows the options and an example.",
        ]
    )


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        f"omnireid {__version__}: person re-identification, from crops to ranked identities.",
        "",
        "usage: omnireid COMMAND [options]",
        "",
        *(f"  {verb:<{width}}  {purpose}" for verb, purpose in COMMANDS.items()),
        "",
        "'omnireid COMMAND --help' shows the options and an example.",
        "",
        "example:",
        "  omnireid synthesize people --seed 0",
        "  omnireid evaluate --weights osnet_x0_25_market1501.pth --data people",
    ]
    return "\n".join(lines)
