"""The part of a run that learns: network, head and optimiser, and one step of all three."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from omnireid.images.preprocess import IMAGENET_MEAN, IMAGENET_STD
from omnireid.models.backbone import Backbone
from omnireid.models.blocks import ChannelGate, FixedGates
from omnireid.training.augmentation_plan import apply_plan
from omnireid.training.averaging import MovingAverage
from omnireid.training.distributed import Ranks
from omnireid.training.feeding import TrainingBatch
from omnireid.training.head import create_head, create_projection
from omnireid.training.imitation import cosine_loss, similarity_graph_loss
from omnireid.training.losses import attribute_loss, batch_hard_triplet, cross_entropy
from omnireid.training.precision import autocast
from omnireid.training.recipes import Recipe
from omnireid.training.synchronised_norm import synchronise_norms

LOSS_NAMES = ("loss", "cross_entropy_loss", "triplet_loss", "teacher_loss", "graph_loss", "attribute_loss")
"""What `Learner.step` returns, in order: the weighted sum, then its parts without their weights."""


class _Trainee(nn.Module):
    """Network, heads and projection as one module, so that one DDP reducer handles all gradients."""

    def __init__(
        self, network: nn.Module, head: nn.Module, projection: nn.Module | None, attribute_head: nn.Module | None
    ) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.projection = projection
        self.attribute_head = attribute_head

    def forward(self, images: Tensor, identities: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        embeddings = self.network(images)
        projected = embeddings if self.projection is None else self.projection(embeddings)
        attributes = None if self.attribute_head is None else self.attribute_head(embeddings)
        return embeddings, self.head(embeddings, identities), projected, attributes


class Learner:
    """Network, head, optimiser, schedule and moving average of a run.

    Args:
        recipe: What to do.
        network: The network, which is trained in place and moved to the device.
        num_classes: Number of identities, or classes, in the training data.
        steps_an_epoch: Number of steps in an epoch, which the schedule needs.
        device: Device to compute on.
        ranks: This process among the ranks of the run.
        compile_network: Compile the network with ``torch.compile``.
        target_width: Width of the teacher's embeddings; None without a teacher.
        attribute_count: Number of attributes that are learned; 0 without any.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: Backbone,
        num_classes: int,
        *,
        steps_an_epoch: int,
        device: torch.device,
        ranks: Ranks,
        compile_network: bool = False,
        target_width: int | None = None,
        attribute_count: int = 0,
    ) -> None:
        self.recipe = recipe
        self.device = device
        self.ranks = ranks
        self.steps_an_epoch = steps_an_epoch
        head = create_head(
            recipe.head,
            network.embedding_width,
            num_classes,
            generator=torch.Generator().manual_seed(recipe.seed + 1),
            scale=recipe.cosine_scale,
            margin=recipe.cosine_margin,
        )
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.synchronise_norms and ranks.world_size > 1:
            synchronise_norms(self.network)
        self.head = head.to(device)
        if recipe.precision == "fp64":
            self.network.double()
            self.head.double()
        self.projection = self._create_projection(target_width if recipe.teacher_weight else None, 2)
        self.attribute_head = self._create_projection(attribute_count or None, 3)
        further = [module for module in (self.projection, self.attribute_head) if module is not None]
        self.optimiser = _create_optimiser(recipe, self.network, [self.head, *further])
        self.schedule = recipe.rate_schedule
        self.frozen_epochs = recipe.timetable.frozen_epochs
        self.average = MovingAverage(self.network, recipe.average) if recipe.average else None
        # The head of a classifier is scored with the averaged network, so it is averaged too. Any other is not used.
        is_head_averaged = recipe.average > 0 and recipe.task == "classify"
        self.head_average = MovingAverage(self.head, recipe.average) if is_head_averaged else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self._trainee = _Trainee(self.network, self.head, self.projection, self.attribute_head)
        if compile_network:
            self.network.compile()
        self._wrapped: nn.Module | None = None
        self._frozen = False

    def rate_at(self, step: int) -> float:
        """The network's learning rate at a step, counted from 0."""
        return self.recipe.learning_rate * self.schedule.factor_at(step / self.steps_an_epoch)

    def begin_epoch(self, epoch: int) -> None:
        """Freeze or unfreeze the network as the recipe says, and put network and head into training mode."""
        frozen = epoch < self.frozen_epochs
        if self._wrapped is None or frozen != self._frozen:
            self.network.requires_grad_(not frozen)
            self._frozen = frozen
            # A DDP reducer fixes which gradients it waits for when it is made, so it is made anew.
            self._wrapped = self._distribute() if self.ranks.world_size > 1 else self._trainee
        self.head.train()
        self.network.train(not frozen)

    def step(self, batch: TrainingBatch, step: int) -> Tensor:
        """Take one optimiser step on a rank's share of a batch, without waiting for the GPU.

        Args:
            batch: This rank's crops.
            step: Counted from 0 over the whole run; it decides the learning rate.

        Returns:
            One value for each of `LOSS_NAMES`, on the device, each the mean over this rank's crops.
        """
        recipe = self.recipe
        rate = self.rate_at(step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["multiple"]
        images = apply_plan(batch.images, batch.plan, batch.patch_images, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        if recipe.precision == "fp64":
            images = images.double()
        self.optimiser.zero_grad(set_to_none=True)
        parts = torch.zeros(len(LOSS_NAMES), device=self.device)
        count = recipe.accumulate
        targets = [None] * count if batch.targets is None else batch.targets.chunk(count)
        attributes = [None] * count if batch.attributes is None else batch.attributes.chunk(count)
        shares = list(zip(images.chunk(count), batch.identities.chunk(count), targets, attributes, strict=True))
        for number, share in enumerate(shares, start=1):
            with self._accumulating(last=number == len(shares)):
                loss, terms = self._loss(*share)
                self.scaler.scale(loss / len(shares)).backward()  # type: ignore[no-untyped-call]
            parts += terms / len(shares)
        if recipe.clip_norm:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self._trainee.parameters(), recipe.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        for average in (self.average, self.head_average):
            if average is not None:
                average.update()
        return parts

    def averaged_state(self) -> Mapping[str, Tensor]:
        """The weights to evaluate and to write: the moving average if the recipe has one, else the network's own."""
        return self.network.state_dict() if self.average is None else self.average.values

    def averaged_head(self) -> nn.Module:
        """A copy of the head for scoring, in float32 and evaluation mode, with its moving average if it has one."""
        head = copy.deepcopy(self.head)
        if self.head_average is not None:
            head.load_state_dict(self.head_average.values)
        return head.float().eval()

    def state_dict(self) -> dict[str, Any]:
        """All state that a checkpoint needs."""
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": {str(index): values for index, values in self.optimiser.state_dict()["state"].items()},
            "scaler": self.scaler.state_dict(),
        }
        if self.projection is not None:
            state["projection"] = self.projection.state_dict()
        if self.attribute_head is not None:
            state["attribute_head"] = self.attribute_head.state_dict()
        if self.average is not None:
            state["average"] = self.average.state_dict()
        if self.head_average is not None:
            state["head_average"] = self.head_average.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.head.load_state_dict(state["head"])
        if self.projection is not None:
            self.projection.load_state_dict(state["projection"])
        if self.attribute_head is not None:
            self.attribute_head.load_state_dict(state["attribute_head"])
        groups = self.optimiser.state_dict()["param_groups"]
        optimiser = {int(index): values for index, values in state.get("optimiser", {}).items()}
        self.optimiser.load_state_dict({"state": optimiser, "param_groups": groups})
        self.scaler.load_state_dict(state.get("scaler", {}))
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.head_average is not None:
            self.head_average.load_state_dict(state["head_average"])

    def _create_projection(self, target_width: int | None, seed: int) -> nn.Module | None:
        """A linear map from embeddings to a teacher's space or to attributes; None where no width is given."""
        if target_width is None:
            return None
        generator = torch.Generator().manual_seed(self.recipe.seed + seed)
        projection = create_projection(self.network.embedding_width, target_width, generator=generator)
        projection.to(self.device, torch.float64 if self.recipe.precision == "fp64" else torch.float32)
        return projection

    def _loss(
        self, images: Tensor, identities: Tensor, targets: Tensor | None, attributes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The weighted sum of the recipe's losses, and the values for `LOSS_NAMES`."""
        assert self._wrapped is not None
        recipe = self.recipe
        with autocast(recipe.precision, self.device):
            embeddings, logits, projected, attribute_logits = self._wrapped(images, identities)
        entropy = cross_entropy(logits, identities, smoothing=recipe.label_smoothing)
        parts = [entropy, *[torch.zeros_like(entropy)] * 4]
        if recipe.triplet_weight:
            parts[1] = batch_hard_triplet(embeddings, identities, margin=recipe.triplet_margin, ranks=self.ranks)
        if targets is not None and recipe.teacher_weight:
            parts[2] = cosine_loss(projected, targets)
        if targets is not None and recipe.graph_weight:
            temperature = recipe.graph_temperature
            parts[3] = similarity_graph_loss(embeddings, targets, temperature=temperature, ranks=self.ranks)
        if attributes is not None:
            parts[4] = attribute_loss(attribute_logits, attributes)
        weights = (
            *(recipe.identity_weight, recipe.triplet_weight, recipe.teacher_weight, recipe.graph_weight),
            recipe.attribute_weight,
        )
        # A loss of weight 0 stays in the sum, where it changes nothing: a DDP reducer waits for the head's gradient.
        loss = torch.stack([weight * part for weight, part in zip(weights, parts, strict=True)]).sum()
        return loss, torch.stack([loss, *parts]).detach()

    def _accumulating(self, *, last: bool) -> AbstractContextManager[object]:
        """A context in which gradients stay on their rank, for all parts of a batch but the last."""
        if isinstance(self._wrapped, DistributedDataParallel) and not last:
            return self._wrapped.no_sync()
        return nullcontext()

    def _distribute(self) -> nn.Module:
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(self._trainee, device_ids=devices, gradient_as_bucket_view=True)


def logged_losses(recipe: Recipe) -> frozenset[str]:
    """The losses of `LOSS_NAMES` worth a curve: the sum, and its parts where there are several."""
    parts = {
        "triplet_loss": recipe.triplet_weight,
        "teacher_loss": recipe.teacher_weight,
        "graph_loss": recipe.graph_weight,
        "attribute_loss": recipe.attribute_weight,
    }
    used = {name for name, weight in parts.items() if weight}
    return frozenset({"loss", "cross_entropy_loss", *used} if used else {"loss"})


def _create_optimiser(recipe: Recipe, network: nn.Module, heads: Sequence[nn.Module]) -> torch.optim.Optimizer:
    """The recipe's optimiser.

    One group is the network, one everything that learns on its embeddings, and one the gates if the recipe has a weight
    decay for them.
    """
    gates: list[nn.Module] = []
    if recipe.gate_weight_decay is not None:
        gates = [module for module in network.modules() if isinstance(module, ChannelGate | FixedGates)]
    apart = {id(weight) for gate in gates for weight in gate.parameters()}
    rest = [weight for weight in network.parameters() if weight.requires_grad and id(weight) not in apart]
    groups: list[dict[str, Any]] = [
        {"params": rest, "multiple": 1.0},
        {"params": _trained_weights(heads), "multiple": recipe.head_learning_rate},
    ]
    if apart:
        groups.append({"params": _trained_weights(gates), "multiple": 1.0, "weight_decay": recipe.gate_weight_decay})
    decay = recipe.weight_decay
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=decay
        )
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, weight_decay=decay, amsgrad=recipe.amsgrad)


def _trained_weights(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [weight for module in modules for weight in module.parameters() if weight.requires_grad]
