"""The results of examining a data set, as values that can be printed or stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from omnireid.terms import Protocol
from omnireid.types import Dataset

Severity = Literal["error", "warning", "note"]

EXAMPLES = 5
"""Number of examples that a finding shows."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        check: Short name of the check; programs may rely on it.
        severity: ``error`` makes evaluation impossible, ``warning`` makes numbers doubtful, ``note`` is worth knowing.
        count: Number of crops, identities or queries concerned; 0 if there is nothing to count.
        summary: One sentence that says what was found.
        examples: The first few cases, as text.
        advice: What to do about it.
    """

    check: str
    severity: Severity
    count: int
    summary: str
    examples: tuple[str, ...]
    advice: str


@dataclass(frozen=True)
class SplitCounts:
    """The size of one split; `images_by_camera` is None where cameras are not known."""

    name: str
    images: int
    identities: int
    images_by_camera: dict[int, int] | None


@dataclass(frozen=True)
class Examination:
    """What was found in a data set.

    Attributes:
        dataset: The data set's name.
        layout: Name of the layout that read it.
        root: Its folder or manifest.
        protocol: The protocol its numbers are published under.
        licence: Terms of use in one line.
        split_index: Which of its published splits was examined, from 0.
        split_count: Number of published splits.
        splits: The size of each split.
        decoded: Whether the files were read; False after a fast examination.
        findings: Errors first, then warnings, then notes.
    """

    dataset: str
    layout: str
    root: str
    protocol: Protocol
    licence: str
    split_index: int
    split_count: int
    splits: tuple[SplitCounts, ...]
    decoded: bool
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether the data set can be evaluated: no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def table(self) -> str:
        """Counts, findings and advice as printable text."""
        of_several = f", split {self.split_index} of {self.split_count}" if self.split_count > 1 else ""
        lines = [
            f"{self.dataset} (layout {self.layout}{of_several}) in {self.root}",
            f"protocol: {self.protocol}",
            f"licence:  {self.licence}",
            "",
            f"{'split':<12}{'images':>10}{'identities':>12}{'cameras':>9}",
        ]
        for split in self.splits:
            cameras = "–" if split.images_by_camera is None else str(len(split.images_by_camera))
            lines.append(f"{split.name:<12}{split.images:>10,}{split.identities:>12,}{cameras:>9}")
        lines += _camera_lines(self.splits)
        lines.append("")
        for finding in self.findings:
            lines.append(f"{finding.severity}: {finding.summary}")
            lines += [f"    {example}" for example in finding.examples]
            lines.append(f"    what to do: {finding.advice}")
        if not self.findings:
            lines.append("Nothing wrong was found.")
        if not self.decoded:
            lines.append(
                "The files were not read (fast): unreadable, duplicate and odd-sized crops were not looked for."
            )
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """The whole examination as plain values, ready for ``json.dumps``."""
        return asdict(self) | {"usable": self.usable}


def _camera_lines(splits: Sequence[SplitCounts]) -> list[str]:
    cameras = sorted({camera for split in splits for camera in split.images_by_camera or {}})
    if not cameras:
        return []
    lines = ["", "images by camera", f"{'camera':<12}" + "".join(f"{split.name:>12}" for split in splits)]
    for camera in cameras:
        counts = [(split.images_by_camera or {}).get(camera, 0) for split in splits]
        lines.append(f"{camera:<12}" + "".join(f"{count:>12,}" for count in counts))
    return lines


def shown_path(path: Path, dataset: Dataset) -> str:
    """A crop's path, relative to its data set if it lies inside."""
    root = dataset.root if dataset.root.is_dir() else dataset.root.parent
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
