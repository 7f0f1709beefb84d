"""How a data set is read. No heavy imports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataOptions:
    """How a data set is read.

    Attributes:
        layout: Layout of the data set, one of those in docs/datasets.md. With auto, the layout that fits is found.
        split_index: Which published split to use, counted from 0, where a data set has several (CUHK03 classic,
            VIPeR, GRID). By default scores are averaged over all splits, and the other commands take the first.
        seed: Seed for the automatic split, used only when the data set defines none.
    """

    layout: str = "auto"
    split_index: int | None = None
    seed: int = 0
