"""Batch norms over all ranks: the statistics of the whole batch, on a CPU too, where torch's own refuse."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from omnireid.training.precision import at_least_float32


def synchronise_norms(model: nn.Module) -> None:
    """Make every batch norm of `model` take its training statistics over all ranks; instance norms stay.

    In place, and before the network is wrapped for the ranks: parameters, buffers and the names in the state dict stay
    what they were, so that an optimiser and checkpoints made before still fit. In evaluation, and in a run of one
    process, nothing changes. Networks on GPUs get torch's `nn.SyncBatchNorm`.

    Args:
        model: a network, already on its device.

    Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015; variances are joined as in Chan, Golub, LeVeque 1979.
    """
    if any(parameter.is_cuda for parameter in model.parameters()):
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return
    for module in model.modules():
        if type(module) is nn.BatchNorm1d:
            module.__class__ = SynchronisedNorm1d
        elif type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronisedNorm2d


class _SynchronisedNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm whose training forward is that of the ranks' batches put together."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Normalise (B, C, …) values; of one dtype and memory format with the input."""
        if not self.training or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        mean, variance, count = _joined_statistics(input.detach())
        self._track(mean, variance * count / (count - 1).clamp(min=1))
        normalised = _Normalise.apply(input, self.weight, self.bias, mean, variance, count, self.eps)  # type: ignore[no-untyped-call]
        return cast(Tensor, normalised)

    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Move the running statistics as torch does; no momentum means a plain average over all batches."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = torch.tensor(0.0 if self.momentum is None else self.momentum, dtype=torch.float64)
        weight = self.num_batches_tracked.double().reciprocal() if self.momentum is None else momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight.to(self.running_mean))
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), weight.to(self.running_var))


class SynchronisedNorm1d(_SynchronisedNorm, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over all ranks; see `synchronise_norms`."""


class SynchronisedNorm2d(_SynchronisedNorm, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over all ranks; see `synchronise_norms`."""


def _joined_statistics(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and number of values a channel () over all ranks, in float32, by one collective.

    Each rank's squares are taken about its own mean and then joined: a sum of plain squares loses all digits where the
    mean is large beside the deviation. Ranks may hold batches of different sizes.
    """
    variance, mean = torch.var_mean(at_least_float32(values), dim=_other_axes(values), correction=0)
    count = values.numel() // values.shape[1]
    own = torch.cat([mean, variance, mean.new_full((1,), count)])
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own)
    means, variances, counts = torch.split(torch.stack(parts), [len(mean), len(mean), 1], dim=1)
    total = counts.sum()
    joined = (means * counts).sum(dim=0) / total
    squares = ((variances + (means - joined).square()) * counts).sum(dim=0)
    return joined, squares / total, total


class _Normalise(torch.autograd.Function):
    """(x - mean) / √(variance + ε) · weight + bias, where mean and variance come from the x of all ranks."""

    @staticmethod
    def forward(
        context: Any,
        values: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        epsilon: float,
    ) -> Tensor:
        context.epsilon = epsilon
        context.save_for_backward(values, weight, mean, variance, count)
        return functional.batch_norm(values, mean, variance, weight, bias, training=False, eps=epsilon)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, variance, count = context.saved_tensors
        shape = (1, -1) + (1,) * (values.dim() - 2)
        gradient = at_least_float32(gradients[0])
        inverse = torch.rsqrt(variance + context.epsilon)
        normalised = (at_least_float32(values) - mean.view(shape)) * inverse.view(shape)
        axes = _other_axes(values)
        own = torch.stack([gradient.sum(dim=axes), (gradient * normalised).sum(dim=axes)])
        joined = own.clone()
        distributed.all_reduce(joined)  # by every rank, also where it needs no gradient itself: the others wait for it
        along_mean, along_deviation = (joined / count).unbind()
        scale = inverse if weight is None else inverse * weight
        of_values = gradient - along_mean.view(shape) - normalised * along_deviation.view(shape)
        of_values = (of_values * scale.view(shape)).to(values.dtype)
        of_bias, of_weight = own.unbind()
        needs = context.needs_input_grad
        return (
            of_values if needs[0] else None,
            of_weight if needs[1] else None,
            of_bias if needs[2] else None,
            *[None] * 4,
        )


def _other_axes(values: Tensor) -> tuple[int, ...]:
    """All axes but the channels'."""
    return (0, *range(2, values.dim()))
