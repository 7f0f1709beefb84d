"""``omnireid convert``: a checkpoint, or a graph made by others, into an artefact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from omnireid.commands.options import StateOption, WeightsPositional
from omnireid.weights.description import WeightsDescription

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from omnireid.weights.artefact import WeightsMetadata


def convert(
    weights: WeightsPositional,
    *,
    output: Path,
    description: WeightsDescription = WeightsDescription(),
    state: StateOption = None,
    half: bool = False,
    scores: tuple[Path, ...] = (),
    to: Literal["artefact", "reid", "osnet"] = "artefact",
    crops: tuple[str, ...] = (),
) -> None:
    """Turn a checkpoint, or a graph made by others, into an artefact that says what it is and how to use it.

    The artefact of a checkpoint is a safetensors file whose metadata holds the architecture, input
    size, mean and standard deviation, distance, training data, licence and a
    checksum. A classifier is left out. An artefact is written again, with the
    values given here changed. An ONNX or OpenVINO graph made by others becomes an
    artefact too (--output OURS.onnx, or OURS.xml with OURS.bin beside it); flags must
    say whatever the graph does not say. It is run first, and refused unless it gives
    each crop an embedding of its own.

    With --to osnet one of the Open Model Zoo's OSNets (an .xml of
    person-reidentification-retail-0277, -0286, -0287 or -0288, or its name) becomes
    a network of ours, osnet_retail_x1_0 to osnet_retail_x0_25, with nearly the same
    embeddings. omnireid train can go on from it: --crops are looked at for its batch
    norms.

    With --to reid the weights become a folder for roboflow's package reid, whose
    ReIDModel.from_pretrained(FOLDER) gives the same embeddings. WEIGHTS may be such
    a folder too.

    Example: omnireid convert osnet_x0_25_market1501.pth --output osnet_x0_25.safetensors

    Args:
        output: Artefact to write. Its name ends in .safetensors; in .onnx for an ONNX graph, in .xml for OpenVINO's.
            With --to reid, a folder that does not exist yet.
        description: What the file does not say.
        half: Store the weights in half precision, which halves the size and hardly changes the embeddings.
        scores: Results of omnireid evaluate --json for these weights, on one data set or several. The artefact keeps
            rank-1 and mAP instead of the scores it had, and omnireid models shows them.
        to: What to write: artefact; reid for the folder of roboflow's package, which has the plain OSNet in its four
            widths; or osnet for a network to train, made from a graph of the Open Model Zoo.
        crops: Crops of people for --to osnet, at least 256: folders, files, globs or a manifest. The best are those
            that the network will be trained on.
    """
    from dataclasses import replace

    from omnireid.errors import ExportError
    from omnireid.files import check_output, sha256_of
    from omnireid.weights.artefact import halve, write_artefact
    from omnireid.weights.fetch import resolve_weights
    from omnireid.weights.file_kind import GRAPH_KINDS, identify_weights
    from omnireid.weights.foreign_graph import adopt_graph
    from omnireid.weights.graph_file import write_graph
    from omnireid.weights.reid_folder import write_reid_folder
    from omnireid.weights.score_files import read_score_files
    from omnireid.weights.source import read_weights

    path = resolve_weights(weights, as_published=True)
    kind = identify_weights(path)
    _check_request(path, kind, output, to, crops)
    if to == "osnet":
        _refuse_known_facts(description, state, scores)
        tensors, metadata = _adopt_osnet(path, crops, description)
        write_artefact(output, halve(tensors) if half else tensors, metadata)
        _print_summary(output, metadata)
        return
    if kind in GRAPH_KINDS:
        if half:
            raise ExportError(f"{path} is a graph, whose weights convert does not change: leave --half out.")
        if scores:
            raise ExportError(f"{path} is a graph, which keeps no scores: leave --scores out.")
        if kind == "openvino":
            check_output(output.with_suffix(".bin"), inputs=[path, path.with_suffix(".bin")])
        graph = adopt_graph(path, description)
        write_graph(output, graph)
        _print_summary(output, graph.metadata.weights)
        return
    _refuse_graph_flags(path, description)
    tensors, found = read_weights(path, architecture=description.architecture, state=state)
    size = found.preprocessing
    height = size.height if description.height is None else description.height
    width = size.width if description.width is None else description.width
    metadata = replace(
        found,
        preprocessing=replace(size, height=height, width=width),
        distance=description.distance or found.distance,
        licence=description.licence or found.licence,
        training_data=description.training_data or found.training_data,
        metrics=read_score_files(scores, sha256_of(path)) if scores else found.metrics,
        origin=_origin(path.name if kind == "artefact" else found.origin, path, description),
    )
    write = write_reid_folder if to == "reid" else write_artefact
    write(output, halve(tensors) if half else tensors, metadata)
    _print_summary(output, metadata)


def _check_request(path: Path, kind: str, output: Path, to: str, crops: tuple[str, ...]) -> None:
    """Refuse what does not go together, before anything is read or written.

    Raises:
        ExportError: These weights cannot become what `to` says, or crops are missing, or are not needed.
        OutputError: The output exists, or has the wrong suffix.
    """
    from omnireid.errors import ExportError
    from omnireid.files import check_new_folder, check_output
    from omnireid.weights.file_kind import GRAPH_KINDS

    inputs = [path, path.with_suffix(".bin")]
    if crops and to != "osnet":
        raise ExportError("Only --to osnet looks at crops: leave --crops out.")
    if to == "osnet" and kind != "openvino":
        raise ExportError(
            f"{path} is no OpenVINO graph; --to osnet makes a network to train from the .xml of one of the Open Model "
            "Zoo's OSNets. omnireid train --weights goes on from other weights as they are."
        )
    if to == "osnet" and not crops:
        raise ExportError(
            "--to osnet measures the batch norms, which training needs, on crops of people: add --crops FOLDER."
        )
    if to == "reid":
        if kind in GRAPH_KINDS:
            raise ExportError(f"{path} is a graph, and roboflow's reid takes weights: leave --to reid out.")
        check_new_folder(output)
        return
    suffix = {"onnx": ".onnx", "openvino": ".xml"}.get(kind, ".safetensors")
    check_output(output, suffix=".safetensors" if to == "osnet" else suffix, inputs=inputs)


def _refuse_known_facts(description: WeightsDescription, state: str | None, scores: tuple[Path, ...]) -> None:
    """Refuse what the network decides that ``--to osnet`` starts from.

    Raises:
        ExportError: One of these flags was given.
    """
    from omnireid.errors import ExportError

    decided = ("architecture", "height", "width", "channels", "range", "mean", "std", "output_name")
    given = [name for name in decided if getattr(description, name) is not None]
    given += [name for name, value in (("state", state), ("scores", scores)) if value]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ExportError(f"With --to osnet the graph decides, and the result has no scores yet: leave {flags} out.")


def _adopt_osnet(
    path: Path, crops: tuple[str, ...], description: WeightsDescription
) -> tuple[Mapping[str, npt.NDArray[np.generic]], WeightsMetadata]:
    """One of the Open Model Zoo's OSNets as a network of ours, with what the user says of it."""
    from dataclasses import replace

    from omnireid.data.listing import list_crops
    from omnireid.errors import require

    require("torch", "train", "Making a network to train")
    from omnireid.training.adoption import adopt_retail_osnet

    tensors, found = adopt_retail_osnet(path, list_crops(crops).paths)
    return tensors, replace(
        found,
        distance=description.distance or found.distance,
        licence=description.licence or found.licence,
        training_data=description.training_data or found.training_data,
        origin=found.origin if description.source is None else f"{description.source}: {found.origin}",
    )


def _origin(name: str, path: Path, description: WeightsDescription) -> str:
    """Where an artefact's weights come from, for the record."""
    from omnireid.files import sha256_of

    source = "" if description.source is None else f"{description.source}: "
    return f"{source}{name}, SHA-256 {sha256_of(path)}"


def _refuse_graph_flags(path: Path, description: WeightsDescription) -> None:
    """Refuse what can only be said of a graph. omnireid itself builds the network of all other files.

    Raises:
        ExportError: one of these flags was given.
    """
    from omnireid.errors import ExportError

    for name in ("channels", "range", "mean", "std", "output_name"):
        if getattr(description, name) is not None:
            raise ExportError(
                f"{path} holds the weights of a network that omnireid builds itself: it takes red, green and blue with "
                f"the mean and std of its artefact. Leave --{name.replace('_', '-')} out; it is for graphs of others."
            )


def _print_summary(output: Path, metadata: WeightsMetadata) -> None:
    size = metadata.preprocessing
    print(f"{output}: {metadata.architecture}, {size.height} × {size.width}, licence: {metadata.licence}")
    if metadata.licence == "unknown":
        print("Nobody said on what terms these weights may be used. Find out, and add --licence.")
