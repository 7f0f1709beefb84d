"""From a recipe and data sets to a folder with weights, log and curves.

A run is started directly or by ``torchrun``. It can be stopped at any moment, by
Ctrl-C or even by ``kill -9``, and resumed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from omnireid.data.listing import input_files
from omnireid.data.training_data import TrainingData, load_training_data
from omnireid.data.unlabelled import add_unlabelled
from omnireid.embedding.embedder import Embedder, load_embedder
from omnireid.embedding.options import RuntimeOptions
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import (
    CheckpointError,
    DataError,
    DeviceMemoryError,
    EmbeddingError,
    ImageError,
    MissingDependencyError,
    OutputError,
    RecipeError,
    TrainingError,
)
from omnireid.files import check_output, sole_writer, write_json
from omnireid.models.zoo import create_model, find_architecture
from omnireid.training.assessment import Validation, hold_out, load_validation, load_validations, refuse_learned
from omnireid.training.attribute_targets import find_attribute_targets
from omnireid.training.classification import PictureValidation, load_pictures
from omnireid.training.curves import draw_curves
from omnireid.training.distributed import Ranks, barrier, start_ranks
from omnireid.training.journal import Journal, read_journal
from omnireid.training.learner import Learner
from omnireid.training.loop import BEST_NAME, CHECKPOINT_NAME, LAST_NAME, Loop
from omnireid.training.options import RUN_NAME, RunOptions, RunResult
from omnireid.training.precision import choose_precision
from omnireid.training.provenance import describe_environment
from omnireid.training.recipes import Recipe
from omnireid.training.run_checkpoint import Progress, RunIdentity, check_identity, read_checkpoint
from omnireid.training.samplers import IdentitySampler, RandomSampler
from omnireid.training.signals import Stop, caught_signals
from omnireid.training.start import describe_start, start_from
from omnireid.training.teacher import teach
from omnireid.types import FloatArray
from omnireid.weights.fetch import resolve_weights

CURVES_NAME = "curves.png"

FAILURES_OF_ONE_RUN = (TrainingError, CheckpointError, DataError, DeviceMemoryError, EmbeddingError, ImageError)
"""Errors after which the other runs of a session go on. Others, such as a full disk, would end those too."""


def train(recipe: Recipe, options: RunOptions) -> RunResult:
    """Train a network as `recipe` says, and write everything about it to ``options.output``.

    The folder then holds ``last.safetensors`` and ``best.safetensors`` (weights for every command),
    ``checkpoint.safetensors`` (for resuming), ``run.json`` (recipe, versions, data, git commit), ``log.jsonl``,
    ``tensorboard/`` and ``curves.png``.

    On a CPU torch uses the process's number of threads, or ``options.threads`` while the run lasts. More threads than
    free cores make a run many times slower: see docs/training.md.

    Raises:
        ModelError: There is no network of that name, or the weights to start from are of another one.
        RecipeError: A value does not fit the data or the number of ranks.
        DataError: The data cannot be learned from.
        SettingError: An option does not fit the task.
        ResumeError: ``options.resume`` with another recipe, data set, start or number of ranks.
        NonFiniteLossError: The loss became NaN or infinite.
        DeviceMemoryError: The batch is too large for the device.
        RankError: Another rank was lost.
        StoppedError: SIGINT or SIGTERM arrived; the run was saved.
        OutputError: The folder cannot be written, holds another run or is in use.
    """
    find_architecture(recipe.model)  # a wrong name is noticed before any data is read
    with start_session(options) as session:
        return train_in_session(recipe, options, session)


@dataclass(frozen=True)
class Session:
    """This process while it trains, for one run or for several in a row.

    Attributes:
        ranks: This process among those of the run.
        device: Device it computes on.
        stop: Whether somebody asked it to stop.
    """

    ranks: Ranks
    device: torch.device
    stop: Stop

    @property
    def threads(self) -> int:
        """Number of threads that torch computes with on a CPU."""
        return torch.get_num_threads()


@contextmanager
def start_session(options: RunOptions) -> Iterator[Session]:
    """Set the number of threads, join the other ranks and catch signals while the body runs."""
    with (
        _thread_count(options.threads),
        start_ranks(options.device) as (ranks, device),
        caught_signals() as stop,
    ):
        yield Session(ranks, device, stop)


def train_in_session(recipe: Recipe, options: RunOptions, session: Session) -> RunResult:
    """Do one run of a session; see `train`."""
    ranks = session.ranks
    with sole_writer(options.output / RUN_NAME) if ranks.rank == 0 else nullcontext():
        recipe = replace(recipe, precision=choose_precision(recipe.precision, session.device))
        loop = _prepare(recipe, options, ranks, session.device)
        try:
            with loop.journal if loop.journal is not None else nullcontext():
                return loop.run(session.stop)
        finally:
            if ranks.rank == 0:
                _draw(recipe, options)


@contextmanager
def _thread_count(threads: int | None) -> Iterator[None]:
    """Have torch compute with this number of threads while the body runs; None leaves the number as it is."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads is not None:
            torch.set_num_threads(before)


def _prepare(recipe: Recipe, options: RunOptions, ranks: Ranks, device: torch.device) -> Loop:
    """Do everything that comes before the first step: read data, make the network, restore a resumed run."""
    if recipe.batch_size % (ranks.world_size * recipe.accumulate):
        raise RecipeError(
            f"--batch-size {recipe.batch_size} cannot be shared by {ranks.world_size} ranks in {recipe.accumulate} "
            f"parts: make it a multiple of {ranks.world_size * recipe.accumulate}."
        )
    data, validations = _load_data(recipe, options)
    images, labels = ("pictures", "classes") if recipe.task == "classify" else ("crops", "identities")
    sampler = _create_sampler(recipe, data)
    network = create_model(recipe.model, generator=torch.Generator().manual_seed(recipe.seed))
    start, start_sha256 = None, None
    if options.weights is not None:
        start, start_sha256 = start_from(network, recipe.model, options.weights)
        if options.progress and ranks.rank == 0 and not is_resumed(options, CHECKPOINT_NAME):
            print(describe_start(options.weights, f"{data.identity_count:,} {labels}"), file=sys.stderr)
    teacher = _load_teacher(recipe, options)
    attributes = find_attribute_targets(recipe, options, data)
    facts = {images: len(data), labels: data.identity_count, "files": data.fingerprint}
    identity = RunIdentity(
        recipe.json(),
        {
            "names": list(data.names),
            **facts,
            **({} if teacher is None else {"teacher": teacher.weights_sha256}),
            **({} if attributes is None else attributes.facts),
        },
        start_sha256,
        ranks.world_size,
        {validation.name: validation.fingerprint for validation in validations},
    )
    resuming = is_resumed(options, CHECKPOINT_NAME)
    state, progress = _read_state(options, identity) if resuming else ({}, Progress())
    if ranks.rank == 0 and not resuming:
        _check_folder(options)
    # What can refuse the run has been asked by now: a teacher may need an hour for its embeddings.
    targets = None if teacher is None else _find_targets(teacher, options, data, ranks)
    learner = Learner(
        recipe,
        network,
        data.identity_count,
        steps_an_epoch=len(sampler),
        device=device,
        ranks=ranks,
        compile_network=options.compile,
        target_width=None if targets is None else targets.shape[2],
        attribute_count=0 if attributes is None else attributes.count,
    )
    if resuming:
        learner.load_state_dict(state)
    journal = None
    if ranks.rank == 0:
        if not resuming:
            _write_record(recipe, options, identity, data)
        # A log without a checkpoint belongs to a run that was killed before its first one: it begins again.
        journal = Journal(options.output, resume_at=progress.step if resuming else -1)
    wanted = None if attributes is None else attributes.targets
    parts = (data, validations, sampler, learner, identity, progress, journal, targets, wanted, start)
    return Loop(recipe, options, ranks, device, *parts, teacher=None if teacher is None else teacher.metadata)


def _load_data(
    recipe: Recipe, options: RunOptions
) -> tuple[TrainingData, tuple[Validation, ...] | tuple[PictureValidation, ...]]:
    """What to learn from and what to score on: nothing, where a run learns from everything."""
    validations: tuple[Validation, ...] | tuple[PictureValidation, ...]
    if recipe.task == "classify":
        data, pictures = load_pictures(options, seed=recipe.seed)
        validations = (pictures,)
    else:
        data, validations = _load_crops(recipe, options)
    data = _add_unlabelled(data, options, [path for validation in validations for path in validation.paths])
    if options.evaluate_on or options.unlabelled or len(options.data) > 1:
        for validation in validations:
            refuse_learned(validation.name, validation.paths, data)
    return data, validations


def _add_unlabelled(data: TrainingData, options: RunOptions, scored_on: Sequence[Path]) -> TrainingData:
    return add_unlabelled(data, options.unlabelled, scored_on=scored_on) if options.unlabelled else data


def _load_crops(recipe: Recipe, options: RunOptions) -> tuple[TrainingData, tuple[Validation, ...]]:
    """The crops to learn from, and what the run is scored on: other data, people kept out, or its own test split."""
    data = load_training_data(
        options.data,
        layout=options.layout,
        use_test_identities=options.use_test_identities,
        split=options.split_index,
        seed=recipe.seed,
    )
    if options.evaluate_on:
        return data, load_validations(options.evaluate_on, data, split=options.split_index, seed=recipe.seed)
    if options.hold_out:
        rest, kept_out = hold_out(data, options.hold_out, seed=recipe.seed)
        return rest, (kept_out,)
    if options.use_test_identities:
        return data, ()
    own = load_validation(options.data[0], layout=options.layout, split=options.split_index, seed=recipe.seed)
    return data, () if own is None else (own,)


def _load_teacher(recipe: Recipe, options: RunOptions) -> Embedder | None:
    """The teacher, in float32 unless it is of whole numbers; None where the run has none.

    Raises:
        RecipeError: a teacher that no loss uses, or a loss without a teacher.
    """
    if options.teacher is None:
        if recipe.needs_teacher:
            raise RecipeError("--teacher-weight and --graph-weight need a teacher: name its weights with --teacher.")
        return None
    if not recipe.needs_teacher:
        raise RecipeError(
            f"The teacher {options.teacher} would not be used: set --teacher-weight or --graph-weight above 0."
        )
    file = WeightsFile(resolve_weights(options.teacher))
    is_int8 = file.is_graph and file.graph.metadata.precision == "int8"
    return load_embedder(options.teacher, RuntimeOptions(precision="int8" if is_int8 else "fp32"))


def _find_targets(teacher: Embedder, options: RunOptions, data: TrainingData, ranks: Ranks) -> FloatArray:
    """The teacher's embeddings of the crops; rank 0 computes them while the others wait."""
    folder, show = options.teacher_cache_folder, options.progress and ranks.rank == 0
    if ranks.rank != 0:
        barrier(ranks)
    targets = teach(teacher, data.paths, folder=folder, progress=show)
    if ranks.rank == 0:
        barrier(ranks)
    return targets


def _create_sampler(recipe: Recipe, data: TrainingData) -> RandomSampler | IdentitySampler:
    if data.has_unlabelled and recipe.triplet_weight:
        raise RecipeError("--triplet-weight needs to know the person of each crop: leave it out with --unlabelled.")
    if recipe.sampler == "random":
        return RandomSampler(len(data), recipe.batch_size, recipe.seed)
    if data.has_unlabelled:
        raise RecipeError("--sampler identity needs to know the person of each crop: use random with --unlabelled.")
    if recipe.batch_size % recipe.images_per_identity:
        raise RecipeError(
            f"--batch-size {recipe.batch_size} is not a multiple of --images-per-identity {recipe.images_per_identity}."
        )
    return IdentitySampler(
        data.identities,
        data.cameras,
        identities_per_batch=recipe.batch_size // recipe.images_per_identity,
        images_per_identity=recipe.images_per_identity,
        seed=recipe.seed,
        balance_cameras=recipe.balance_cameras,
    )


def is_resumed(options: RunOptions, record: str) -> bool:
    """Whether to resume: because it was asked for, or because torchrun restarted the ranks after one was lost.

    Args:
        options: How the run is carried out.
        record: Name of the file that a restarted run goes on from. Without it the run begins.
    """
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    return options.resume or (restarted and (options.output / record).is_file())


def _read_state(options: RunOptions, identity: RunIdentity) -> tuple[dict[str, Any], Progress]:
    """The state of the run in the folder, after a check that it is the same run."""
    state, progress, found = read_checkpoint(options.output / CHECKPOINT_NAME)
    check_identity(found, identity, options.output)
    return state, progress


def _check_folder(options: RunOptions) -> None:
    """Check that the folder holds no other run, and nothing that this one reads would be overwritten."""
    if (options.output / CHECKPOINT_NAME).exists():
        raise OutputError(f"{options.output} already holds a run. Resume it with --resume, or choose another --output.")
    files = [name for name in (options.weights, options.teacher, options.attributes) if name is not None]
    inputs = list(input_files([*options.data, *options.unlabelled, *options.evaluate_on, *files]))
    for name in (RUN_NAME, LAST_NAME, BEST_NAME, CURVES_NAME):
        check_output(options.output / name, inputs=inputs)


def _write_record(recipe: Recipe, options: RunOptions, identity: RunIdentity, data: TrainingData) -> None:
    """Write ``run.json``."""
    record: dict[str, Any] = {
        "recipe": recipe.json(),
        "data": {
            **identity.data,
            "roots": [str(root) for root in (*options.data, *options.unlabelled)],
            "licence": data.licence,
        },
        "start": {"weights": options.weights, "sha256": identity.start},
        "teacher": options.teacher,
        "world_size": identity.world_size,
        "split_index": options.split_index,
        "hold_out": options.hold_out,
        "use_test_identities": options.use_test_identities,
        "scored_on": {"names": list(identity.scored_on or ()), "roots": [str(root) for root in options.evaluate_on]},
        "threads": torch.get_num_threads(),
        "compile": options.compile,
        "environment": describe_environment(),
    }
    write_json(options.output / RUN_NAME, record)


def _draw(recipe: Recipe, options: RunOptions) -> None:
    """Draw the curves of what the log holds so far; without matplotlib, say how to get them."""
    names = " + ".join(root.name for root in options.data)
    try:
        draw_curves(read_journal(options.output), options.output / CURVES_NAME, f"{recipe.model} on {names}")
    except MissingDependencyError as error:
        print(error, file=sys.stderr)
