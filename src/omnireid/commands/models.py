"""``omnireid models``: the networks by name, and every weights file that has a name here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from omnireid.commands.options import JsonOption, check_json, leave_json, text_stream
from omnireid.models.zoo import ARCHITECTURES, Architecture
from omnireid.weights.artefact import WeightsMetadata, read_metadata
from omnireid.weights.published import PUBLISHED_WEIGHTS, PublishedWeights, WeightsScores
from omnireid.weights.shipped import DEFAULT_WEIGHTS, shipped_scores, shipped_weights

_Cells = tuple[str, ...]


def models(*, json: JsonOption = None) -> None:
    """List the networks by name, what each costs, and the weights that have a name.

    Parameters are counted without a classifier, multiply-adds for one 256×128 image. Scores are those of the
    data set's test split, as we measured them where we could, else as published; `omnireid evaluate` measures them
    on your data. Weights that are downloaded come when they are first named, and are checked by their SHA-256.

    Example: omnireid models --json models.json
    """
    check_json(json)
    stream = text_stream(json)
    terminal = stream.isatty()
    # A pipe gets bare columns, wide enough that nothing wraps.
    console = Console(file=stream, width=None if terminal else 320, highlight=False)
    style = box.SIMPLE_HEAD if terminal else None
    console.print(_network_table(style))
    console.print()
    console.print(_ablation_table(style))
    console.print()
    console.print(_weights_table(style))
    console.print()
    console.print(_files_table(style))
    if not shipped_weights():
        console.print("No weights ship with this build of omnireid.")
    content = {
        "architectures": [_architecture_json(architecture) for architecture in ARCHITECTURES.values()],
        "shipped": [_shipped_json(name, path) for name, path in shipped_weights().items()],
        "published": [weights.json() for weights in PUBLISHED_WEIGHTS.values()],
    }
    leave_json(json, content)


def _architecture_json(architecture: Architecture) -> dict[str, Any]:
    return {
        "name": architecture.name,
        "embedding_width": architecture.embedding_width,
        "parameters": architecture.parameters,
        "multiply_adds": architecture.multiply_adds,
        "source": architecture.source,
        "ablation_of": architecture.ablation_of,
    }


def _shipped_json(name: str, path: Path) -> dict[str, Any]:
    return {
        "name": name,
        "publisher": "omnireid",
        "is_default": name == DEFAULT_WEIGHTS,
        "size": path.stat().st_size,
        **read_metadata(path).json(),
    }


def _network_table(style: box.Box | None) -> Table:
    table = _new_table("Networks", style, "name")
    _add_costs(table, (known for known in ARCHITECTURES.values() if known.ablation_of is None))
    return table


def _ablation_table(style: box.Box | None) -> Table:
    """The ablations at the smallest width; the others have the same names with another width in them."""
    table = _new_table("Ablations of the OSNet paper (also at x0_5, x0_75 and x1_0: osnet_x1_0_…)", style, "name")
    _add_costs(table, (known for known in ARCHITECTURES.values() if known.ablation_of == "osnet_x0_25"))
    return table


def _add_costs(table: Table, architectures: Iterable[Architecture]) -> None:
    for heading in ("parameters", "multiply-adds"):
        table.add_column(heading, justify="right")
    for known in architectures:
        table.add_row(known.name, f"{known.parameters:,}", f"{known.multiply_adds / 1e6:.1f} M")


def _weights_table(style: box.Box | None) -> Table:
    table = _new_table("Weights", style, "name")
    table.add_column("publisher")
    for heading in ("parameters", "size", "rank-1", "mAP"):
        table.add_column(heading, justify="right")
    for heading in ("scored on", "licence", "where to get it"):
        table.add_column(heading)
    for name, path in shipped_weights().items():
        _add_weights(table, *_shipped_row(name, path, read_metadata(path)))
    for weights in PUBLISHED_WEIGHTS.values():
        _add_weights(table, *_published_row(weights))
    return table


def _add_weights(table: Table, before: _Cells, scores: Sequence[_Cells], after: _Cells) -> None:
    """Add a row for weights, and a further one for each further score, with nothing but the score."""
    first, *further = scores or [("–", "–", "–")]
    table.add_row(*before, *first, *after)
    for each in further:
        table.add_row(*[""] * len(before), *each, *[""] * len(after))


def _files_table(style: box.Box | None) -> Table:
    """The files of weights that are downloaded when they are named."""
    table = _new_table("Files that are downloaded", style, "SHA-256")
    table.add_column("address", overflow="fold")
    for weights in PUBLISHED_WEIGHTS.values():
        for file in weights.files:
            if file.url is not None and file.sha256 is not None:
                table.add_row(file.sha256, file.url)
    return table


def _shipped_row(name: str, path: Path, metadata: WeightsMetadata) -> tuple[_Cells, list[_Cells], _Cells]:
    """The cells before the scores, the scores, and the cells after them."""
    where = "in the package; the default" if name == DEFAULT_WEIGHTS else "in the package"
    before = (name, "omnireid", _parameters(metadata.architecture, None), _size(path.stat().st_size))
    scores = [_score_cells(each, "measured") for each in shipped_scores(name, metadata)]
    return before, scores, (metadata.licence, where)


def _published_row(weights: PublishedWeights) -> tuple[_Cells, list[_Cells], _Cells]:
    """The cells before the scores, the scores, and the cells after them."""
    published = {(each.dataset, each.distance): each for each in weights.published_scores}
    measured = {(each.dataset, each.distance): each for each in weights.measured_scores}
    scores = [_score_cells(each, "published") for key, each in published.items() if key not in measured]
    for key, each in measured.items():
        stated = published.get(key)
        beside = "" if stated is None else f"; published {_percents(stated)}"
        scores.append(_score_cells(each, f"measured{beside}"))
    checked, url = weights.files[0].sha256, weights.files[0].url
    if checked is None:
        where = weights.page
    else:
        where = f"{weights.page} (SHA-256 {checked[:12]}…)" if url is None else "downloaded when it is named"
    parameters = _parameters(weights.architecture, weights.parameters)
    return (weights.name, weights.publisher, parameters, _size(weights.size)), scores, (weights.licence, where)


def _percents(scores: WeightsScores) -> str:
    return f"{_percent(scores.rank1)} / {_percent(scores.mean_average_precision)}"


def _parameters(architecture: str, published: int | None) -> str:
    """Learned values without a classifier: those of a network that is known here, else as published."""
    known = ARCHITECTURES.get(architecture)
    count = published if known is None else known.parameters
    return "–" if count is None else f"{count:,}"


def _score_cells(scores: WeightsScores, origin: str) -> _Cells:
    """Rank-1, mAP, and what they stand for."""
    return (
        _percent(scores.rank1),
        _percent(scores.mean_average_precision),
        (f"{scores.dataset}, {scores.distance}, {origin}"),
    )


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{fraction:.1%}"


def _size(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e6:.2f} MB"


def _new_table(title: str, style: box.Box | None, first: str) -> Table:
    table = Table(box=style, title=title, title_justify="left")
    table.add_column(first, no_wrap=True)
    return table
