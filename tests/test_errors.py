from __future__ import annotations

from pathlib import Path

import pytest

from omnireid.errors import MissingDependencyError, require


def test_only_a_library_that_is_missing_is_refused() -> None:
    refused = []
    for name in ("json", "no_such_library"):
        try:
            require(name, "extra", "Testing")
        except MissingDependencyError:
            refused.append(name)
    assert refused == ["no_such_library"]


def test_a_library_that_is_not_installed_names_the_extra() -> None:
    message = r"Testing needs no_such_library, which is not installed. Install it with: pip install 'omnireid\[extra\]'"
    with pytest.raises(MissingDependencyError, match=message):
        require("no_such_library", "extra", "Testing")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('Could not determine home directory.')", "Could not determine home directory"),
        ("import no_such_part", "No module named 'no_such_part'"),
        ("raise OSError", "OSError"),
    ],
)
def test_a_library_that_fails_in_its_own_way_is_not_there_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, reason: str
) -> None:
    (tmp_path / "library_that_fails.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=f"Testing needs library_that_fails, .*: {reason}"):
        require("library_that_fails", "extra", "Testing")
