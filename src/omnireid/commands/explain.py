"""``omnireid explain``: how the embeddings of crops came about."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from omnireid.commands.options import JsonOption, WeightsPositional, check_json, leave_json, text_stream

if TYPE_CHECKING:
    from omnireid.explanation.explanation import Explanation
    from omnireid.explanation.gates import Gates


@dataclass(frozen=True)
class GateOptions:
    """What else is said about the gates.

    Attributes:
        among: A set of crops, as a folder, quoted glob or manifest: its average gates, and its crops with the gates
            nearest to each explained crop.
        block: Block whose gates are compared, such as conv4.1. By default the last one whose gates vary over the set.
        nearest: Number of nearest crops for each explained crop.
    """

    among: str | None = None
    block: str | None = None
    nearest: int = 5


def explain(
    weights: WeightsPositional,
    crops: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CROPS")],
    *,
    output: Path,
    gates: GateOptions = GateOptions(),
    json: JsonOption = None,
) -> None:
    """Show on one page where a network responds, which places make two crops alike, and what its gates weigh.

    The first crop is compared with each of the others. Its cosine similarity, and squared distance where the weights
    are compared by that, is spread over the places exactly: the parts add up to it. Weights of any network that
    omnireid has by name will do, and an OSNet shows its gates too. Of a graph made by others only the embeddings are
    known. Crops that cannot be read are reported and left out.

    Example: omnireid explain osnet_x0_25.market1501 a.jpg b.jpg --among people/bounding_box_test --output page.html

    Args:
        crops: Image files, folders, quoted globs or a manifest; at most 64 crops.
        output: The page to write, .png or .html (one file, which needs nothing else).
        gates: What else is said about the gates.
    """
    from omnireid.data.listing import input_files, list_crops
    from omnireid.embedding.embedder import load_embedder
    from omnireid.embedding.options import RuntimeOptions
    from omnireid.embedding.weights_file import WeightsFile
    from omnireid.errors import SettingError
    from omnireid.explanation import explanation as explanations
    from omnireid.explanation.gates import measure_gates
    from omnireid.explanation.observed_network import check_explainable
    from omnireid.files import check_output
    from omnireid.reports.explanation_page import draw_explanation
    from omnireid.reports.page import check_page_name
    from omnireid.types import check_whole_number
    from omnireid.weights.fetch import resolve_weights

    if gates.among is None and gates != GateOptions():
        raise SettingError("--block and --nearest choose crops of a set: name one with --among.")
    check_whole_number(gates.nearest, "--nearest", least=1)
    inputs = list(input_files([weights, *crops, *([gates.among] if gates.among is not None else [])]))
    check_page_name(output)
    check_output(output, inputs=inputs)
    check_json(json, inputs=[*inputs, output])
    listed = list_crops(crops)
    file = resolve_weights(weights)
    check_explainable(WeightsFile(file))
    embedder = load_embedder(file, RuntimeOptions(runtime="onnxruntime"))
    explanation = explanations.explain(embedder, listed)
    among = None
    if gates.among is not None:
        among = measure_gates(embedder, list_crops([gates.among]), progress=True)
    for path, reason in [*explanation.skipped, *(among.skipped if among is not None else ())]:
        print(f"note: left out {path}: {reason}", file=sys.stderr)
    draw_explanation(explanation, output, among=among, count=gates.nearest, block=gates.block)
    record = _describe(explanation, among)
    for pair in record["pairs"]:
        print(f"{pair['first']} and {pair['second']}: cosine {pair['cosine']:.4f}", file=text_stream(json))
    measured = explanation.gates if among is None else among
    if measured.blocks:
        print(measured.table(), file=text_stream(json))
    print(f"page: {output}", file=text_stream(json))
    leave_json(json, record)


def _describe(explanation: Explanation, among: Gates | None) -> dict[str, Any]:
    """The numbers of the page as plain values."""
    from omnireid.version import __version__

    measured = explanation.gates if among is None else among
    return {
        **explanation.json(),
        "pairs": [explanation.pair(0, other).json(explanation.crops) for other in range(1, len(explanation))],
        "gates": measured.json() if measured.blocks else None,
        "omnireid_version": __version__,
    }
