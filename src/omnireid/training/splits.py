"""The protocol of small data sets: a run for every published training half, scored on the people it left out.

VIPeR, GRID and CUHK03's classic protocol are published with several splits, and their scores are averages over all of
them. VIPeR's people are divided into two halves of 316 by each of 10 partitions. The published file names the half to
learn from (`trnSet`) and the half to test on (`tstSet`); they never change places, and none of its 100 partitions is
the reverse of another. "Both directions" are those of the cameras: the test half's crops of camera a are searched for
among those of camera b (split 2k of partition k), and the other way round (split 2k + 1). Both directions have one
training half and so one network: 20 splits take 10 runs. GRID has 10 splits of one direction, probe against gallery,
and takes 10 runs.

Sources: Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019, section 4.1. Its authors'
program, torchreid, makes VIPeR's splits in the same two directions and says that one model serves both.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from omnireid.data.datasets import load_splits
from omnireid.data.listing import input_files
from omnireid.data.options import DataOptions
from omnireid.data.training_data import load_training_data
from omnireid.data.unlabelled import add_unlabelled
from omnireid.embedding.embedder import load_embedder
from omnireid.embedding.options import RuntimeOptions
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import DataError, OutputError, SettingError
from omnireid.evaluation.embedder_scores import evaluate_embedder
from omnireid.files import check_output, sha256_of, sole_writer
from omnireid.models.zoo import find_architecture
from omnireid.training.distributed import Ranks, barrier
from omnireid.training.loop import CHECKPOINT_NAME
from omnireid.training.options import SPLITS_NAME, RunOptions
from omnireid.training.precision import choose_precision
from omnireid.training.recipes import Recipe
from omnireid.training.run import FAILURES_OF_ONE_RUN, Session, is_resumed, start_session, train_in_session
from omnireid.training.run_checkpoint import RunIdentity, check_identity
from omnireid.training.split_results import (
    SplitResults,
    SplitRun,
    SplitScores,
    read_split_results,
    write_split_results,
)
from omnireid.types import Dataset
from omnireid.weights.fetch import resolve_weights


def train_every_split(recipe: Recipe, options: RunOptions) -> SplitResults:
    """Train on every published training half of a data set, and score each run on the people it did not learn from.

    ``options.output`` gets a folder for each distinct training half, with everything that `omnireid.train` leaves, and
    ``splits.json`` with all scores. The last weights of a run are scored, never the best ones, which would have been
    chosen on the people they are scored on. A run that fails is recorded, and the others go on; among several ranks
    its error is raised at once, because the ranks could not agree on the next run.

    With ``options.resume``, finished runs are left alone, an interrupted run continues from its last checkpoint, and
    failed ones are tried again.

    Args:
        recipe: What each run does; the seed is the same for all of them.
        options: How the runs are carried out, on one data set that is published with several splits.

    Returns:
        The scores of all splits; `SplitResults.failures` says which runs failed.

    Raises:
        SettingError: An option contradicts the protocol, such as held-out identities.
        DataError: The data set has one split only, or cannot be read.
        ResumeError: ``options.resume`` with another recipe, data set, start or number of ranks.
        OutputError: The folder cannot be written, holds other runs or is in use.
        StoppedError: SIGINT or SIGTERM arrived; the run was saved.
        OmnireidError: Whatever else `omnireid.train` raises, unless it concerns one run alone.
    """
    _check_options(options)
    if recipe.task != "reidentify":
        raise SettingError(
            f"--every-split scores people that a run did not learn from; --task is {recipe.task}. Leave it out."
        )
    find_architecture(recipe.model)
    with start_session(options) as session:
        recipe = replace(recipe, precision=choose_precision(recipe.precision, session.device))
        splits = _load_splits(options, recipe)
        path, ranks = options.output / SPLITS_NAME, session.ranks
        with sole_writer(path) if ranks.rank == 0 else nullcontext():
            results = _begin(path, options, _plan(recipe, options, splits, ranks), ranks)
            for number, run in enumerate(results.runs, start=1):
                if run.is_finished:
                    continue
                _announce(number, results, options, ranks)
                done = _carry_out(run, [splits[index] for index in run.split_indices], recipe, options, session)
                results = results.with_run(done)
                if ranks.rank == 0:
                    write_split_results(path, results)
                    _report(number, done, results, options)
            barrier(ranks)
            return results if ranks.rank == 0 else read_split_results(path)


def _check_options(options: RunOptions) -> None:
    if len(options.data) > 1:
        raise SettingError(
            f"--every-split runs over the splits of one data set; got {len(options.data)} times --data. Give one."
        )
    useless = {
        "--split-index": options.split_index != 0,
        "--hold-out": options.hold_out > 0,
        "--evaluate-on": bool(options.evaluate_on),
        "--use-test-identities": options.use_test_identities,
    }
    given = [flag for flag, is_given in useless.items() if is_given]
    if given:
        raise SettingError(
            "--every-split learns from the training half of every split and scores on its test half, as published. "
            f"Leave out {' and '.join(given)}."
        )


def _load_splits(options: RunOptions, recipe: Recipe) -> list[Dataset]:
    splits = load_splits(options.data[0], DataOptions(layout=options.layout, seed=recipe.seed))
    if len(splits) == 1:
        raise DataError(
            f"{splits[0].name} in {splits[0].root} has one split only, so there is nothing to average over. Leave "
            "--every-split out, or give VIPeR, GRID or CUHK03 classic (--layout)."
        )
    return splits


def _plan(recipe: Recipe, options: RunOptions, splits: Sequence[Dataset], ranks: Ranks) -> SplitResults:
    """Plan a run for each distinct training half, none of them done yet."""
    sharing: dict[tuple[tuple[Path, ...], bytes], list[int]] = {}
    for split in splits:
        sharing.setdefault((split.train.paths, split.train.person_ids.tobytes()), []).append(split.split_index)
    runs = tuple(SplitRun(f"split-{indices[0]:02d}", tuple(indices)) for indices in sharing.values())
    files = hashlib.sha256()
    for run in runs:
        data = load_training_data(options.data, layout=options.layout, split=run.split_indices[0], seed=recipe.seed)
        if options.unlabelled:
            scored_on = [path for index in run.split_indices for path in _scored_paths(splits[index])]
            data = add_unlabelled(data, options.unlabelled, scored_on=scored_on)
        files.update(data.fingerprint.encode())
    facts: dict[str, Any] = {"names": [splits[0].name], "splits": len(splits), "files": files.hexdigest()}
    if options.teacher is not None:
        facts["teacher"] = sha256_of(resolve_weights(options.teacher))
    start, words = None, "random weights"
    if options.weights is not None:
        weights = resolve_weights(options.weights)
        start = sha256_of(weights)
        words = f"{options.weights} (trained on {WeightsFile(weights).metadata.training_data})"
    identity = RunIdentity(recipe.json(), facts, start, ranks.world_size)
    return SplitResults(splits[0].name, words, runs, identity, torch.get_num_threads())


def _scored_paths(split: Dataset) -> tuple[Path, ...]:
    return (*split.query.paths, *split.gallery.paths)


def _begin(path: Path, options: RunOptions, plan: SplitResults, ranks: Ranks) -> SplitResults:
    """Read the record of runs to be resumed, or begin one. Every rank has read it before rank 0 changes it."""
    results = plan
    if path.exists():
        if not is_resumed(options, SPLITS_NAME):
            raise OutputError(
                f"{options.output} already holds runs over splits. Continue them with --resume, or choose another "
                "--output."
            )
        results = read_split_results(path)
        check_identity(results.identity, plan.identity, options.output)
    barrier(ranks)
    if ranks.rank == 0:
        weights = [options.weights] if options.weights else []
        check_output(path, inputs=input_files([*options.data, *options.unlabelled, *weights]))
        write_split_results(path, results)
    return results


def _carry_out(
    run: SplitRun, splits: Sequence[Dataset], recipe: Recipe, options: RunOptions, session: Session
) -> SplitRun:
    """Train and score one run. Rank 0 scores; the others return the run as it was."""
    folder = options.output / run.folder
    is_begun = (folder / CHECKPOINT_NAME).is_file()
    own = replace(options, output=folder, split_index=run.split_indices[0], resume=options.resume and is_begun)
    try:
        result = train_in_session(recipe, own, session)
        if session.ranks.rank != 0:
            return run
        embedder = load_embedder(
            result.weights, RuntimeOptions(runtime="torch", precision="fp32", device=session.device.type)
        )
        evaluated = evaluate_embedder(embedder, splits, progress=options.progress)
    except FAILURES_OF_ONE_RUN as error:
        if session.ranks.world_size > 1:
            raise
        return replace(run, failure=str(error))
    scores = zip(run.split_indices, evaluated.splits, strict=True)
    return replace(
        run,
        weights_sha256=embedder.weights_sha256,
        seconds=result.seconds,
        scores=tuple(SplitScores.of(index, evaluation.scores) for index, evaluation in scores),
        failure=None,
    )


def _announce(number: int, results: SplitResults, options: RunOptions, ranks: Ranks) -> None:
    """Say which run begins, and how long it and the ones after it will take, judged by those that are finished."""
    if not options.progress or ranks.rank != 0:
        return
    run, finished = results.runs[number - 1], [run.seconds for run in results.runs if run.is_finished]
    line = f"run {number} of {len(results.runs)}: {options.output / run.folder}, {_name(run)}"
    if finished:
        left = sum(not later.is_finished for later in results.runs[number - 1 :]) * fmean(finished)
        line += f"; about {left / 60:.0f} min left" if left >= 90 else f"; about {left:.0f} s left"
    print(line, flush=True)


def _report(number: int, run: SplitRun, results: SplitResults, options: RunOptions) -> None:
    """Say what a run came to; a failure is said even without progress."""
    label = f"run {number} of {len(results.runs)}"
    if run.failure is not None:
        print(f"{label} failed: {run.failure}", file=sys.stderr)
    elif options.progress:
        for one in run.scores:
            scores = f"rank-1 {one.rank1:.4f}, mAP {one.mean_average_precision:.4f}"
            print(f"{label}: split {one.split_index}: {scores}", flush=True)


def _name(run: SplitRun) -> str:
    if len(run.split_indices) == 1:
        return f"split {run.split_indices[0]}"
    return "splits " + ", ".join(map(str, run.split_indices))
