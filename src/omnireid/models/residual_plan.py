"""The layers of a network of residual units, from its design alone."""

from __future__ import annotations

from collections.abc import Iterator

from omnireid.models.layer_plan import PlannedLayer, plan_conv_norm, plan_linear, plan_projection
from omnireid.models.residual_design import ConvLayer, ResidualDesign, ResidualUnit, shrink


def plan_residual_network(
    design: ResidualDesign, *, height: int = 256, width: int = 128, num_classes: int | None = None
) -> Iterator[PlannedLayer]:
    """List the layers of a network in the order of its state, with their cost for one image.

    Args:
        design: The design.
        height: Image height in pixels.
        width: Image width in pixels.
        num_classes: Number of classes of a classifier on the embedding, which then counts too; None for none.
    """
    size = shrink((height, width), design.stem.stride)
    yield from _conv_norm("stem", design.stem, size)
    if design.pools_stem:
        size = shrink(size, 2)
    for stage, units in enumerate(design.stages):
        for index, unit in enumerate(units):
            yield from _unit(f"stages.{stage}.{index}", unit, size)
            size = shrink(size, max(layer.stride for layer in unit.layers))
    if design.last is not None:
        yield from _conv_norm("last", design.last, size)
    if design.neck is not None:
        yield from plan_projection("fc", design.maps_channels, design.neck)
    if num_classes is not None:
        yield plan_linear("classifier", design.embedding_width, num_classes)


def _unit(name: str, unit: ResidualUnit, size: tuple[int, int]) -> Iterator[PlannedLayer]:
    """The layers of a unit whose input has `size`."""
    after = size
    for index, layer in enumerate(unit.layers):
        after = shrink(after, layer.stride)
        yield from _conv_norm(f"{name}.layers.{index}", layer, after)
    if unit.shortcut_layer is not None:
        yield from _conv_norm(f"{name}.shortcut", unit.shortcut_layer, after)


def _conv_norm(name: str, layer: ConvLayer, size: tuple[int, int]) -> Iterator[PlannedLayer]:
    """The layers of a `ConvNorm` whose output has `size`."""
    yield from plan_conv_norm(
        name, layer.in_channels, layer.out_channels, layer.kernel, size[0] * size[1], groups=layer.groups
    )
