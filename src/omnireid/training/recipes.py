"""Recipes: everything that decides what a training run does to the weights, as frozen values.

Every field is a flag of ``omnireid train``; two runs of one recipe, seed and data
set on one machine end in the same weights. What only decides how a run is
carried out (device, threads, where to) is not part of a recipe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, get_args

from omnireid.errors import RecipeError

SamplerName = Literal["random", "identity"]
HeadName = Literal["linear", "bnneck", "cosine"]
OptimiserName = Literal["sgd", "adam", "adamw"]
ScheduleName = Literal["constant", "step", "linear", "cosine"]
Precision = Literal["fp64", "fp32", "bf16", "fp16"]
MetricName = Literal["mean_average_precision", "rank1"]


@dataclass(frozen=True)
class Resolution:
    """The input size from an epoch on.

    Attributes:
        first_epoch: counted from 0.
        height: of the network's input, in pixels.
        width: likewise.
    """

    first_epoch: int
    height: int
    width: int


@dataclass(frozen=True)
class Recipe:
    """What a training run does. Defaults are the paper's where it says something.

    Attributes:
        model: the network, a name that ``omnireid models`` lists.
        epochs: passes over the crops.
        resolutions: input size from an epoch on, such as ``96x48@0 128x64@40`` (height × width, first epoch); the
            last one is the size the weights are used at.
        batch_size: crops a step, over all ranks and accumulated parts together.
        accumulate: parts that a rank splits its share of a batch into, to save memory; batch norms see the parts.
        sampler: ``random``, or ``identity``: batches of identities with several crops of each.
        images_per_identity: K of the identity sampler.
        balance_cameras: have the identity sampler take an identity's crops from different cameras first.
        head: ``linear`` on the embedding (the paper's), ``bnneck`` or ``cosine``.
        cosine_scale: what the cosine head multiplies its cosines by.
        cosine_margin: what it takes from the cosine of the true identity.
        label_smoothing: of the cross-entropy, in [0, 1).
        triplet_weight: of the batch-hard triplet loss beside the cross-entropy; 0 is none.
        triplet_margin: of the triplet loss; None is the soft margin.
        optimiser: ``sgd``, ``adam`` or ``adamw``.
        learning_rate: at its highest.
        head_learning_rate: of the head, as a multiple of the network's.
        momentum: of SGD.
        nesterov: Nesterov's momentum for SGD.
        amsgrad: AMSGrad for Adam and AdamW.
        weight_decay: on all weights.
        schedule: how the learning rate falls: ``constant``, ``step``, ``linear`` or ``cosine``.
        milestones: epochs at which ``step`` multiplies the rate by `decay`.
        decay: what ``step`` multiplies by.
        warmup_epochs: over which the rate rises from 0; parts of an epoch are fine.
        frozen_epochs: first epochs in which only the head learns.
        clip_norm: the gradient's longest norm; 0 is no limit.
        average: decay of the moving average of the weights, a step; 0 is none. Where there is one, it is what is
            evaluated and written.
        flip: probability of a horizontal flip.
        crop: probability of the random crop.
        crop_scale: how much the image is enlarged before it is cropped back.
        erasing: probability of random erasing.
        patch: probability of a random patch.
        jitter: probability of the colour jitter.
        brightness: strength of the jitter of brightness; factors lie in [1 - strength, 1 + strength].
        contrast: likewise, of contrast.
        saturation: likewise, of saturation.
        precision: of the network's arithmetic; heads, losses and weights are float32. ``fp64`` is float64 throughout,
            for checks: untrained, the network turns rounding errors into other curves within a few steps.
        synchronise_norms: batch norms over all ranks instead of each its own.
        evaluate_every: epochs between two evaluations; 0 is only at the end.
        metric: what ``best`` is chosen by.
        seed: of weights, batches and augmentation.

    Raises:
        RecipeError: a value is out of its range; the message names the flag.
    """

    model: str = "osnet_x1_0"
    epochs: int = 350
    resolutions: tuple[str, ...] = ("256x128@0",)
    batch_size: int = 64
    accumulate: int = 1
    sampler: SamplerName = "random"
    images_per_identity: int = 4
    balance_cameras: bool = False
    head: HeadName = "linear"
    cosine_scale: float = 16.0
    cosine_margin: float = 0.0
    label_smoothing: float = 0.1
    triplet_weight: float = 0.0
    triplet_margin: float | None = None
    optimiser: OptimiserName = "sgd"
    learning_rate: float = 0.065
    head_learning_rate: float = 1.0
    momentum: float = 0.9
    nesterov: bool = False
    amsgrad: bool = False
    weight_decay: float = 5e-4
    schedule: ScheduleName = "step"
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    warmup_epochs: float = 0.0
    frozen_epochs: int = 0
    clip_norm: float = 0.0
    average: float = 0.0
    flip: float = 0.5
    crop: float = 0.0
    crop_scale: float = 1.125
    erasing: float = 0.0
    patch: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    precision: Precision = "fp32"
    synchronise_norms: bool = False
    evaluate_every: int = 0
    metric: MetricName = "mean_average_precision"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolutions", tuple(self.resolutions))  # JSON gives lists
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise RecipeError(f"{_flag(name)} {getattr(self, name)!r} is not known: {', '.join(choices)}.")
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise RecipeError(f"{_flag(name)} must lie between {low} and {high}; got {getattr(self, name)}.")
        if self.batch_size % self.accumulate:
            raise RecipeError(
                f"--accumulate {self.accumulate} does not divide --batch-size {self.batch_size}: its parts must be "
                "of one size."
            )
        if self.frozen_epochs >= self.epochs:
            raise RecipeError(
                f"--frozen-epochs {self.frozen_epochs} leaves none of the {self.epochs} epochs to train the network."
            )
        if self.nesterov and self.momentum == 0:
            raise RecipeError("--nesterov needs a momentum above 0.")
        _ = self.phases

    @property
    def phases(self) -> tuple[Resolution, ...]:
        """`resolutions`, read: input sizes in the order of their first epochs."""
        phases = tuple(_read_resolution(text) for text in self.resolutions)
        firsts = [phase.first_epoch for phase in phases]
        if not phases or firsts[0] != 0 or any(b <= a for a, b in pairwise(firsts)):
            raise RecipeError(
                f"--resolutions must start at epoch 0 and go up, such as 96x48@0 128x64@40; got "
                f"{' '.join(self.resolutions) or 'none'}."
            )
        if firsts[-1] >= self.epochs:
            raise RecipeError(
                f"--resolutions: {self.resolutions[-1]} begins after the last of {self.epochs} epochs, so the weights "
                "would never see the size they are meant for."
            )
        return phases

    def resolution_at(self, epoch: int) -> Resolution:
        """The input size in an epoch, counted from 0."""
        return max((phase for phase in self.phases if phase.first_epoch <= epoch), key=lambda phase: phase.first_epoch)

    def json(self) -> dict[str, Any]:
        """The recipe as plain values; tuples become lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "sampler": get_args(SamplerName),
    "head": get_args(HeadName),
    "optimiser": get_args(OptimiserName),
    "schedule": get_args(ScheduleName),
    "precision": get_args(Precision),
    "metric": get_args(MetricName),
}
_MANY = 10**9
_RANGES: Mapping[str, tuple[float, float]] = {
    "epochs": (1, _MANY),
    "batch_size": (2, _MANY),
    "accumulate": (1, _MANY),
    "images_per_identity": (1, _MANY),
    "cosine_scale": (1e-3, _MANY),
    "cosine_margin": (0, 1),
    "label_smoothing": (0, 1 - 1e-6),
    "triplet_weight": (0, _MANY),
    "learning_rate": (0, _MANY),
    "head_learning_rate": (0, _MANY),
    "momentum": (0, 1 - 1e-6),
    "weight_decay": (0, _MANY),
    "decay": (0, 1),
    "warmup_epochs": (0, _MANY),
    "frozen_epochs": (0, _MANY),
    "clip_norm": (0, _MANY),
    "average": (0, 1 - 1e-9),
    "flip": (0, 1),
    "crop": (0, 1),
    "crop_scale": (1, 4),
    "erasing": (0, 1),
    "patch": (0, 1),
    "jitter": (0, 1),
    "brightness": (0, 1),
    "contrast": (0, 1),
    "saturation": (0, 1),
    "evaluate_every": (0, _MANY),
    "seed": (0, 2**63 - 1),
}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _read_resolution(text: str) -> Resolution:
    found = re.fullmatch(r"(\d+)x(\d+)@(\d+)", text)
    if found is None:
        raise RecipeError(
            f"--resolutions {text!r} cannot be read: write height x width @ first epoch, such as 128x64@40."
        )
    height, width, first_epoch = (int(group) for group in found.groups())
    if not (16 <= height <= 4096 and 16 <= width <= 4096):
        raise RecipeError(f"--resolutions {text}: height and width must lie between 16 and 4096 pixels.")
    return Resolution(first_epoch, height, width)


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe as the command line offers it.

    Attributes:
        recipe: its values.
        summary: what it is for, in one line.
    """

    recipe: Recipe
    summary: str


# From random weights, as the paper does.
# Source: Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019, section 4.1.
# Command: omnireid train scratch --data Market-1501-v15.09.15 --output runs/scratch
# Cost: 350 epochs of 979 M multiply-adds a crop; made for a GPU. Not run to its end here.
# Expected (published, not measured here): Market-1501 rank-1 93.6, mAP 81.0.
SCRATCH = Recipe(
    epochs=350,
    optimiser="sgd",
    learning_rate=0.065,
    schedule="step",
    milestones=(150, 225, 300),
    crop=0.5,
    patch=0.5,
)

# From weights that know something already (ImageNet's, or another data set's), as the paper does.
# Source: the same, section 4.1. AMSGrad is Adam's variant of Reddi et al., 2018.
# Command: omnireid train finetune --weights WEIGHTS --data Market-1501-v15.09.15 --output runs/finetune
# Cost: 150 epochs of 979 M multiply-adds a crop; made for a GPU. Not run to its end here.
# Expected (published, from ImageNet weights, not measured here): Market-1501 rank-1 94.8, mAP 84.9.
FINETUNE = Recipe(
    epochs=150,
    optimiser="adam",
    amsgrad=True,
    learning_rate=0.0015,
    schedule="step",
    milestones=(60, 120),
    frozen_epochs=10,
    erasing=0.5,
)

# Ours: the paper's loss and optimiser, four times the weight decay, a cosine instead of steps, a moving average of the
# weights, small crops first. What each of these gives is measured in docs/results.md.
# Command: omnireid train speedrun --data Market-1501-v15.09.15 --output runs/speedrun
# Cost: 70 epochs, about half of `scratch`'s multiply-adds an epoch; made for a GPU and not run on one yet.
# Expected: docs/results.md has what it gave osnet_x0_25; x1_0 was not run.
SPEEDRUN = Recipe(
    epochs=70,
    resolutions=("96x48@0", "192x96@28", "256x128@56"),
    optimiser="sgd",
    learning_rate=0.065,
    weight_decay=2e-3,
    schedule="cosine",
    warmup_epochs=5,
    crop=0.5,
    erasing=0.3,
    average=0.999,
    precision="bf16",
)

# The shipped model's: speedrun at the sizes two CPU cores can afford.
# Command: torchrun --standalone --nproc-per-node 2 -m omnireid train laptop --threads 1 --data MARKET --output RUN
# Cost: 128 minutes on two cores of an EPYC (Zen 4) that other work shared almost throughout.
# Result, one run: Market-1501 rank-1 86.2, mAP 70.0 (Euclidean). How far seeds differ was not measured.
LAPTOP = replace(
    SPEEDRUN,
    model="osnet_x0_25",
    epochs=75,
    resolutions=("96x48@0", "128x64@20", "192x96@39", "256x128@57"),
    evaluate_every=15,
)

# Minutes on a CPU: to see that data can be learned from, and for the quickstart.
# Command: omnireid train quick --data DATA --output runs/quick
# Cost and result: docs/results.md.
QUICK = replace(
    SPEEDRUN,
    model="osnet_x0_25",
    epochs=40,
    resolutions=("64x32@0", "96x48@24"),
    batch_size=32,
    warmup_epochs=2,
    weight_decay=4e-3,
    erasing=0.0,
    average=0.998,
    evaluate_every=10,
)

RECIPES: Mapping[str, NamedRecipe] = MappingProxyType(
    {
        "scratch": NamedRecipe(SCRATCH, "the paper's recipe from random weights: 350 epochs"),
        "finetune": NamedRecipe(FINETUNE, "the paper's recipe from given weights: 150 epochs, the head alone for 10"),
        "speedrun": NamedRecipe(SPEEDRUN, "ours: the best scores for the time, 70 epochs"),
        "laptop": NamedRecipe(LAPTOP, "what the shipped osnet_x0_25 was trained by: one to two hours on two CPU cores"),
        "quick": NamedRecipe(QUICK, "minutes on a CPU for a few thousand crops: 40 epochs of small ones"),
    }
)
"""Name, on the command line, to recipe."""
