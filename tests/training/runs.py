"""A small recipe, and what tests of whole runs ask of a run's folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from omnireid.errors import OmnireidError
from omnireid.training.augmentation import Augmentation
from omnireid.training.feeding import TrainingBatch
from omnireid.training.journal import read_journal
from omnireid.training.learner import Learner
from omnireid.training.options import RunOptions
from omnireid.training.recipes import Recipe
from omnireid.training.run import train
from omnireid.weights.artefact import read_artefact

SMALL = Recipe(
    model="osnet_x0_25",
    epochs=2,
    resolutions=("32x16@0",),
    batch_size=8,
    learning_rate=0.02,
    schedule="cosine",
    augmentation=Augmentation(crop=0.5, erasing=0.3, patch=0.3),
    average=0.9,
)
"""24 training crops: three steps an epoch."""


def options_for(data: Path, folder: Path) -> RunOptions:
    """A quiet run on one thread, in ``run`` below `folder`."""
    return RunOptions(
        (data,),
        folder / "run",
        device="cpu",
        threads=1,
        log_every=2,
        pixel_cache_folder=folder / "stores",
        progress=False,
    )


def stop_at_step(recipe: Recipe, options: RunOptions, step: int, error: OmnireidError) -> None:
    """Train until this step, counted from 0, where the learner raises an error."""
    take_step = Learner.step

    def stop(learner: Learner, batch: TrainingBatch, number: int) -> Tensor:
        if number == step:
            raise error
        return take_step(learner, batch, number)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(Learner, "step", stop)
        train(recipe, options)


def tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return read_artefact(path)[0]


def same(one: Path, other: Path) -> bool:
    mine, theirs = tensors(one), tensors(other)
    return mine.keys() == theirs.keys() and all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read_journal(folder) if entry["kind"] == "step"]


def command(people: Path, output: Path, *more: str) -> list[str]:
    """The words of a run of 12 steps."""
    words = "train quick --device cpu --threads 1 --epochs 4 --resolutions 32x16@0 --batch-size 8 --precision fp32"
    flags = f"--warmup-epochs 1 --log-every 1 --checkpoint-every 2 --data {people} --output {output}"
    return [*words.split(), *flags.split(), "--pixel-cache-folder", str(output.parent / "stores"), *more]


def torchrun(words: list[str]) -> list[str]:
    """The command line that runs omnireid in two processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [sys.executable, *launcher, "-m", "omnireid", *words]


def ranks_of(launcher: int) -> list[int]:
    """The processes of torchrun's ranks, by rank."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    found: dict[int, int] = {}
    for child in children:
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        found |= {int(one[5:]): int(child) for one in variables if one.startswith(b"RANK=")}
    return [found[rank] for rank in sorted(found)]


def kill_torchrun(process: subprocess.Popen[str]) -> None:
    """Kill torchrun and its ranks, which have sessions of their own and would go on without it."""
    for each in (process.pid, *ranks_of(process.pid)):
        os.kill(each, signal.SIGKILL)
    process.communicate(timeout=60)


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    log = folder / "log.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if log.exists() and f'"step": {step},' in log.read_text():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"no step {step} in two minutes")
