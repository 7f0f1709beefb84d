"""``omnireid train``: crops into weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import tyro

from omnireid.training.options import RunOptions
from omnireid.training.recipes import RECIPES, Recipe

if TYPE_CHECKING:
    ChosenRecipe = Recipe
else:
    ChosenRecipe = tyro.extras.subcommand_type_from_defaults(
        {name: known.recipe for name, known in RECIPES.items()},
        {name: known.summary for name, known in RECIPES.items()},
        prefix_names=False,
    )

RunFlags = Annotated[RunOptions, tyro.conf.UseAppendAction]


def train(*, recipe: ChosenRecipe, run: RunFlags) -> None:
    """Train a network by a recipe: scratch, finetune, speedrun, laptop or quick. Every value of a recipe is a flag.

    The output folder gets the weights (last.safetensors, best.safetensors), the
    log, the curves, and a checkpoint from which --resume goes on. Start the command
    with torchrun to use several GPUs.

    Example: omnireid train quick --model osnet_x0_25 --data Market-1501-v15.09.15 --output runs/quick

    Args:
        recipe: The recipe that gives every value without a flag.
        run: How the run is carried out.
    """
    from omnireid.embedding.torch_runtime import require_torch

    require_torch()
    from omnireid.training.distributed import find_ranks
    from omnireid.training.run import train as run_recipe

    result = run_recipe(recipe, run)
    if find_ranks().rank != 0:
        return  # every rank has the result; one prints it
    if result.scores is not None:
        print(result.scores.table())
    print(f"{result.weights}: trained in {result.seconds:.0f} s. The curves are in {run.output / 'curves.png'}.")
