from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.runs import SMALL

from omnireid.errors import DataError
from omnireid.machine import usable_cores
from omnireid.training.options import RunOptions
from omnireid.training.run import train
from omnireid.training.threads import SHORT_WAITING, choose_threads, count_idle_cores, idle_share, shorten_waiting


def test_threads_wait_briefly_unless_the_user_chose_how() -> None:
    environment = {"HOME": "/root"}
    shorten_waiting(environment)
    assert environment == {"HOME": "/root", **SHORT_WAITING}
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        chosen = {name: "1"}
        shorten_waiting(chosen)
        assert chosen == {name: "1"}


@pytest.mark.parametrize("name", ["WORLD_SIZE", "OMP_NUM_THREADS"])
def test_torchrun_and_the_environment_choose_the_threads_themselves(name: str, tmp_path: Path) -> None:
    assert choose_threads(tmp_path / "run.json", resume=False, environment={name: "2"}) is None


def test_a_resumed_run_computes_with_the_threads_it_began_with(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    record.write_text(json.dumps({"threads": 7}))
    assert choose_threads(record, resume=True, environment={}) == 7
    for damaged in ("", "[]", "{}", '{"threads": null}'):
        record.write_text(damaged)
        assert choose_threads(record, resume=True, environment={}) is None


def test_a_new_run_takes_idle_cores_and_at_least_one(tmp_path: Path) -> None:
    chosen = choose_threads(tmp_path / "run.json", resume=False, environment={})
    assert chosen is not None
    assert 1 <= chosen <= usable_cores()


@pytest.mark.parametrize(
    ("spent", "share"),
    [
        ([50, 0, 0, 50, 0, 0, 0, 0], 0.5),
        ([0, 100, 0, 0, 0, 0, 0, 0], 0.0),  # processes with low priority want the cores too
        ([0, 0, 0, 20, 80, 0, 0, 0], 1.0),
        ([0] * 8, None),
        ([], None),
    ],
)
def test_the_idle_share_of_the_processors(spent: list[int], share: float | None) -> None:
    before = [1000] * len(spent)
    assert idle_share(before, [early + late for early, late in zip(before, spent, strict=True)]) == share


def test_without_counters_all_usable_cores_count_as_idle(tmp_path: Path) -> None:
    assert count_idle_cores(tmp_path / "nothing") == usable_cores()
    (tmp_path / "stat").write_text("other 1 2 3\n")
    assert count_idle_cores(tmp_path / "stat") == usable_cores()


def test_counters_that_show_no_idle_time_leave_one_thread(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 5 0 5 0 0 0 0 0 0 0\ncpu0 5 0 5 0\n")
    assert count_idle_cores(tmp_path / "stat", sample_s=0) == usable_cores()  # nothing passed between two readings


def test_a_run_gives_the_number_of_threads_back(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    with pytest.raises(DataError):  # whatever happens in the run
        train(SMALL, replace(options, data=(tmp_path / "nothing",)))
    assert chosen == [1, before]
