from __future__ import annotations

import errno
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from omnireid.errors import DataNotFoundError, DiskFullError, OutputError, TrainingError
from omnireid.training.journal import Journal, read_journal


@pytest.fixture
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the journal does not need it, and without it a test takes no thread and no second."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


def write_steps(journal: Journal, steps: range, seconds: float = 1.0) -> None:
    for step in steps:
        place = {"step": step, "epoch": step / 4, "seconds": step * seconds, "images": step * 64}
        journal.write("step", **place, loss=7.0 / step)  # type: ignore[arg-type]
        if step % 4 == 0:
            journal.write("evaluation", **place, rank1=step / 100)  # type: ignore[arg-type]


def without_times(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]


@pytest.mark.usefixtures("no_tensorboard")
def test_what_is_written_is_read(tmp_path: Path) -> None:
    with Journal(tmp_path / "run") as journal:
        journal.write("event", step=0, epoch=0.0, seconds=0.1, images=0, text="Größe 256 × 128", sizes=[1, 2])
        place: dict[str, Any] = {"step": np.int64(3), "epoch": np.float64(0.5), "images": 192}
        journal.write("step", **place, seconds=1.5, loss=torch.tensor(2.5))
        # Each line is in the file before the journal is closed.
        assert len(read_journal(tmp_path / "run")) == 2
    first, second = read_journal(tmp_path / "run" / "log.jsonl")
    assert first == {
        **{"kind": "event", "step": 0, "epoch": 0.0, "seconds": 0.1, "images": 0},
        **{"text": "Größe 256 × 128", "sizes": [1, 2]},
    }
    assert second == {"kind": "step", "step": 3, "epoch": 0.5, "seconds": 1.5, "images": 192, "loss": 2.5}


@pytest.mark.usefixtures("no_tensorboard")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), torch.tensor(math.inf)])
def test_numbers_that_are_not_finite_leave_the_json_valid(tmp_path: Path, value: Any) -> None:
    with Journal(tmp_path) as journal:
        journal.write(
            "step", step=1, epoch=0.0, seconds=0.0, images=1, loss=value, parts={"a": [math.nan, 1.0], "b": (math.inf,)}
        )

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    entry = json.loads((tmp_path / "log.jsonl").read_text(), parse_constant=refuse)
    assert entry["loss"] is None
    assert entry["parts"] == {"a": [None, 1.0], "b": [None]}
    assert read_journal(tmp_path)[0]["loss"] is None


@settings(max_examples=15, deadline=None)
@given(stopped=st.integers(0, 12), checkpoint=st.integers(-1, 12), torn=st.binary(max_size=20))
def test_interrupted_and_resumed_equals_uninterrupted(stopped: int, checkpoint: int, torn: bytes) -> None:
    checkpoint = min(checkpoint, stopped)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setitem(sys.modules, "torch.utils.tensorboard", None)
        whole, parts = Path(folder) / "whole", Path(folder) / "parts"
        with Journal(whole) as journal:
            write_steps(journal, range(1, 13))
        with Journal(parts) as journal:
            write_steps(journal, range(1, stopped + 1))
        with (parts / "log.jsonl").open("ab") as stream:
            stream.write(torn.replace(b"\n", b""))
        with Journal(parts, resume_at=checkpoint) as journal:
            write_steps(journal, range(max(checkpoint, 0) + 1, 13), seconds=3.0)
        assert without_times(read_journal(parts)) == without_times(read_journal(whole))


@pytest.mark.usefixtures("no_tensorboard")
def test_every_line_survives_a_kill(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nsys.modules['torch'] = None\n"
        "from omnireid.training.journal import Journal\njournal = Journal(Path(sys.argv[1]))\n"
        "for step in range(1, 6):\n    journal.write('step', step=step, epoch=0.0, seconds=0.0, images=step)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert [entry["step"] for entry in read_journal(tmp_path)] == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("no_tensorboard")
def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        write_steps(journal, range(1, 4))
    log = tmp_path / "log.jsonl"
    content = log.read_bytes()
    for size in range(len(content) - 1, len(content) - 40, -1):
        log.write_bytes(content[:size])
        # Without its line break alone, the last line is whole.
        assert [entry["step"] for entry in read_journal(tmp_path)] == (
            [1, 2, 3] if size == len(content) - 1 else [1, 2]
        )


@pytest.mark.usefixtures("no_tensorboard")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"kind": "st', "Line 2 of 3 of the journal .*log.jsonl is damaged: it is not JSON"),
        (b"\xff\xfe", "is damaged: it is not JSON"),
        (b"", "is damaged: it is not JSON"),
        (b"[1, 2]", "it is no JSON object"),
        (b'{"kind": "song", "step": 1}', "its kind is 'song', not one of step, epoch, evaluation, event"),
        (b'{"kind": "step", "step": 1, "epoch": "one"}', "it has no number for epoch.*from a backup"),
    ],
)
def test_damage_in_the_middle_is_an_error(tmp_path: Path, line: bytes, message: str) -> None:
    with Journal(tmp_path) as journal:
        write_steps(journal, range(1, 3))
    log = tmp_path / "log.jsonl"
    first, last = log.read_bytes().splitlines()
    log.write_bytes(b"\n".join([first, line, last, b""]))
    with pytest.raises(TrainingError, match=message):
        read_journal(tmp_path)
    with pytest.raises(TrainingError, match=message):
        Journal(tmp_path, resume_at=1)
    log.write_bytes(b"\n".join([first, line]))
    assert [entry["step"] for entry in read_journal(tmp_path)] == [1]


@pytest.mark.usefixtures("no_tensorboard")
def test_a_new_run_does_not_go_on_in_anothers_log(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        pass
    with Journal(tmp_path) as journal:  # an empty log is nobody's
        write_steps(journal, range(1, 3))
    with pytest.raises(OutputError, match="holds the log of another run, up to step 2. Resume that run, or choose"):
        Journal(tmp_path)
    assert len(read_journal(tmp_path)) == 2
    Journal(tmp_path, resume_at=-1).close()
    assert read_journal(tmp_path) == []


def test_no_journal(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"There is no journal .*log\.jsonl\. Name the folder of a run"):
        read_journal(tmp_path)
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(TrainingError, match=r"The journal .*log\.jsonl cannot be read: Is a directory"):
        read_journal(tmp_path)


@pytest.mark.usefixtures("no_tensorboard")
def test_no_such_kind(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        with pytest.raises(TrainingError, match="No kind of journal entry 'song'. Known: step, epoch, evaluation"):
            journal.write("song", step=1, epoch=0.0, seconds=0.0, images=1)  # type: ignore[arg-type]
    assert read_journal(tmp_path) == []


class FullDisk:
    """A stream that takes a few bytes and then has no space left."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.space = stream, 10

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, content: memoryview) -> int:
        if not self.space:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = self.stream.write(content[: self.space])
        self.space -= written
        return written


@pytest.mark.usefixtures("no_tensorboard")
def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    write_steps(journal, range(1, 3))
    real = journal._stream
    journal._stream = FullDisk(real)  # type: ignore[assignment]
    with pytest.raises(DiskFullError, match=r"No space left on the disk while writing .*log\.jsonl"):
        write_steps(journal, range(3, 4))
    journal._stream = real
    write_steps(journal, range(3, 4))
    journal.close()
    assert [entry["step"] for entry in read_journal(tmp_path)] == [1, 2, 3]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OutputError, match="Cannot write"):
        Journal(tmp_path / "run")


@pytest.mark.usefixtures("no_tensorboard")
def test_without_tensorboard_one_line_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(tmp_path) as journal:
        write_steps(journal, range(1, 9))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert "pip install 'omnireid[train]'" in shown.err
    assert not (tmp_path / "tensorboard").exists()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tensorboard"), {"scalars": 0})
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_shows_what_the_log_says(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        write_steps(journal, range(1, 9))
        journal.write("step", step=9, epoch=2.25, seconds=9.0, images=576, loss=math.nan, note="text is no scalar")
    shown = scalars(tmp_path)
    assert [step for step, _ in shown["evaluation/rank1"]] == [4, 8]
    assert [value for _, value in shown["evaluation/rank1"]] == pytest.approx([0.04, 0.08])
    assert [step for step, _ in shown["step/loss"]] == list(range(1, 10))
    assert math.isnan(shown["step/loss"][-1][1])
    assert "step/note" not in shown
    with Journal(tmp_path, resume_at=6) as journal:
        write_steps(journal, range(7, 9))
    shown = scalars(tmp_path)
    assert [step for step, _ in shown["step/loss"]] == list(range(1, 9))
    assert [value for _, value in shown["step/loss"]] == pytest.approx([7.0 / step for step in range(1, 9)])
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    journal.close()  # twice is harmless


class FullScalars:
    """TensorBoard's writer on a full disk: its thread has failed, and it says so at the next scalar."""

    def add_scalar(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.usefixtures("no_tensorboard")
def test_a_disk_that_is_full_for_tensorboard(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal._scalars = FullScalars()
        with pytest.raises(DiskFullError, match="No space left on the disk while writing .*tensorboard"):
            write_steps(journal, range(1, 2))
    assert [entry["step"] for entry in read_journal(tmp_path)] == [1]
