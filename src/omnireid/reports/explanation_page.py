"""A page about how embeddings came about: active places, parts of a likeness, gates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from omnireid.errors import ExplanationError
from omnireid.explanation.decomposition import PairExplanation, PlaceMap
from omnireid.explanation.explanation import Explanation
from omnireid.explanation.gates import Gates, find_nearest_gates
from omnireid.files import check_output
from omnireid.images.decode import open_rgb
from omnireid.reports.heat_maps import draw_gates, draw_table, overlay_activation, overlay_signed
from omnireid.reports.page import check_page_name, write_page
from omnireid.reports.parts import Panel, Section
from omnireid.types import DoubleArray, check_whole_number

CROP_SIZE = (96, 192)
_SMALL_SIZE = (48, 96)
_IN_A_ROW = 4
_GATES_WIDTH, _GATES_ROW = 124, 14


def draw_explanation(
    explanation: Explanation, output: Path, *, among: Gates | None = None, count: int = 5, block: str | None = None
) -> None:
    """Draw an explanation: activation maps, the first crop compared with each other one, and the gates.

    Args:
        explanation: What to draw.
        output: The page to write; its name ends in .png or .html. It never replaces one of the crops.
        among: Gates of a set of crops, by the same weights. The page then shows the set's average gates, and its
            crops whose gates are nearest to those of each explained crop.
        count: Number of nearest crops, at most.
        block: Block whose gates are compared; by default the last one whose gates vary over the set.

    Raises:
        OutputError: The page has another suffix, would replace a crop, or cannot be written.
        ExplanationError: The network has no gates to compare in `block`.
        ImageError: A crop cannot be read any more.
        SettingError: `count` is below 1.
    """
    check_whole_number(count, "count", least=1)
    check_page_name(output)
    check_output(output, inputs=[*explanation.crops.paths, *(among.crops.paths if among is not None else ())])
    sections = [_activation_section(explanation)]
    if len(explanation) > 1:
        sections.append(_pair_section(explanation))
    if explanation.gates.blocks:
        sections.append(_gate_section(explanation))
        sections += _set_sections(explanation.gates if among is None else among, is_set=among is not None)
        if among is not None:
            sections.append(_nearest_section(explanation, among, count, block))
    else:
        sections.append(Section("Gates", explanation.gates.absence()))
    skipped = explanation.skipped + (among.skipped if among is not None else ())
    if skipped:
        text = "\n".join(reason if path in reason else f"{path}: {reason}" for path, reason in skipped[:20])
        sections.append(Section(f"Crops that could not be read: {len(skipped):,}", text))
    metadata = explanation.metadata
    write_page(output, f"{metadata.architecture} · trained on {metadata.training_data}", sections)


def _activation_section(explanation: Explanation) -> Section:
    maps = explanation.activation()
    largest = float(maps.max())
    panels = []
    for path, places in zip(explanation.crops.paths, maps, strict=True):
        crop = _open_crop(path, CROP_SIZE)
        panels += [Panel(crop, path.name), Panel(overlay_activation(crop, places, largest))]
    height, width = maps.shape[1:]
    text = (
        f"The norm of the last feature map over its channels, {height} x {width} places: dark violet is 0, yellow "
        f"{largest:.2f}, the largest on this page. It shows where the network responds, not whether that helps to tell "
        "people apart. A place also sees its surroundings."
    )
    return Section("Where the network responds", text, list(_split(panels, 2 * _IN_A_ROW)))


def _pair_section(explanation: Explanation) -> Section:
    pairs = [explanation.pair(0, other) for other in range(1, len(explanation))]
    shows_distance = explanation.metadata.distance == "euclidean"
    cosine_scale = max(_largest(pair.cosine_maps) for pair in pairs)
    distance_scale = max(_largest(pair.distance_maps) for pair in pairs)
    rows = []
    for pair in pairs:
        crops = [_open_crop(explanation.crops.paths[index], CROP_SIZE) for index in (pair.first, pair.second)]
        names = [explanation.crops.paths[index].name for index in (pair.first, pair.second)]
        row = []
        for crop, name, part in zip(crops, names, pair.cosine_maps, strict=True):
            row += [Panel(crop, name), Panel(overlay_signed(crop, part.places, cosine_scale), _cosine_caption(part))]
        if shows_distance:
            for crop, part in zip(crops, pair.distance_maps, strict=True):
                row.append(Panel(overlay_signed(crop, -part.places, distance_scale), _distance_caption(part, pair)))
        rows.append(row)
    text = (
        "Blue places speak for the likeness, orange ones against it. Cosine similarity: each map adds up to it, "
        "together with a constant term that belongs to no place. The other crop counts as a whole, and the product of "
        f"both norms is a fixed factor. Full colour is {cosine_scale:.4f} per place."
    )
    if shows_distance:
        text += (
            " Squared Euclidean distance, by which these weights are compared (the two maps on the right): both maps "
            "and their constant terms together add up to it, and orange places make it larger. Full colour is "
            f"{distance_scale:.3g} per place."
        )
    return Section("Which places make two crops alike", text, rows)


def _cosine_caption(part: PlaceMap) -> str:
    return f"cosine {part.total:.3f}\nplaces {part.places.sum():+.3f}\nconstant {part.constant:+.3f}"


def _distance_caption(part: PlaceMap, pair: PairExplanation) -> str:
    return (
        f"{part.total:.1f} of squared distance {pair.squared_distance:.1f}\nplaces {part.places.sum():+.1f}\n"
        f"constant {part.constant:+.1f}"
    )


def _largest(maps: tuple[PlaceMap, PlaceMap]) -> float:
    return max(float(np.abs(part.places).max()) for part in maps)


def _gate_section(explanation: Explanation) -> Section:
    gates = explanation.gates
    rows = []
    for index, path in enumerate(explanation.crops.paths):
        row = [Panel(_open_crop(path, _SMALL_SIZE))]
        for block, weights in zip(gates.blocks, gates.weights, strict=True):
            means = " ".join(f"{mean:.2f}" for mean in weights[index].mean(axis=1))
            row.append(Panel(draw_gates(weights[index], _GATES_WIDTH, _GATES_ROW), f"{block}\n{means}"))
        rows.append(row)
    fields = ", ".join(f"{side}x{side}" for side in gates.receptive_fields)
    text = (
        f"One row for each stream, from top to bottom with a view of {fields} pixels of its map, and one column "
        "for each channel: dark violet is 0, green 0.5, yellow 1. Below, the mean weight of each stream."
    )
    if not gates.follow_input:
        text += " These gates are learned and then fixed: they are the same for every crop."
    return Section("What the gates weigh in each crop", text, rows)


def _set_sections(gates: Gates, *, is_set: bool) -> Iterator[Section]:
    """Average gates over all crops, and for each camera."""
    fields = [f"{side}x{side}" for side in gates.receptive_fields]
    means, shares = gates.mean_weights(), gates.shares()
    names = [f"{block}  ± {variation:.3f}" for block, variation in zip(gates.blocks, gates.variation(), strict=True)]
    image = draw_table(means, _table_texts(means, shares), names, fields)
    text = (
        f"Mean weight of each stream over {len(gates):,} crops, and in brackets what part of the gated sum comes from "
        "it: a large weight on a stream of small values adds little. ±: how much a weight of the block differs "
        "from crop to crop, at most."
    )
    if gates.follow_input and len(gates) > 1 and (steady := gates.steady_blocks()):
        text += (
            f" The gates of {', '.join(steady)} give every crop the same weights: there the network does not choose "
            "scales by the crop."
        )
    yield Section(f"Which scales the network uses on {'the set' if is_set else 'these crops'}", text, [[Panel(image)]])
    cameras = gates.by_camera()
    if is_set and len(cameras) > 1:
        means = np.stack([part.mean_weights().mean(axis=0) for part in cameras.values()])
        shares = np.stack([part.shares().mean(axis=0) for part in cameras.values()])
        names = [f"camera {camera} ({len(part):,})" for camera, part in cameras.items()]
        image = draw_table(means, _table_texts(means, shares), names, fields)
        yield Section("By camera", "The same, averaged over the blocks.", [[Panel(image)]])


def _table_texts(means: DoubleArray, shares: DoubleArray) -> list[list[str]]:
    return [
        [f"{mean:.3f} ({100 * share:.0f} %)" for mean, share in zip(*rows, strict=True)]
        for rows in zip(means, shares, strict=True)
    ]


def _nearest_section(explanation: Explanation, among: Gates, count: int, block: str | None) -> Section:
    title = "Crops of the set with the nearest gates"
    try:
        nearest = find_nearest_gates(explanation.gates, among, count, block)
    except ExplanationError as error:
        if block is not None:
            raise
        return Section(title, str(error))
    rows = []
    for path, found, distances in zip(explanation.crops.paths, nearest.indices, nearest.distances, strict=True):
        row = [Panel(_open_crop(path, CROP_SIZE), path.name)]
        for index, distance in zip(found.tolist(), distances.tolist(), strict=True):
            if index >= 0:
                there = among.crops.paths[index]
                row.append(Panel(_open_crop(there, CROP_SIZE), f"{distance:.3f}\n{there.name}"))
        rows.append(row)
    text = (
        f"On the left the explained crop, then those of {len(among):,} crops whose gates in {nearest.block} are "
        "nearest, by Euclidean distance over all streams and channels. What they have in common hints at what this "
        "gate follows: clothes, or only light and background."
    )
    return Section(title, text, rows)


def _open_crop(path: Path, size: tuple[int, int]) -> Image.Image:
    return open_rgb(path).resize(size, Image.Resampling.LANCZOS)


def _split(panels: list[Panel], length: int) -> Iterator[list[Panel]]:
    for start in range(0, len(panels), length):
        yield panels[start : start + length]
