"""A way to run a file of weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnireid.embedding.options import Precision, RuntimeName


@dataclass(frozen=True)
class RunConfiguration:
    """A file of weights, the runtime that runs it, and the precision it computes in."""

    weights: Path
    runtime: RuntimeName
    precision: Precision

    @property
    def name(self) -> str:
        """Runtime and precision, such as ``openvino bf16``."""
        return f"{self.runtime} {self.precision}"
