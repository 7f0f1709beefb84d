"""Ranks: what two of them compute together, the losses across them, and what one process does on its own."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
import torch
from tests.training import ranks
from tests.training.ranks import Values
from torch import Tensor, distributed

from omnireid.errors import ModelError, RankError, RecipeError
from omnireid.training import distributed as module
from omnireid.training.distributed import (
    Ranks,
    barrier,
    find_ranks,
    gather,
    gather_with_gradient,
    mean_over_ranks,
    start_ranks,
    sum_over_ranks,
)

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@pytest.fixture(scope="module")
def found() -> tuple[Values, Values]:
    return ranks.results()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def set_ranks(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    for name, value in zip(NAMES, values, strict=True):
        monkeypatch.setenv(name, value)


def start(device: str) -> tuple[Ranks, torch.device]:
    with start_ranks(device) as started:
        return started


def values_of(rank: int) -> Tensor:
    return ranks.drawn(rank, 4, 2).T


def test_ranks_as_torchrun_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_ranks() == Ranks() == Ranks(rank=0, world_size=1, local_rank=0)
    set_ranks(monkeypatch, "5", "8", "1")
    assert find_ranks() == Ranks(rank=5, world_size=8, local_rank=1)


@pytest.mark.parametrize(
    ("environment", "seen"),
    [
        ({"WORLD_SIZE": "2"}, {"RANK": None, "WORLD_SIZE": "2", "LOCAL_RANK": None}),
        ({"RANK": "0", "WORLD_SIZE": "two"}, {"RANK": "0", "WORLD_SIZE": "two", "LOCAL_RANK": None}),
        (
            {"RANK": "", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
            {"RANK": "", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
        ),
    ],
)
def test_an_environment_that_is_not_torchruns(
    environment: dict[str, str], seen: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    message = f"The environment is not torchrun's: {seen}. Unset WORLD_SIZE, or use torchrun."
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        find_ranks()


def test_one_process_makes_no_group_and_gets_its_own_values_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a process group for one process")

    monkeypatch.setattr(distributed, "init_process_group", refuse)
    with start_ranks("cpu") as (own, device):
        assert (own, device) == (Ranks(), torch.device("cpu"))
        values = values_of(0)
        for function in (gather, gather_with_gradient, sum_over_ranks, mean_over_ranks):
            assert function(values, own) is values
        barrier(own)


@pytest.mark.parametrize(("gpus", "expected"), [(0, "cpu"), (2, "cuda:1")])
def test_auto_takes_the_gpu_of_the_local_rank(gpus: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    set_ranks(monkeypatch, "0", "1", "1")
    assert start("auto")[1] == torch.device(expected)
    assert start("cpu")[1] == torch.device("cpu")


def test_no_such_device() -> None:
    with pytest.raises(ModelError, match=r"^No device 'mps' to train on: use auto, cpu or cuda\.$"):
        start("mps")


@pytest.mark.parametrize(("gpus", "local_rank"), [(0, 0), (1, 1)])
def test_fewer_gpus_than_ranks(gpus: int, local_rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    set_ranks(monkeypatch, "3", "4", str(local_rank))
    message = (
        f"Rank {local_rank} of this machine has no GPU: torch sees {gpus}. Start one rank for each GPU, or use "
        "--device cpu."
    )
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        start("cuda")


def test_two_ranks_join_by_gloo(found: tuple[Values, Values]) -> None:
    assert found[0]["ranks"] == repr(Ranks(rank=0, world_size=2, local_rank=0))
    assert found[0]["device"] == "cpu"
    assert found[0]["backend"] == "gloo"


def test_every_rank_gathers_all_values(found: tuple[Values, Values]) -> None:
    both = [values_of(0), values_of(1)]
    for rank in found:
        assert rank["gather"].tolist() == rank["gather with gradient"].tolist() == torch.cat(both).tolist()
        assert rank["gather labels"].tolist() == [7, 8, 17, 18]
        assert rank["first"].tolist() == both[0].tolist()
        assert rank["sum"].tolist() == (both[0] + both[1]).tolist()
        assert rank["mean"].tolist() == ((both[0] + both[1]) / 2).tolist()
        assert rank["unchanged"]
        assert rank["detached"]


def test_a_ranks_gradient_is_summed_over_what_all_ranks_made_of_its_part(found: tuple[Values, Values]) -> None:
    expected = ranks.drawn(10, 4, 4) + ranks.drawn(11, 4, 4)
    own = torch.cat([torch.from_numpy(rank["gradient"]) for rank in found])
    torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("margin", ranks.MARGINS)
@pytest.mark.parametrize("identities", ranks.IDENTITIES)
def test_triplets_of_two_ranks_are_those_of_one_process(
    identities: str, margin: str, found: tuple[Values, Values]
) -> None:
    """The mean of the ranks' losses, and the gradients that DDP's mean over ranks leaves on each."""
    layer = ranks.linear()
    expected = ranks.triplet_of_layer(layer, 0, Ranks(), identities, ranks.MARGINS[margin])
    name = f"triplet {identities} {margin}"
    assert (found[0][name] + found[1][name]) / 2 == pytest.approx(expected.item(), rel=1e-5)
    assert (expected == 0) == (identities == "one")
    for key, gradient in ranks.gradients(layer).items():
        for rank in found:
            own = torch.from_numpy(rank[f"{name} {key}"])
            # A shift of all embeddings changes no distance: the bias's gradient is rounding beside the weights'.
            torch.testing.assert_close(own, gradient, rtol=1e-5, atol=1e-5)


def test_the_graph_loss_of_two_ranks_is_that_of_one_process(found: tuple[Values, Values]) -> None:
    layer = ranks.linear()
    expected = ranks.graph_loss_of_layer(layer, 0, Ranks())
    assert (found[0]["graph loss"] + found[1]["graph loss"]) / 2 == pytest.approx(expected.item(), rel=1e-5)
    for key, gradient in ranks.gradients(layer).items():
        for rank in found:
            torch.testing.assert_close(torch.from_numpy(rank[f"graph loss {key}"]), gradient, rtol=1e-5, atol=1e-6)


def test_a_rank_that_is_gone_is_told_by_the_others(found: tuple[Values, Values]) -> None:
    assert ranks.LOST not in found[1]
    assert re.fullmatch(
        r"Rank 0 of 2 lost another rank \(.+\)\. Its own message says why\. Resume from the last checkpoint with the "
        r"same command and --resume\.",
        str(found[0][ranks.LOST]),
    )
    assert found[0]["group after loss"] == "False"


LOST_ERRORS = [
    RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1234\nand a stack"),
    RuntimeError("read: Connection reset by peer"),
    RuntimeError("connect: Connection refused"),
    RuntimeError("Broken pipe"),
    RuntimeError("Timed out waiting 1000ms"),
    cast(RuntimeError, distributed.DistBackendError("NCCL error: remote process exited")),
    cast(RuntimeError, distributed.DistNetworkError("")),
]


@pytest.mark.parametrize("error", LOST_ERRORS, ids=str)
def test_errors_that_mean_a_lost_rank(error: RuntimeError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_join_process_group", lambda device: None)
    set_ranks(monkeypatch, "1", "4", "1")
    first_line = (str(error) or type(error).__name__).splitlines()[0]
    message = (
        f"Rank 1 of 4 lost another rank ({first_line}). Its own message says why. Resume from the last checkpoint with "
        "the same command and --resume."
    )
    with pytest.raises(RankError, match=f"^{re.escape(message)}$") as caught:
        with start_ranks("cpu"):
            raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), KeyError("closed by peer")])
def test_other_errors_stay_what_they_are(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_join_process_group", lambda device: None)
    set_ranks(monkeypatch, "1", "4", "1")
    with pytest.raises(type(error)) as caught, start_ranks("cpu"):
        raise error
    assert caught.value is error


def test_a_rank_that_finds_no_other_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise distributed.DistNetworkError("The client socket has timed out after 3600000ms")

    monkeypatch.setattr(module, "rendezvous", refuse)
    set_ranks(monkeypatch, "1", "2", "1")
    with pytest.raises(RankError, match=r"^Rank 1 of 2 lost another rank \(The client socket has timed out after"):
        start("cpu")


def test_ranks_without_an_address_to_meet_at(monkeypatch: pytest.MonkeyPatch) -> None:
    set_ranks(monkeypatch, "1", "2", "1")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(RecipeError, match=r"The environment is not torchrun's: .*MASTER_ADDR.*use torchrun"):
        start("cpu")
