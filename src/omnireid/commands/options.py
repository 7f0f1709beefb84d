"""What several commands share: flags that stand alone, the notice of what runs the weights, and the threads of a run.

Groups of flags are the option values of the library (`RuntimeOptions`, `DataOptions`, `RankingOptions` and others),
which the command line flattens. A command that takes one field of such a value as a flag of its own gets the text of
the flag from there, so that no text is written twice.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import docstring_parser
import tyro

from omnireid.data.options import DataOptions
from omnireid.embedding.options import NetworkOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from omnireid.embedding.embedder import Embedder


def field_text(value: type, field: str) -> str:
    """The text of a field in the docstring of a dataclass."""
    texts = {entry.arg_name: entry.description for entry in docstring_parser.parse(value.__doc__ or "").params}
    text = texts[field]
    assert text is not None
    return " ".join(text.split())


_WEIGHTS = (
    "A file of weights, a folder of roboflow's reid, hf://owner/repository/file, https://…#sha256=…, or a name that "
    "omnireid models lists. By default the weights that ship with omnireid."
)
WeightsPositional = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS", help=_WEIGHTS)]
WeightsOption = Annotated[str, tyro.conf.arg(metavar="WEIGHTS", help=_WEIGHTS)]
OptionalWeights = Annotated[str | None, tyro.conf.arg(metavar="WEIGHTS", help=_WEIGHTS)]
ArchitectureOption = Annotated[str | None, tyro.conf.arg(help=field_text(NetworkOptions, "architecture"))]
StateOption = Annotated[
    str | None,
    tyro.conf.arg(
        help="Take the weights under this entry of a checkpoint, such as ema for a moving average; omnireid inspect "
        "names the entries. By default the usual one, such as state_dict."
    ),
]
LayoutOption = Annotated[str, tyro.conf.arg(help=field_text(DataOptions, "layout"))]
SeedOption = Annotated[int, tyro.conf.arg(help=field_text(DataOptions, "seed"))]
SkipUnreadableOption = Annotated[
    bool,
    tyro.conf.arg(help="Leave out crops that cannot be decoded, and list them, instead of stopping at the first one."),
]
GalleryOption = Annotated[
    str, tyro.conf.arg(metavar="GALLERY", help="The gallery: a folder, or an address such as s3://bucket/folder.")
]
_STANDARD_OUTPUT = Path("-")
JsonOption = Annotated[
    Path | None,
    tyro.conf.arg(
        help="Also write the result to this file as JSON. With - it goes to standard output, and the text to standard "
        "error."
    ),
]


def check_json(json: Path | None, *, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Check, before the work, that the file of ``--json`` can be written and is none of the inputs."""
    from omnireid.files import check_output

    if json is not None and json != _STANDARD_OUTPUT:
        check_output(json, suffix=".json", inputs=inputs)


def text_stream(json: Path | None) -> TextIO:
    """Where the text for people goes: to standard error if standard output gets the JSON."""
    return sys.stderr if json == _STANDARD_OUTPUT else sys.stdout


def leave_json(json: Path | None, record: Mapping[str, Any]) -> None:
    """Write the result where ``--json`` asks for it, if it does."""
    from json import dumps

    from omnireid.files import write_json

    if json == _STANDARD_OUTPUT:
        sys.stdout.write(dumps(record, indent=2) + "\n")
    elif json is not None:
        write_json(json, record)


def announce(embedder: Embedder) -> None:
    """Say on standard error what runs the weights and why, and the name and terms of weights that ship here."""
    print(embedder.choice, file=sys.stderr)
    from omnireid.weights.shipped import shipped_weights

    metadata = embedder.metadata
    for name, path in shipped_weights().items():
        if path == embedder.weights:
            print(
                f"weights {name}, shipped with omnireid; trained on {metadata.training_data}; "
                f"licence: {metadata.licence}; --weights names others",
                file=sys.stderr,
            )


def prepare_process() -> None:
    """Let a process that will train keep its memory, and its threads wait only briefly.

    Call it before torch is imported. Where torch is imported already, this is another program's process: it stays as
    it is.
    """
    import os

    from omnireid.memory import keep_memory
    from omnireid.training.threads import shorten_waiting

    if "torch" not in sys.modules:  # OpenMP reads the environment when torch is imported, and never again
        shorten_waiting(os.environ)
        keep_memory(os.environ)


def settle_threads(threads: int | None, device: str, record: Path, *, resume: bool) -> int | None:
    """Prepare the threads, and choose their number where the user did not. A number below the usable cores is said.

    Args:
        threads: What the user asked for; None leaves the choice here.
        device: Device of the run. On ``cuda`` nothing is chosen.
        record: The run's record, which need not exist; a resumed run takes the number it began with.
        resume: Whether the run is to be resumed.
    """
    import os

    from omnireid.machine import usable_cores
    from omnireid.training.threads import choose_threads

    prepare_process()
    if threads is not None or device == "cuda":
        return threads
    chosen = choose_threads(record, resume=resume, environment=os.environ)
    if chosen is not None and chosen < usable_cores():
        print(f"threads: {chosen} of {usable_cores()} cores; --threads chooses another number", file=sys.stderr)
    return chosen
