"""``omnireid train``: crops into weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import tyro

from omnireid.commands.options import settle_threads
from omnireid.errors import TrainingError
from omnireid.training.named_recipes import RECIPES
from omnireid.training.options import RUN_NAME, SPLITS_NAME, RunOptions
from omnireid.training.recipes import Recipe

if TYPE_CHECKING:
    ChosenRecipe = Recipe
else:
    ChosenRecipe = tyro.extras.subcommand_type_from_defaults(
        {name: known.recipe for name, known in RECIPES.items()},
        {name: known.summary for name, known in RECIPES.items()},
        prefix_names=False,
    )

RunFlags = Annotated[RunOptions, tyro.conf.UseAppendAction]


def train(*, recipe: ChosenRecipe, run: RunFlags, every_split: bool = False) -> None:
    """Train a network by a recipe: scratch, finetune, speedrun, laptop, general, quick or classify.

    Every value of a recipe is a flag. The recipe classify learns the classes of
    an image folder (train/CLASS/, val/CLASS/); its weights start other runs.

    The output folder gets the weights (last.safetensors, best.safetensors), the
    log, the curves, and a checkpoint with which --resume continues. Start the command
    with torchrun to use several GPUs. best.safetensors has the weights that scored best on
    the test split of the data, or on the data sets that --evaluate-on names.

    Example: omnireid train quick --data Market-1501-v15.09.15 --evaluate-on VIPeR --output runs/quick

    Example: omnireid train classify --data tiny-imagenet --output runs/classify

    Example: omnireid train finetune --weights WEIGHTS --data VIPeR --every-split --output runs/viper

    Args:
        recipe: The recipe that gives every value without a flag.
        run: How the run is carried out.
        every_split: Train once for every published training half of the data set (VIPeR, GRID, CUHK03 classic), score
            each run on the people it did not learn from, and print mean and standard deviation over the splits. With
            --resume, finished runs are skipped and failed ones tried again.
    """
    record = run.output / (SPLITS_NAME if every_split else RUN_NAME)
    run = replace(run, threads=settle_threads(run.threads, run.device, record, resume=run.resume))
    from omnireid.embedding.torch_runtime import require_torch

    require_torch()
    if every_split:
        _train_every_split(recipe, run)
        return
    from omnireid.training.distributed import find_ranks
    from omnireid.training.run import train as run_recipe

    result = run_recipe(recipe, run)
    if find_ranks().rank != 0:
        return  # every rank has the result; one prints it
    for name, scores in result.evaluations.items():
        print(f"{name}: {scores.table()}" if len(result.evaluations) > 1 else scores.table())
    print(f"{result.weights}: trained in {result.seconds:.0f} s. The curves are in {run.output / 'curves.png'}.")


def _train_every_split(recipe: Recipe, run: RunOptions) -> None:
    """Run over all splits and print the table; runs that failed make the command fail."""
    from omnireid.training.distributed import find_ranks
    from omnireid.training.splits import train_every_split

    results = train_every_split(recipe, run)
    if find_ranks().rank != 0:
        return
    print(results.table())
    print(f"The scores are in {run.output / SPLITS_NAME}.")
    if results.failures:
        raise TrainingError(
            f"{len(results.failures)} of {len(results.runs)} runs failed: {', '.join(results.failures)}. Their reasons "
            "are in the table. The same command with --resume tries them again."
        )
