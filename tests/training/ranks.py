"""Two ranks on this machine: what they compute, for tests to compare with one process.

As a module it has the data, the network and `results`, which starts the ranks once however many test files ask. As a
script it is one rank, as torchrun would start it, and leaves its values in a file.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from omnireid.errors import RankError
from omnireid.training.distributed import (
    Ranks,
    barrier,
    copy_from_first_rank,
    gather,
    gather_with_gradient,
    mean_over_ranks,
    start_ranks,
    sum_over_ranks,
)
from omnireid.training.imitation import similarity_graph_loss
from omnireid.training.losses import batch_hard_triplet
from omnireid.training.synchronised_norm import synchronise_norms

Values = dict[str, npt.NDArray[Any]]

MARGINS = {"margin": 0.3, "wide": 5.0, "soft": None}
CROPS = 16
STEPS = 3
SPLIT = 3
"""Rows of rank 0 where the ranks' batches differ in size; the rest is rank 1's."""
IDENTITIES = {
    # Ranks' shares are the two halves.
    "mixed": [0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 4, 4, 5, 5, 6, 7],
    "apart": [0, 1, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4, 3, 2, 1, 0],  # each positive is on the other rank
    "uneven": [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 9, 9, 9, 9],  # no anchor of rank 0 counts
    "one": [3] * CROPS,  # none at all does
}
LOST = "lost"


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def share(values: Tensor, rank: int) -> Tensor:
    """A rank's half."""
    return values.chunk(2)[rank]


def uneven_share(values: Tensor, rank: int) -> Tensor:
    return (values[:SPLIT], values[SPLIT:])[rank]


def linear() -> nn.Linear:
    """(B, 6) → (B, 5), of fixed weights."""
    layer = nn.Linear(6, 5)
    with torch.no_grad():
        layer.weight.copy_(drawn(1, 5, 6))
        layer.bias.copy_(drawn(2, 5))
    return layer


def normed_network(momentum: float | None = 0.1, *, affine: bool = True) -> nn.Sequential:
    """Batch norms of both kinds between other layers: (B, 3, 9, 9) → (B, 4)."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4, momentum=momentum, affine=affine),
        nn.InstanceNorm2d(4, affine=True),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm1d(4, momentum=momentum, affine=affine),
    )
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(1 + 0.5 * drawn(number, *parameter.shape))
    return network


NETWORKS = {"usual": (0.1, True), "average": (None, True), "plain": (0.1, False)}


def images(step: int) -> Tensor:
    return drawn(100 + step, 8, 3, 9, 9) * 3 + 1


def weights() -> Tensor:
    """What outputs are multiplied by to make a loss that has a gradient through a norm."""
    return drawn(50, 8, 4)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


def norm_steps(network: nn.Module, rank: int | None) -> dict[str, Tensor]:
    """Outputs, gradients and buffers after training steps of a rank, or of one process with the entire batch.

    In float64: the instance norm between the norms would enlarge float32's rounding to 1e-4.
    """
    network.double()
    for step in range(STEPS):
        whole = images(step) if step % 2 else images(step).contiguous(memory_format=torch.channels_last)
        values = (whole if rank is None else uneven_share(whole, rank)).double().requires_grad_()
        network.zero_grad()
        outputs = network(values)
        (outputs * (weights() if rank is None else uneven_share(weights(), rank))).sum().backward()
    assert values.grad is not None
    found = {"outputs": outputs.detach(), "inputs": values.grad}
    found |= {f"gradient {name}": value.clone() for name, value in gradients(network).items()}
    return found | {f"buffer {name}": value.clone() for name, value in network.named_buffers()}


def triplet_of_layer(layer: nn.Module, rank: int, ranks: Ranks, identities: str, margin: float | None) -> Tensor:
    """The loss of a layer's outputs, after its backward."""
    values, people = drawn(3, CROPS, 6), torch.tensor(IDENTITIES[identities])
    if ranks.world_size > 1:
        values, people = share(values, rank), share(people, rank)
    embeddings = layer(values)
    loss = batch_hard_triplet(embeddings, people, margin=margin, ranks=ranks)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


@cache
def results() -> tuple[Values, Values]:
    """What rank 0 and rank 1 found; started by the first call."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        processes = [_start(rank, port, Path(folder)) for rank in range(2)]
        try:
            said = [process.communicate(timeout=150)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
        first, second = (dict(np.load(Path(folder) / f"{rank}.npz")) for rank in range(2))
    return first, second


def _start(rank: int, port: int, folder: Path) -> subprocess.Popen[str]:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment = {**os.environ, **{name: str(value) for name, value in place.items()}, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, str(folder / f"{rank}.npz")]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _collectives(ranks: Ranks) -> dict[str, Tensor]:
    values = drawn(ranks.rank, 4, 2).T  # not contiguous
    before = values.clone()
    found = {
        "gather": gather(values, ranks),
        "first": copy_from_first_rank({"values": values}, ranks)["values"],
        "gather labels": gather(torch.tensor([7, 8]) + 10 * ranks.rank, ranks),
        "sum": sum_over_ranks(values, ranks),
        "mean": mean_over_ranks(values, ranks),
    }
    barrier(ranks)
    learned = values.clone().requires_grad_()
    all_values = gather_with_gradient(learned, ranks)
    (all_values * drawn(10 + ranks.rank, 4, 4)).sum().backward()  # type: ignore[no-untyped-call]
    assert learned.grad is not None
    found |= {"gather with gradient": all_values.detach(), "gradient": learned.grad}
    found["unchanged"] = (values == before).all()
    found["detached"] = torch.tensor(not (gather(learned, ranks) + sum_over_ranks(learned, ranks).repeat(2, 1)).grad_fn)
    return found


def _triplets(ranks: Ranks) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for identities in IDENTITIES:
        for margin, value in MARGINS.items():
            layer = DistributedDataParallel(linear())
            loss = triplet_of_layer(layer, ranks.rank, ranks, identities, value)
            name = f"{identities} {margin}"
            found[f"triplet {name}"] = loss
            found |= {f"triplet {name} {key}": grad.clone() for key, grad in gradients(layer.module).items()}
    return found


def graph_loss_of_layer(layer: nn.Module, rank: int, ranks: Ranks) -> Tensor:
    """The similarity graph loss of a layer's outputs, after its backward."""
    values, targets = drawn(3, CROPS, 6), functional.normalize(drawn(4, CROPS, 3), dim=1)
    if ranks.world_size > 1:
        values, targets = share(values, rank), share(targets, rank)
    loss = similarity_graph_loss(layer(values), targets, temperature=0.2, ranks=ranks)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def _graph_loss(ranks: Ranks) -> dict[str, Tensor]:
    layer = DistributedDataParallel(linear())
    found = {"graph loss": graph_loss_of_layer(layer, ranks.rank, ranks)}
    return found | {f"graph loss {key}": grad.clone() for key, grad in gradients(layer.module).items()}


def _norms(ranks: Ranks) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, (momentum, affine) in NETWORKS.items():
        network = normed_network(momentum, affine=affine)
        synchronise_norms(network)
        found |= {f"{name} {key}": value for key, value in norm_steps(network, ranks.rank).items()}
    network = normed_network().double()  # see norm_steps
    synchronise_norms(network)
    wrapped = DistributedDataParallel(network)
    outputs = wrapped(share(images(0), ranks.rank).double())  # kept: the reducer's hooks go with it
    (outputs * share(weights(), ranks.rank)).sum(dim=1).mean().backward()
    found |= {f"wrapped {key}": value.clone() for key, value in gradients(network).items()}
    far = nn.BatchNorm2d(3)
    network = nn.Sequential(far)
    synchronise_norms(network)
    found["far"] = network(share(images(0) + 1000, ranks.rank)).detach()
    low = share(images(0), ranks.rank).bfloat16().contiguous(memory_format=torch.channels_last)
    outputs = network(low)
    kept = outputs.dtype == low.dtype and outputs.is_contiguous(memory_format=torch.channels_last)
    found["low kept"] = torch.tensor(kept)
    found["low"] = outputs.detach().float()
    if ranks.rank == 0:  # alone: a norm in evaluation that waited for rank 1 would never end
        found["evaluated"] = network.eval()(share(images(1), 0)).detach()
        found["evaluated plainly"] = nn.Sequential(_plain(far)).eval()(share(images(1), 0)).detach()
    barrier(ranks)
    return found


def _plain(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    plain = nn.BatchNorm2d(norm.num_features)
    plain.load_state_dict(norm.state_dict())
    return plain


def _write(path: Path, found: dict[str, Tensor], texts: dict[str, str]) -> None:
    arrays: Values = {name: value.numpy() for name, value in found.items()}
    arrays |= {name: np.array(text) for name, text in texts.items()}
    np.savez(path, allow_pickle=False, **arrays)


def main(path: Path) -> None:
    """Be one rank."""
    warnings.simplefilter("error")
    faulthandler.dump_traceback_later(120, exit=True)  # a rank that hangs says where
    texts: dict[str, str] = {}
    found: dict[str, Tensor] = {}
    try:
        with start_ranks("cpu") as (ranks, device):
            texts |= {"ranks": repr(ranks), "device": str(device), "backend": distributed.get_backend()}
            found |= _collectives(ranks) | _triplets(ranks) | _graph_loss(ranks) | _norms(ranks)
            if ranks.rank == 1:
                _write(path, found, texts)
                os._exit(0)  # as by kill -9: nobody is told
            sum_over_ranks(torch.ones(3), ranks)
    except RankError as error:
        texts[LOST] = str(error)
    texts["group after loss"] = str(distributed.is_initialized())
    _write(path, found, texts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
