"""Recipes: everything that decides what a training run does to the weights, as frozen values.

Every field is a flag of ``omnireid train``. Two runs with the same recipe, seed,
data set and number of threads on one machine end in the same weights. Settings
that only decide how a run is carried out (device, folders) are `RunOptions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from omnireid.errors import RecipeError
from omnireid.terms import DISTANCES, Distance
from omnireid.training.augmentation import Augmentation
from omnireid.training.schedules import Schedule, ScheduleName
from omnireid.training.timetable import Moment, Timetable, read_timetable

TaskName = Literal["reidentify", "classify"]
SamplerName = Literal["random", "identity"]
HeadName = Literal["linear", "bnneck", "cosine"]
OptimiserName = Literal["sgd", "adam", "adamw"]
TrainingPrecision = Literal["auto", "fp64", "fp32", "bf16", "fp16"]
MetricName = Literal["mean_average_precision", "rank1", "top1", "top5"]

METRICS: Mapping[TaskName, tuple[MetricName, ...]] = MappingProxyType(
    {"reidentify": ("rank1", "mean_average_precision"), "classify": ("top1", "top5")}
)
"""The scores of each task that are logged and can choose the ``best`` weights."""


@dataclass(frozen=True)
class Recipe:
    """What a training run does. The defaults are the paper's where the paper gives a value.

    `resolutions`, `milestones`, `warmup_epochs` and `frozen_epochs` say when something happens. Written as an epoch
    (``150``), a moment stays where it is; written as an epoch of a run of some length (``150/350``), it moves with
    `epochs`.

    Attributes:
        model: Name of the network; ``omnireid models`` lists them.
        task: What is learned: to ``reidentify`` people in crops, scored by a ranking, or to ``classify`` the pictures
            of an image folder, scored by top-1 and top-5. A class then takes the place of an identity.
        epochs: Number of passes over the training crops.
        resolutions: Input sizes, each with the first epoch it is used in (height x width @ epoch), such as
            ``96x48@0 128x64@40`` or ``96x48@0 128x64@24/40``. The weights are meant for the last one.
        batch_size: Crops in one step, over all ranks and accumulated parts together.
        accumulate: Number of parts in which a rank computes its share of a batch, to save memory. Batch norms see
            one part at a time.
        sampler: ``random`` crops, or ``identity``: several crops of each identity in a batch.
        images_per_identity: Crops of each identity in a batch, for the identity sampler (K in the literature).
        balance_cameras: Let the identity sampler spread an identity's crops over its cameras.
        head: Classifier used in training: ``linear`` (the paper's), ``bnneck`` or ``cosine``.
        cosine_scale: Factor by which the cosine head multiplies its cosines.
        cosine_margin: Margin that the cosine head subtracts from the true identity's cosine.
        label_smoothing: Label smoothing of the cross-entropy, in [0, 1).
        identity_weight: Weight of the cross-entropy over identities; 0 learns from a teacher alone.
        teacher_weight: Weight of the loss that pulls a projection of the embedding towards the teacher's embedding.
        graph_weight: Weight of the loss that gives a batch the similarities it has for the teacher.
        graph_temperature: Temperature of those similarities; a small one looks at the nearest crops only.
        attribute_weight: Weight of the loss over attributes of the crops (weighted sigmoid cross-entropy).
        triplet_weight: Weight of the batch-hard triplet loss beside the cross-entropy; 0 leaves it out.
        triplet_margin: Margin of the triplet loss; None means the soft margin, log(1 + exp(difference)).
        optimiser: ``sgd``, ``adam`` or ``adamw``.
        learning_rate: Highest learning rate of the run.
        head_learning_rate: Learning rate of the head, as a multiple of the network's.
        momentum: Momentum for SGD.
        nesterov: Use Nesterov's momentum with SGD.
        amsgrad: Use the AMSGrad variant of Adam or AdamW.
        weight_decay: Weight decay, applied to all weights.
        gate_weight_decay: Weight decay for OSNet's gates instead; None means that of all weights. Before a batch norm,
            decay only changes the size of a step; a gate has no norm, and decay pulls it towards a constant.
        schedule: How the learning rate falls: ``constant``, ``step``, ``linear`` or ``cosine``.
        milestones: Moments at which ``step`` multiplies the learning rate by `decay`.
        decay: Factor for the learning rate at each milestone.
        warmup_epochs: Epochs over which the learning rate rises from 0; fractions are allowed.
        frozen_epochs: Number of first epochs in which only the head learns.
        clip_norm: Largest norm of the gradient; longer gradients are shortened to it. 0 means no limit.
        average: Decay per step of the moving average of the weights; 0 means no average. The average, if there is
            one, is what is evaluated and written.
        augmentation: What may happen to a crop before it is trained on.
        precision: Number format of the network's arithmetic; heads, losses and weights are always float32. ``auto`` is
            bfloat16 where the device computes in it, else float32. ``fp64``
            computes everything in float64, for checks: an untrained network amplifies rounding errors into a
            different loss curve within a few steps.
        synchronise_norms: Compute batch norms over all ranks, rather than over each rank's share.
        evaluate_every: Epochs between two evaluations; 0 evaluates only at the end.
        metric: Score by which the ``best`` weights are chosen: ``mean_average_precision`` or ``rank1`` of a ranking,
            ``top1`` or ``top5`` of a classifier.
        distance: Distance by which people are scored, and which the weights name as theirs; ``cosine`` suits a
            network that learned from a teacher, since both losses of a teacher compare by cosine.
        seed: Seed for initial weights, batches and augmentation.

    Raises:
        RecipeError: A value is out of its range; the message names the flag.
    """

    model: str = "osnet_x1_0"
    task: TaskName = "reidentify"
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
    identity_weight: float = 1.0
    teacher_weight: float = 0.0
    graph_weight: float = 0.0
    graph_temperature: float = 0.1
    attribute_weight: float = 0.0
    triplet_weight: float = 0.0
    triplet_margin: float | None = None
    optimiser: OptimiserName = "sgd"
    learning_rate: float = 0.065
    head_learning_rate: float = 1.0
    momentum: float = 0.9
    nesterov: bool = False
    amsgrad: bool = False
    weight_decay: float = 5e-4
    gate_weight_decay: float | None = None
    schedule: ScheduleName = "step"
    milestones: tuple[Moment, ...] = ()
    decay: float = 0.1
    warmup_epochs: Moment = 0.0
    frozen_epochs: Moment = 0
    clip_norm: float = 0.0
    average: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: TrainingPrecision = "fp32"
    synchronise_norms: bool = False
    evaluate_every: int = 0
    metric: MetricName = "mean_average_precision"
    distance: Distance = "euclidean"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolutions", tuple(self.resolutions))  # JSON gives lists and dictionaries
        object.__setattr__(self, "milestones", tuple(self.milestones))
        if isinstance(self.augmentation, Mapping):
            object.__setattr__(self, "augmentation", Augmentation(**self.augmentation))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise RecipeError(f"{_flag(name)} {getattr(self, name)!r} is not known: {', '.join(choices)}.")
        if self.metric not in METRICS[self.task]:
            raise RecipeError(
                f"--metric {self.metric!r} is no score of --task {self.task}, whose scores are: "
                f"{', '.join(METRICS[self.task])}."
            )
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise RecipeError(f"{_flag(name)} must lie between {low} and {high}; got {value}.")
        if self.batch_size % self.accumulate:
            raise RecipeError(
                f"--accumulate {self.accumulate} does not divide --batch-size {self.batch_size}: its parts must be "
                "of one size."
            )
        if self.nesterov and self.momentum == 0:
            raise RecipeError("--nesterov needs a momentum above 0.")
        _ = self.rate_schedule  # which checks the moments too

    @property
    def needs_teacher(self) -> bool:
        """Whether a loss of the recipe compares with a teacher."""
        return self.teacher_weight > 0 or self.graph_weight > 0

    @property
    def timetable(self) -> Timetable:
        """The recipe's moments, in epochs of a run of `epochs`."""
        return read_timetable(
            self.epochs,
            resolutions=self.resolutions,
            milestones=self.milestones,
            warmup_epochs=self.warmup_epochs,
            frozen_epochs=self.frozen_epochs,
        )

    @property
    def rate_schedule(self) -> Schedule:
        """How the learning rate moves over the run, as a factor on `learning_rate`."""
        timetable = self.timetable
        return Schedule(
            kind=self.schedule,
            epochs=self.epochs,
            warmup_epochs=timetable.warmup_epochs,
            milestones=timetable.milestones,
            factor=self.decay,
        )

    def json(self) -> dict[str, Any]:
        """The recipe as plain values, its moments in epochs of this run; ``Recipe(**values)`` reads them back."""
        timetable = self.timetable
        values = asdict(self) | {
            "resolutions": [f"{size.height}x{size.width}@{size.first_epoch}" for size in timetable.resolutions],
            "milestones": list(timetable.milestones),
            "warmup_epochs": timetable.warmup_epochs,
            "frozen_epochs": timetable.frozen_epochs,
        }
        augmentation = {
            name: list(value) if isinstance(value, tuple) else value for name, value in values["augmentation"].items()
        }
        return values | {"augmentation": augmentation}


def flag_values(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's JSON as one value per flag of the command line, by field name.

    What the JSON lacks gets its default: a field that came later did nothing before. So the recipes of older runs,
    whose augmentation stood beside the other fields, compare with new ones.
    """
    known = Recipe().json()
    nested = known.pop("augmentation")
    given = {name: value for name, value in recipe.items() if name != "augmentation"}
    flags: dict[str, Any] = {**known, **nested, **given, **recipe.get("augmentation", {})}
    return flags


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "task": get_args(TaskName),
    "sampler": get_args(SamplerName),
    "head": get_args(HeadName),
    "optimiser": get_args(OptimiserName),
    "schedule": get_args(ScheduleName),
    "precision": get_args(TrainingPrecision),
    "distance": DISTANCES,
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
    "identity_weight": (0, _MANY),
    "teacher_weight": (0, _MANY),
    "graph_weight": (0, _MANY),
    "graph_temperature": (1e-3, _MANY),
    "attribute_weight": (0, _MANY),
    "triplet_weight": (0, _MANY),
    "learning_rate": (0, _MANY),
    "head_learning_rate": (0, _MANY),
    "momentum": (0, 1 - 1e-6),
    "weight_decay": (0, _MANY),
    "gate_weight_decay": (0, _MANY),
    "decay": (0, 1),
    "clip_norm": (0, _MANY),
    "average": (0, 1 - 1e-9),
    "evaluate_every": (0, _MANY),
    "seed": (0, 2**63 - 1),
}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
