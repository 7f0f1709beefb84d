"""How an experiment is carried out. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnireid.errors import SettingError

RECORD_NAME = "experiment.json"
"""Name, in an experiment's folder, of the record of all its runs and of the table made from them."""

TABLE_NAME = "experiment.md"
"""Name, in an experiment's folder, of the table as Markdown."""


@dataclass(frozen=True)
class ExperimentOptions:
    """Which rows of an experiment are run, on which data, and how.

    Attributes:
        output: Folder for the experiment: it gets a table, a record, and a folder for each row's runs. The same
            command goes on with what is missing there.
        data: Folder or manifest to learn from and to score on. The table cues draws its own.
        seeds: Seeds; every row is run once with each.
        rows: Names of the rows to run; by default all rows of the table.
        evaluate_on: Further data sets to score every row on. Nothing is learned from them.
        weights: Weights that the rows of the table pretraining start from, such as those of omnireid train classify.
        people: Number of people that the table cues draws for each cue, half of them to learn from.
        layout: Layout of the data set to learn from, such as market1501 or folder; auto recognises it.
        device: The device of every run, as for omnireid train.
        threads: Threads of every run on a CPU, as for omnireid train.
        checkpoint_every: Steps from one checkpoint of a run to the next.
        pixel_cache_folder: Folder for decoded crops; by default in the user's cache.
        progress: Show the plan, the time left and progress bars.

    Raises:
        SettingError: A seed is given twice or is negative, there is no seed, or a number is too small.
    """

    output: Path = Path("runs/experiment")
    data: Path | None = None
    seeds: tuple[int, ...] = (0,)
    rows: tuple[str, ...] = ()
    evaluate_on: tuple[Path, ...] = ()
    weights: str | None = None
    people: int = 400
    layout: str = "auto"
    device: str = "auto"
    threads: int | None = None
    checkpoint_every: int = 200
    pixel_cache_folder: Path | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            given = " ".join(map(str, self.seeds)) or "none"
            raise SettingError(f"--seeds must name each seed once, and at least one; got {given}.")
        if min(self.seeds) < 0:
            raise SettingError(f"--seeds must be 0 or above; got {min(self.seeds)}.")
        if self.people < 4:
            raise SettingError(
                f"--people must be at least 4, two to learn from and two to score on; got {self.people}."
            )
        for name in ("threads", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"--{name.replace('_', '-')} must be at least 1; got {value}.")
