from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import omnireid
from omnireid.training.provenance import describe_commit, describe_environment


def git(folder: Path, *words: str) -> str:
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *name, *words], cwd=folder, env={**os.environ, **own}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package in a working tree with one commit."""
    folder = tmp_path / "src" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return folder


def test_everything_is_plain_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["omnireid", "train", "--data", "my people"])
    found = describe_environment()
    assert json.loads(json.dumps(found)) == found
    assert found["omnireid"] == omnireid.__version__
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert found["command"] == ["omnireid", "train", "--data", "my people"]
    assert len(found["gpus"]) == torch.cuda.device_count()
    assert 1 <= found["cpu_cores"] <= (os.cpu_count() or 1)
    for name in ("python", "pillow", "platform", "cpu"):
        assert isinstance(found[name], str)
        assert found[name]


def test_the_names_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    assert describe_environment()["gpus"] == ["GPU 0", "GPU 1"]


def test_the_commit_and_whether_the_package_differs_from_it(package: Path, tmp_path: Path) -> None:
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert describe_commit(package) == (commit, False)
    (tmp_path / "notes.txt").write_text("beside the package")
    assert describe_commit(package) == (commit, False)
    (package / "new.py").write_text("")
    assert describe_commit(package) == (commit, True)
    (package / "new.py").unlink()
    (package / "__init__.py").write_text("changed = True")
    assert describe_commit(package) == (commit, True)


def test_a_hook_of_another_repository_does_not_mislead_it(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(tmp_path, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert describe_commit(package) == (commit, False)


def test_no_commit_where_git_does_not_track_the_package(package: Path, tmp_path: Path) -> None:
    installed = tmp_path / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert describe_commit(installed) == (None, None)


def test_no_commit_before_the_first(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "__init__.py").write_text("")
    git(tmp_path, "add", ".")
    assert describe_commit(tmp_path) == (None, None)


def test_no_commit_without_git(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe_commit(tmp_path / "gone") == (None, None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_commit(package) == (None, None)
