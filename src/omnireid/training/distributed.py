"""Ranks: the processes of one run, as torchrun starts them.

In a run of one process, every function here returns the process's own values, and
no process group is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor, distributed
from torch.distributed.rendezvous import rendezvous

from omnireid.errors import ModelError, RankError, RecipeError

TIMEOUT = timedelta(hours=1)
"""How long a rank waits for the others, for example while rank 0 decodes a large data set."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run.

    Attributes:
        rank: Number of this process, from 0.
        world_size: Number of processes on all machines.
        local_rank: Number of this process on its machine, from 0.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0


def find_ranks() -> Ranks:
    """Read this process's rank from torchrun's environment; without it, the run has one process.

    Raises:
        RecipeError: The environment holds something that is not a rank.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if "WORLD_SIZE" not in os.environ:
        return Ranks()
    try:
        return Ranks(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError) as error:
        found = {name: os.environ.get(name) for name in names}
        raise RecipeError(f"The environment is not torchrun's: {found}. Unset WORLD_SIZE, or use torchrun.") from error


@contextmanager
def start_ranks(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the other ranks, if any, while the body runs: gloo on a CPU, NCCL on GPUs.

    Args:
        device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``; each rank takes the GPU with its local number.

    Raises:
        ModelError: There is no such device, or there are fewer GPUs than ranks.
        RankError: Another rank was lost.
    """
    ranks = find_ranks()
    chosen = _choose_device(device, ranks)
    if ranks.world_size == 1:
        yield ranks, chosen
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    try:
        _join_process_group(chosen)
        yield ranks, chosen
    except RuntimeError as error:  # DistError and gloo's own errors are RuntimeErrors
        if not _is_lost_rank(error):
            raise
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RankError(
            f"Rank {ranks.rank} of {ranks.world_size} lost another rank ({first_line[:200]}). Its own message says "
            "why. Resume from the last checkpoint with the same command and --resume."
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _join_process_group(device: torch.device) -> None:
    """Make the process group through torchrun's store, under a name of this attempt's own.

    torchrun keeps its store when it restarts the ranks. Addresses that dead ranks left there would otherwise be taken
    for those of their successors.
    """
    try:
        store, rank, world_size = next(rendezvous("env://", timeout=TIMEOUT))
    except ValueError as error:
        raise RecipeError(f"The environment is not torchrun's: {error}. Unset WORLD_SIZE, or use torchrun.") from error
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=distributed.PrefixStore(f"attempt-{attempt}", store),  # type: ignore[attr-defined]
        rank=rank,
        world_size=world_size,
        timeout=TIMEOUT,
        device_id=device if device.type == "cuda" else None,
    )


def gather(values: Tensor, ranks: Ranks) -> Tensor:
    """Gather the tensors of all ranks, in their order, (world_size × B, …), without gradient. Shapes must agree."""
    if ranks.world_size == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(ranks.world_size)]
    distributed.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def gather_with_gradient(values: Tensor, ranks: Ranks) -> Tensor:
    """Gather like `gather`, with gradient: a rank's part gets the sum of all ranks' gradients for it."""
    if ranks.world_size == 1:
        return values
    return cast(Tensor, _Gather.apply(values, ranks))  # type: ignore[no-untyped-call]


def sum_over_ranks(values: Tensor, ranks: Ranks) -> Tensor:
    """The sum over ranks, without gradient; `values` is not changed."""
    if ranks.world_size == 1:
        return values
    total = values.detach().clone()
    distributed.all_reduce(total)
    return total


def mean_over_ranks(values: Tensor, ranks: Ranks) -> Tensor:
    """The mean over ranks, without gradient; `values` is not changed."""
    return values if ranks.world_size == 1 else sum_over_ranks(values, ranks) / ranks.world_size


def copy_from_first_rank(values: Mapping[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """Rank 0's tensors, on every rank; `values` is not changed. Names, shapes and types must agree."""
    if ranks.world_size == 1:
        return dict(values)
    copies = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in values.items()}
    for copy in copies.values():
        distributed.broadcast(copy, src=0)
    return copies


def barrier(ranks: Ranks) -> None:
    """Wait until all ranks have come to this point."""
    if ranks.world_size > 1:
        distributed.barrier()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, ranks: Ranks) -> Tensor:
        context.ranks = ranks
        return gather(values, ranks)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ranks: Ranks = context.ranks
        total = sum_over_ranks(gradients[0].contiguous(), ranks)
        return total.chunk(ranks.world_size)[ranks.rank], None


def _choose_device(name: str, ranks: Ranks) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise ModelError(f"No device {name!r} to train on: use auto, cpu or cuda.")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if ranks.local_rank >= torch.cuda.device_count():
        raise ModelError(
            f"Rank {ranks.local_rank} of this machine has no GPU: torch sees {torch.cuda.device_count()}. Start one "
            "rank for each GPU, or use --device cpu."
        )
    return torch.device("cuda", ranks.local_rank)


def _is_lost_rank(error: RuntimeError) -> bool:
    """Whether another rank was lost. For gloo torch has no error type for it, only words."""
    words = ("closed by peer", "connection reset", "connection refused", "broken pipe", "timed out")
    text = str(error).lower()
    return isinstance(error, distributed.DistError) or any(word in text for word in words)
