"""``omnireid train``: crops into weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from omnireid.commands.options import OptionalNumber, OptionalPath, OptionalText
from omnireid.training.recipes import RECIPES, Recipe

if TYPE_CHECKING:
    ChosenRecipe = Recipe
else:
    ChosenRecipe = tyro.extras.subcommand_type_from_defaults(
        {name: known.recipe for name, known in RECIPES.items()},
        {name: known.summary for name, known in RECIPES.items()},
        prefix_names=False,
    )

DataOption = Annotated[tuple[Path, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="DATA")]


def train(
    *,
    recipe: ChosenRecipe,
    output: Path,
    data: DataOption = (),
    weights: OptionalText = None,
    layout: str = "auto",
    use_test_identities: bool = False,
    hold_out: float = 0.0,
    evaluate_on: OptionalPath = None,
    resume: bool = False,
    device: str = "auto",
    threads: OptionalNumber = None,
    compile: bool = False,  # noqa: A002
    checkpoint_every: int = 200,
    log_every: int = 20,
    pixel_cache_folder: OptionalPath = None,
) -> None:
    """Train a network by a recipe: scratch, finetune, speedrun, laptop or quick; every value of it is a flag.

    The output folder gets weights (last.safetensors, best.safetensors), the log,
    curves, and a checkpoint to go on from with --resume. Start it with torchrun
    to use several GPUs.

    Example: omnireid train quick --model osnet_x0_25 --data Market-1501-v15.09.15 --output runs/quick

    Args:
        recipe: where the values come from that no flag gives.
        output: the run's folder.
        data: a data set's folder or a manifest; several, with a flag each, keep identities and cameras apart.
        weights: where to start instead of random weights: a file, a shipped name, hf://… or https://…#sha256=….
        layout: of the data sets; auto looks which one fits.
        use_test_identities: learn from the test identities too; nothing is scored then, unless --evaluate-on is given.
        hold_out: share of the training identities to score on instead of learning from.
        evaluate_on: a data set to score on; by default the first --data.
        resume: go on with the run in the output folder.
        device: auto, cpu or cuda.
        threads: of each process on a CPU; the number of cores by default.
        compile: have torch.compile make one kernel of many: minutes of compiling, then faster steps on a GPU.
        checkpoint_every: steps between two checkpoints.
        log_every: steps between two looks at the loss.
        pixel_cache_folder: Folder for decoded crops, by default in the user's cache; see omnireid cache.
    """
    from omnireid.embedding.torch_runtime import require_torch
    from omnireid.errors import RecipeError

    if not data:
        raise RecipeError("Nothing to learn from: give --data FOLDER, several times for several data sets.")
    require_torch()
    from omnireid.training.distributed import find_ranks
    from omnireid.training.options import RunOptions
    from omnireid.training.run import train as run

    options = RunOptions(
        data=data,
        output=output,
        weights=weights,
        layout=layout,
        use_test_identities=use_test_identities,
        hold_out=hold_out,
        evaluate_on=evaluate_on,
        resume=resume,
        device=device,
        threads=threads,
        compile=compile,
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        pixel_cache_folder=pixel_cache_folder,
    )
    result = run(recipe, options)
    if find_ranks().rank != 0:
        return  # every rank has the result; one tells it
    if result.scores is not None:
        print(result.scores.table())
    print(f"{result.weights}: trained in {result.seconds:.0f} s. The curves are in {output / 'curves.png'}.")
