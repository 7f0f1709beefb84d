import errno
import subprocess
import sys
from pathlib import Path

import pytest

from omnireid.errors import OutputError
from omnireid.synthetic import worker
from omnireid.synthetic.plan import FOLDERS, Plan, planned_crops
from omnireid.synthetic.worker import draw_in_processes, suggest_workers

PLAN = Plan(identities=4, cameras=2, per_camera=2, distractors=0, seed=0, cue="mixed", difficulty=0.5, height=32)


def test_small_sets_are_not_worth_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "usable_cores", lambda: 4)
    assert [suggest_workers(crops) for crops in (0, 100, 2400, 10**6)] == [1, 1, 4, 4]
    monkeypatch.setattr(worker, "usable_cores", lambda: 64)
    assert suggest_workers(10**6) == 8


def test_a_bundled_program_draws_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert suggest_workers(10**6) == 1


def test_progress_reaches_the_total(tmp_path: Path) -> None:
    for folder in FOLDERS.values():
        (tmp_path / folder).mkdir()
    told: list[int] = []
    draw_in_processes(PLAN, tmp_path, 2, told.append)
    assert sum(told) == len(planned_crops(PLAN)) == len(list(tmp_path.glob("*/*.jpg")))


def test_what_a_process_cannot_write_is_an_error_here(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        draw_in_processes(PLAN, tmp_path / "missing", 2, lambda _: None)
    assert caught.value.errno == errno.ENOENT


def test_a_process_that_dies_is_an_error_with_a_way_on() -> None:
    command = [sys.executable, "-c", "raise SystemExit(7)"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        pytest.raises(OutputError, match=r"ended with code 7 before its crops were done.*Run again with one worker\."),
    ):
        worker._run_share(process, "{}", lambda _: None)


def test_the_processes_end_when_the_caller_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in FOLDERS.values():
        (tmp_path / folder).mkdir()
    started: list[subprocess.Popen[str]] = []
    start = subprocess.Popen

    def remember(*args: object, **options: object) -> subprocess.Popen[str]:
        started.append(start(*args, **options))  # type: ignore[call-overload]
        return started[-1]

    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", remember)
    with pytest.raises(KeyboardInterrupt):
        draw_in_processes(PLAN, tmp_path, 2, stop)
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)
