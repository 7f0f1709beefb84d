"""How a run is carried out, and what it ends with; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omnireid.errors import RecipeError
from omnireid.evaluation.scores import RankingScores


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; nothing here changes the weights but the data and where they start.

    Attributes:
        data: folders or manifests to learn from.
        output: the run's folder.
        weights: where to start: an artefact, checkpoint or name; None is random weights.
        layout: of the data sets; ``auto`` looks which one fits.
        use_test_identities: learn from the test identities too; then nothing is scored.
        hold_out: share of the training identities to score on instead of learning from, in [0, 1).
        evaluate_on: data set to score on; by default the first of `data`.
        resume: go on with the run in `output`.
        device: ``auto``, ``cpu`` or ``cuda``; under torchrun each rank takes the GPU of its number.
        threads: of torch on a CPU, for each rank; left alone by default.
        compile: have torch.compile make one kernel of many; minutes of compiling, faster steps.
        checkpoint_every: steps between two checkpoints; there is one after each epoch too.
        log_every: steps between two entries of the log.
        pixel_cache_folder: Folder for decoded crops; by default in the user's cache.
        progress: show bars on standard error.

    Raises:
        RecipeError: no data, or threads or a number of steps below 1.
    """

    data: tuple[Path, ...]
    output: Path
    weights: str | None = None
    layout: str = "auto"
    use_test_identities: bool = False
    hold_out: float = 0.0
    evaluate_on: Path | None = None
    resume: bool = False
    device: str = "auto"
    threads: int | None = None
    compile: bool = False
    checkpoint_every: int = 200
    log_every: int = 20
    pixel_cache_folder: Path | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if not self.data:
            raise RecipeError("Nothing to learn from: give --data FOLDER, several times for several data sets.")
        for name in ("threads", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RecipeError(f"--{name.replace('_', '-')} must be at least 1; got {value}.")


@dataclass(frozen=True)
class RunResult:
    """What a run ended with.

    Attributes:
        weights: the artefact of the last weights.
        scores: of them; None where there was nothing to score on.
        seconds: of training, evaluations included, over all sessions.
    """

    weights: Path
    scores: RankingScores | None
    seconds: float
