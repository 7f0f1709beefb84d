"""How much of a network a file of weights covers, key by key, and what the file probably is where it does not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

from omnireid.models.checkpoint_keys import CLASSIFIER
from omnireid.models.layer_plan import COUNTER, Shape
from omnireid.models.zoo import ARCHITECTURES, find_architecture

_BOTTLENECKS = {6: "ResNet-50", 23: "ResNet-101", 36: "ResNet-152"}
_BASIC_BLOCKS = {2: "ResNet-18", 6: "ResNet-34"}


@dataclass(frozen=True)
class CoverageReport:
    """What became of every key, of the file and of the network.

    Keys are written as the file writes them, without a ``module.`` and its like; missing ones as such a file would
    write them. A missing ``num_batches_tracked`` is not reported: old files have none and nothing reads it.

    Attributes:
        architecture: Name of the network that the file was held against.
        loaded: Keys in both, with the same shape.
        missing: Keys in the network only.
        unexpected: Keys in the file only.
        mismatched: Keys in both, with different shapes; see `shapes`.
        left_out: Keys of a classifier, which embedding does not need.
        shapes: Mismatched key to its shape in the file and in the network.
        notes: What else a reader should know, a sentence each.
    """

    architecture: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[Shape, Shape]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def backbone_coverage(self) -> float:
        """Fraction in [0, 1] of the network's tensors that the file fills, without the classifier and the counters."""
        loaded = _count_backbone(self.loaded)
        expected = loaded + _count_backbone(self.missing) + _count_backbone(self.mismatched)
        return loaded / expected if expected else 0.0

    @property
    def is_complete(self) -> bool:
        """Whether the file fills the whole network and holds no other part of a backbone.

        The second half matters: a network with batch norms has every tensor of the one with instance norms in their
        place, and yet it is another network. So is a ResNet-50 with a batch norm on its embedding.
        """
        surplus = any(
            key.split(".")[0] in _backbone_parts() or key.endswith("running_mean")
            for key in self.unexpected
            if not key.endswith(COUNTER)
        )
        return not (self.missing or self.mismatched or surplus)

    def table(self) -> str:
        """The report as text: the counts, then every key that was not simply loaded."""
        lines = [
            f"architecture  {self.architecture}",
            f"coverage      {_percent(self.backbone_coverage)} of the backbone",
            *(f"{name:<13} {len(keys):,}" for name, keys in self._groups().items()),
        ]
        for name, keys in self._groups().items():
            if name != "loaded":
                lines += [f"{name}: {key}{self._shape_note(key)}" for key in keys]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def json(self) -> dict[str, object]:
        """The report as plain values, ready for ``json.dumps``."""
        return {
            "architecture": self.architecture,
            "backbone_coverage": self.backbone_coverage,
            "is_complete": self.is_complete,
            **{name.replace(" ", "_"): list(keys) for name, keys in self._groups().items()},
            "shapes": {
                key: {"file": list(found), "network": list(expected)} for key, (found, expected) in self.shapes.items()
            },
            "notes": list(self.notes),
        }

    def _groups(self) -> dict[str, tuple[str, ...]]:
        return {
            "loaded": self.loaded,
            "missing": self.missing,
            "unexpected": self.unexpected,
            "mismatched": self.mismatched,
            "left out": self.left_out,
        }

    def _shape_note(self, key: str) -> str:
        if key not in self.shapes:
            return ""
        found, expected = self.shapes[key]
        return f": {found} in the file, {expected} in the network"


def compare(
    architecture: str,
    found: Mapping[str, Shape],
    expected: Mapping[str, Shape],
    own_names: Mapping[str, str] | None = None,
) -> tuple[CoverageReport, dict[str, str]]:
    """Hold a file against a network.

    Args:
        architecture: Name of the network, for the report.
        found: Key to shape in the file, in published names or in our own.
        expected: Our key to shape in the network.
        own_names: Published key to our key; None where the file can only have our own names.

    Returns:
        The report, and the file's key to our key for every tensor that is to be loaded.
    """
    own_names = own_names or {}
    targets: dict[str, str] = {}
    unexpected: list[str] = []
    left_out: list[str] = []
    shapes: dict[str, tuple[Shape, Shape]] = {}
    seen: set[str] = set()
    for key, shape in found.items():
        own = own_names.get(key, key)
        if own not in expected or own in seen:
            (left_out if own.startswith(CLASSIFIER) else unexpected).append(key)
            continue
        seen.add(own)
        if shape == expected[own]:
            targets[key] = own
        else:
            shapes[key] = (shape, expected[own])
    is_ours = any(key in expected and key not in own_names for key in found)
    published = {} if is_ours else {own: key for key, own in own_names.items()}
    missing = tuple(published.get(own, own) for own in expected if own not in seen and not own.endswith(COUNTER))
    report = CoverageReport(
        architecture,
        tuple(targets),
        missing,
        tuple(unexpected),
        tuple(shapes),
        tuple(left_out),
        MappingProxyType(shapes),
    )
    return report, targets


def hold_against(architecture: str, found: Mapping[str, Shape]) -> tuple[CoverageReport, dict[str, str]]:
    """Hold a file against a network by name, a classifier left out; see `compare`.

    Raises:
        ModelError: There is no network of that name.
    """
    layout = find_architecture(architecture).key_layout
    return compare(architecture, found, layout.shapes, layout.find_own_names(found))


def best_fit(found: Mapping[str, Shape], first: str | None = None) -> CoverageReport:
    """Hold a file against every network, and return the report of the one it covers best.

    A complete one wins, `first` before the others. A partial file is taken for a part of a network in its own right,
    not of an ablation.
    """
    reports = []
    for name in sorted(ARCHITECTURES, key=lambda name: name != first):
        report, _ = hold_against(name, found)
        if report.is_complete:
            return report
        if ARCHITECTURES[name].ablation_of is None:
            reports.append(report)
    return max(reports, key=lambda report: report.backbone_coverage)


def refusal(where: str, report: CoverageReport, cause: str) -> str:
    """Say why a file is refused: the counts, the first keys, the likely cause and the next step."""
    lines = [
        f"{where} does not cover the backbone of {report.architecture}: {_count_backbone(report.loaded)} tensors fit "
        f"({_percent(report.backbone_coverage)} of the backbone), {len(report.missing)} are missing, "
        f"{len(report.mismatched)} have another shape, {len(report.unexpected)} are unexpected."
    ]
    for name, keys in (
        ("missing", report.missing),
        ("of another shape", report.mismatched),
        ("unexpected", report.unexpected),
    ):
        if keys:
            shown = ", ".join(key + report._shape_note(key) for key in keys[:3])
            lines.append(f"First {name}: {shown}{', …' if len(keys) > 3 else '.'}")
    return "\n".join([*lines, cause])


def likely_cause(found: Mapping[str, Shape], report: CoverageReport, best: CoverageReport) -> str:
    """Say what a file probably is, in a sentence or two.

    Args:
        found: Key to shape in the file.
        report: The file against the network that was asked for.
        best: The file against the network that it fits best.
    """
    if best.is_complete:
        return (
            f"This is {best.architecture}: it covers that one whole. Leave the architecture out, or ask for "
            f"{best.architecture}."
        )
    family = name_family(found)
    if family:
        return (
            f"This looks like {family}, but not like a whole one that is known here. Give a complete checkpoint of a "
            "network that omnireid models lists."
        )
    if not best.loaded:
        return (
            "None of its keys belongs to a network that is known here. Give a checkpoint of one that omnireid models "
            "lists."
        )
    if best.architecture != report.architecture:
        return (
            f"It comes closest to {best.architecture}, of which it covers {_percent(best.backbone_coverage)}: "
            "another architecture, or a part of one. Give a complete checkpoint."
        )
    stages = ", ".join(f"{stage} ({count})" for stage, count in _by_stage((*report.missing, *report.mismatched)))
    if stages:
        return f"Part of the network is missing. Missing tensors by stage: {stages}. Give a complete checkpoint."
    return f"It has parts that {report.architecture} does not have, so the network was changed. Give an unchanged one."


def name_family(keys: Iterable[str]) -> str | None:
    """Name the well-known family of networks, other than OSNet, that uses these keys; None where there is none."""
    names = list(keys)
    if any(re.search(r"(^|\.)layer1\.0\.conv1\.", name) for name in names):
        is_bottleneck = any(re.search(r"(^|\.)layer1\.0\.conv3\.", name) for name in names)
        blocks = {found[1] for name in names if (found := re.search(r"(?:^|\.)layer3\.(\d+)\.", name))}
        known = _BOTTLENECKS if is_bottleneck else _BASIC_BLOCKS
        return f"a {known.get(len(blocks), 'ResNet')}"
    if any(re.search(r"(^|\.)(blocks|layers|resblocks)\.\d+\.attn\.", name) for name in names):
        return "a vision transformer"
    if any(re.search(r"(^|\.)features\.\d+\.conv\.", name) for name in names):
        return "a MobileNet"
    return None


def _by_stage(keys: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(key.split(".")[0] for key in keys).items())


@cache
def _backbone_parts() -> frozenset[str]:
    """What the keys of networks begin with, in our own and in published names: ``conv1``, ``transition2``, ``fc``."""
    parts = set()
    for known in ARCHITECTURES.values():
        if known.ablation_of is None:
            layout = known.key_layout
            for names in (layout.shapes, *(each.values() for each in layout.published_names.values())):
                parts |= {key.split(".")[0] for key in names}
    return frozenset(parts)


def _count_backbone(keys: Iterable[str]) -> int:
    return sum(not key.endswith(COUNTER) and not key.startswith(CLASSIFIER) for key in keys)


def _percent(fraction: float) -> str:
    """Whole percents, rounded down: only all is 100 %."""
    return f"{int(fraction * 100)} %"
