"""Flags that several commands share, with the names that ``--help`` shows for their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

WeightsPositional = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
OptionalNumber = Annotated[int | None, tyro.conf.arg(metavar="N")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
WeightsOption = Annotated[str, tyro.conf.arg(metavar="WEIGHTS")]
