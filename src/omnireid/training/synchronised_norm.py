"""Batch norms with the statistics of all ranks. They work on a CPU too, where torch's own refuse."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from omnireid.training.precision import at_least_float32


def synchronise_norms(model: nn.Module) -> None:
    """Make every batch norm of `model` take its training statistics over all ranks. Instance norms stay as they are.

    Changes the network in place, and must be called before it is wrapped in DDP. Parameters, buffers and the names in
    the state dict stay the same, so that existing optimisers and checkpoints still fit. In evaluation, and in a run of
    one process, nothing changes. Networks on GPUs get torch's `nn.SyncBatchNorm`.

    Args:
        model: A network that is already on its device.

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
    """A batch norm that, in training, normalises by the statistics of all ranks' batches together."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Normalise (B, C, …) values; dtype and memory format stay those of the input."""
        if not self.training or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        mean, variance, count = _joined_statistics(input.detach())
        self._track(mean, variance * count / (count - 1).clamp(min=1))
        normalised = _Normalise.apply(input, self.weight, self.bias, mean, variance, count, self.eps)  # type: ignore[no-untyped-call]
        return cast(Tensor, normalised)

    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Update the running statistics as torch does; without momentum they are the plain average of all batches."""
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
    """Mean (C,), biased variance (C,) and values per channel () over all ranks, in float32, by one collective.

    Each rank takes squares about its own mean, and they are joined afterwards: a sum of plain squares loses all digits
    if the mean is large compared with the deviation. Ranks may hold batches of different sizes.
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
    """(x - mean) / √(variance + ε) · weight + bias, with the mean and variance of all ranks' values."""

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
        distributed.all_reduce(
            joined
        )  # every rank must take part, even if it needs no gradient itself: the others wait for it
        along_mean, along_deviation = (joined / count).unbind()
        scale = inverse if weight is None else inverse * weight
        values_gradient = gradient - along_mean.view(shape) - normalised * along_deviation.view(shape)
        values_gradient = (values_gradient * scale.view(shape)).to(values.dtype)
        bias_gradient, weight_gradient = own.unbind()
        needs = context.needs_input_grad
        return (
            values_gradient if needs[0] else None,
            weight_gradient if needs[1] else None,
            bias_gradient if needs[2] else None,
            *[None] * 4,
        )


def _other_axes(values: Tensor) -> tuple[int, ...]:
    """All axes except that of the channels."""
    return (0, *range(2, values.dim()))
