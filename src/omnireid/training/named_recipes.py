"""The recipes that the command line offers by name, each with its source, its command and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from omnireid.training.augmentation import Augmentation
from omnireid.training.recipes import Recipe


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe that the command line offers by name.

    Attributes:
        recipe: Its values.
        summary: What it is for, in one line.
    """

    recipe: Recipe
    summary: str


# The paper's recipe for training from random weights.
# Source: Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019, section 4.1.
# Command: omnireid train scratch --data Market-1501-v15.09.15 --output runs/scratch
# Cost: 350 epochs of 979 M multiply-adds a crop; meant for a GPU. It was never run to its end here.
# Expected (published, not measured here): Market-1501 rank-1 93.6, mAP 81.0.
SCRATCH = Recipe(
    epochs=350,
    optimiser="sgd",
    learning_rate=0.065,
    schedule="step",
    milestones=("150/350", "225/350", "300/350"),
    augmentation=Augmentation(crop=0.5, patch=0.5),
)

# The paper's recipe for weights that were trained before, on ImageNet or another data set.
# Source: the same paper, section 4.1. AMSGrad is Adam's variant of Reddi et al., 2018.
# Command: omnireid train finetune --weights WEIGHTS --data Market-1501-v15.09.15 --output runs/finetune
# Cost: 150 epochs of 979 M multiply-adds a crop; meant for a GPU. It was never run to its end here.
# Expected (published, from ImageNet weights, not measured here): Market-1501 rank-1 94.8, mAP 84.9.
FINETUNE = Recipe(
    epochs=150,
    optimiser="adam",
    amsgrad=True,
    learning_rate=0.0015,
    schedule="step",
    milestones=("60/150", "120/150"),
    frozen_epochs="10/150",
    augmentation=Augmentation(erasing=0.5),
)

# Our recipe: the paper's loss and optimiser, with four times the weight decay, a cosine schedule instead of steps, a
# moving average of the weights, and small crops first. docs/results.md has what each change gave.
# Command: omnireid train speedrun --data Market-1501-v15.09.15 --output runs/speedrun
# Cost: 70 epochs, each with about half of `scratch`'s multiply-adds; meant for a GPU, and not run on one yet.
# Expected: docs/results.md has the scores of osnet_x0_25; osnet_x1_0 was not run.
SPEEDRUN = Recipe(
    epochs=70,
    resolutions=("96x48@0", "192x96@28/70", "256x128@56/70"),
    optimiser="sgd",
    learning_rate=0.065,
    weight_decay=2e-3,
    schedule="cosine",
    warmup_epochs="5/70",
    augmentation=Augmentation(crop=0.5, erasing=0.3),
    average=0.999,
    precision="auto",
)

# The first cycle of the shipped `osnet_x0_25.market1501`: `speedrun` at sizes that two CPU cores can afford.
# Command: torchrun --standalone --nproc-per-node 2 -m omnireid train laptop --threads 1 --data MARKET --output RUN
# Cost: 128 minutes on two cores of an EPYC (Zen 4), which other work shared almost all the time.
# Result of one run: Market-1501 rank-1 86.2, mAP 70.0 (Euclidean). The spread over seeds was not measured.
LAPTOP = replace(
    SPEEDRUN,
    model="osnet_x0_25",
    epochs=75,
    resolutions=("96x48@0", "128x64@20/75", "192x96@39/75", "256x128@57/75"),
    warmup_epochs="5/75",
    evaluate_every=15,
)

# A second cycle after `laptop`, from its weights: stronger augmentation, and gates that weight decay does not switch
# off.
# Command: as for `laptop`, with marathon in its place and --weights RUN/last.safetensors
# Cost: 136 minutes on two cores of an EPYC (Zen 3), which did little else.
# Result of one run: Market-1501 rank-1 87.2, mAP 71.5 (Euclidean). The spread over seeds was not measured.
MARATHON = replace(
    LAPTOP,
    epochs=50,
    resolutions=("128x64@0", "192x96@8/50", "256x128@36/50"),
    learning_rate=0.04,
    gate_weight_decay=0.0,
    warmup_epochs="3/50",
    augmentation=Augmentation(crop=0.5, patch=0.3, erasing=0.5),
    evaluate_every=0,
)

# The last cycle of the shipped `osnet_x0_25.market1501`, from the weights of `marathon`: a triplet loss beside the
# identities. Give it trained weights: from random ones a triplet loss held the network back. Its weight is small,
# its rate low and its warm-up slow: a larger weight, or a higher rate after a shorter warm-up, undid what was learned.
# Command: as for `marathon`, with triplet in its place and --weights RUN/last.safetensors
# Cost: 88 minutes on two cores of an EPYC (Zen 3), which did little else.
# Result of one run: Market-1501 rank-1 88.9, mAP 75.2 (Euclidean). The spread over seeds was not measured.
TRIPLET = replace(
    MARATHON,
    epochs=26,
    resolutions=("192x96@0", "256x128@10/26"),
    sampler="identity",
    balance_cameras=True,
    triplet_weight=0.2,
    learning_rate=0.02,
    warmup_epochs="3/26",
    frozen_epochs="1/26",
)

# Minutes on a CPU, to see that a network can learn from your data; `make quickstart-training` runs it.
# Command: omnireid train quick --data DATA --output runs/quick
# Cost and result: docs/results.md.
QUICK = replace(
    SPEEDRUN,
    model="osnet_x0_25",
    epochs=40,
    resolutions=("64x32@0", "96x48@24/40"),
    batch_size=32,
    warmup_epochs="2/40",
    weight_decay=4e-3,
    augmentation=Augmentation(crop=0.5),
    average=0.998,
    evaluate_every=10,
)

# For cameras that the network never saw: several data sets, a teacher, and crops whose colours and sharpness vary.
# It starts from trained weights: from random ones, the same losses had learned nothing useful after an epoch.
# Command, cost and result: docs/results.md, "Weights for other cameras".
GENERAL = Recipe(
    model="osnet_x0_25",
    epochs=14,
    resolutions=("128x64@0", "192x96@8/14", "256x128@12/14"),
    identity_weight=0.5,
    teacher_weight=0.5,
    graph_weight=1.0,
    optimiser="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    warmup_epochs="1/14",
    average=0.999,
    augmentation=Augmentation(
        crop=0.7,
        jitter=0.8,
        brightness=0.35,
        contrast=0.35,
        saturation=0.4,
        tint=0.12,
        blur=0.3,
        blur_sigma=0.012,
        erasing=0.2,
    ),
    precision="auto",
    evaluate_every=2,
    distance="cosine",
)

# An image classifier on any image folder, whose weights start a re-identification run with --weights. The pictures are
# square and small; the random crop shifts and enlarges them by up to a quarter.
# Command: torchrun --standalone --nproc-per-node 2 -m omnireid train classify --threads 1 --data IMAGES --output RUN
# Cost and result, of 15 epochs: docs/results.md, "From scratch, or from a classifier of pictures?"
CLASSIFY = replace(
    SPEEDRUN,
    task="classify",
    model="osnet_x0_25",
    epochs=20,
    resolutions=("64x64@0",),
    weight_decay=5e-4,
    warmup_epochs="1/20",
    augmentation=Augmentation(crop=1.0, crop_scale=1.25),
    evaluate_every=5,
    metric="top1",
)

RECIPES: Mapping[str, NamedRecipe] = MappingProxyType(
    {
        "scratch": NamedRecipe(SCRATCH, "the paper's recipe for random weights, 350 epochs"),
        "finetune": NamedRecipe(
            FINETUNE, "the paper's recipe for given weights, 150 epochs, the first 10 for the head"
        ),
        "speedrun": NamedRecipe(SPEEDRUN, "our recipe, the best scores for the time, 70 epochs"),
        "laptop": NamedRecipe(LAPTOP, "from random weights on two CPU cores, one to two hours"),
        "marathon": NamedRecipe(MARATHON, "a second cycle from the weights of laptop, over two hours on two CPU cores"),
        "triplet": NamedRecipe(TRIPLET, "a last cycle from trained weights, with a triplet loss, 26 epochs"),
        "general": NamedRecipe(GENERAL, "several data sets and a teacher, for cameras that the network never saw"),
        "quick": NamedRecipe(QUICK, "small crops for 40 epochs, minutes on a CPU for a few thousand crops"),
        "classify": NamedRecipe(CLASSIFY, "an image classifier on any image folder, to start other runs from"),
    }
)
"""Recipes by their names on the command line."""
