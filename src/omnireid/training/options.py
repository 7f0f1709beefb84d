"""How a run is carried out, and what it returns. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from omnireid.errors import SettingError
from omnireid.evaluation.classification_scores import ClassificationScores
from omnireid.evaluation.scores import RankingScores

RUN_NAME = "run.json"
"""Name, in a run's folder, of the record of what the run is."""

SPLITS_NAME = "splits.json"
"""Name, in a folder of runs over the splits of a data set, of the record of all of them."""

Scores: TypeAlias = RankingScores | ClassificationScores
"""Scores of a ranking or of a classifier, by the task of the recipe."""


@dataclass(frozen=True)
class RunOptions:
    """Which data a run learns from, where it starts, and how it is carried out.

    Attributes:
        data: Folder or manifest to learn from. Several data sets are learned together; their people and cameras are
            different ones, whatever their numbers.
        output: Folder for the run's results.
        weights: Weights to start from: a file, a folder of roboflow's reid, a name that omnireid models lists, hf://…
            or https://…#sha256=…. By default the run starts from random weights.
        teacher: Weights to imitate, of any kind that omnireid runs. The recipe says by which losses.
        unlabelled: Folder of further crops, or a manifest, whose people need not be known: only the teacher says what
            to learn from them. Person ids are not read.
        attributes: Attributes of the crops: a file or folder as for omnireid attributes train. The recipe says how much
            their loss counts. Those of people belong to the people of the first data set.
        layout: Layout of the data sets, such as market1501 or folder; auto recognises it.
        split_index: Which published split to learn from and score on, counted from 0, where a data set has several
            (CUHK03 classic, VIPeR, GRID).
        use_test_identities: Learn from the test identities too. Nothing is scored then, unless `evaluate_on` names
            other data.
        hold_out: Share of the training identities, in [0, 1), to score on instead of learning from. A classifier
            takes this share of each class's pictures.
        evaluate_on: Data set to score on, such as one from other cameras; by default the first of `data`. Of several,
            the mean of their scores chooses the best weights.
        resume: Continue the run in the output folder.
        device: auto, cpu or cuda. Under torchrun each rank takes the GPU with its own number.
        threads: Threads on a CPU, for each process. By default the library keeps the process's number, and the
            command takes as many as there are idle cores when it starts.
        compile: Compile the network with torch.compile: it takes minutes, and makes the steps on a GPU faster.
        checkpoint_every: Steps between two checkpoints. Each epoch ends with one too.
        log_every: Steps between two updates of the log.
        teacher_cache_folder: Folder for the teacher's embeddings; by default in the user's cache.
        pixel_cache_folder: Folder for decoded crops; by default in the user's cache.
        progress: Show progress bars, and what the starting weights fill, on standard error.

    Raises:
        SettingError: There is no data, `evaluate_on` is a single path or stands beside `hold_out`, `threads` or a
            number of steps is below 1, or there are unlabelled crops without a teacher.
    """

    data: tuple[Path, ...]
    output: Path
    weights: str | None = None
    teacher: str | None = None
    unlabelled: tuple[Path, ...] = ()
    attributes: Path | None = None
    layout: str = "auto"
    split_index: int = 0
    use_test_identities: bool = False
    hold_out: float = 0.0
    evaluate_on: tuple[Path, ...] = ()
    resume: bool = False
    device: str = "auto"
    threads: int | None = None
    compile: bool = False
    checkpoint_every: int = 200
    log_every: int = 20
    teacher_cache_folder: Path | None = None
    pixel_cache_folder: Path | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if not self.data:
            raise SettingError("Nothing to learn from: give --data FOLDER, several times for several data sets.")
        if isinstance(self.evaluate_on, (str, Path)):
            raise SettingError(f"evaluate_on must be a tuple of paths; got {self.evaluate_on!r}. Put it into one.")
        if self.hold_out and self.evaluate_on:
            raise SettingError(
                "A run is scored either on identities kept out of its own data (--hold-out) or on other data "
                "(--evaluate-on). Leave one of the two out."
            )
        for name in ("threads", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"--{name.replace('_', '-')} must be at least 1; got {value}.")
        if self.unlabelled and self.teacher is None:
            raise SettingError("--unlabelled crops teach nothing without a teacher: name its weights with --teacher.")


@dataclass(frozen=True)
class RunResult:
    """What a run returns.

    Attributes:
        weights: The file of the last weights.
        evaluations: Scores of the last weights, those of a ranking or a classifier, on each data set that the run is
            scored on, by its name; empty if there was nothing to score on.
        seconds: Time of training and evaluations, over all sessions.
    """

    weights: Path
    evaluations: Mapping[str, Scores]
    seconds: float

    @property
    def scores(self) -> Scores | None:
        """Scores on the one data set that the run is scored on; None for none, and for several."""
        return next(iter(self.evaluations.values())) if len(self.evaluations) == 1 else None
