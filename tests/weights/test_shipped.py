from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import pytest

import omnireid
from omnireid import RuntimeOptions, load_embedder
from omnireid.errors import WeightsNotFoundError
from omnireid.files import sha256_of
from omnireid.weights import shipped as shipped_module
from omnireid.weights.artefact import WeightsMetadata, read_artefact, write_artefact
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.shipped import DEFAULT_WEIGHTS, find_shipped, shipped_weights, weights_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the package's weights."""
    found = tmp_path / "shipped"
    found.mkdir()
    monkeypatch.setattr(shipped_module, "weights_folder", lambda: found)
    return found


def test_weights_lie_in_the_package() -> None:
    assert weights_folder() == Path(omnireid.__file__).parent / "weights"


def test_names_are_those_of_the_artefacts(folder: Path) -> None:
    assert shipped_weights() == {}
    for name in ("b.safetensors", "a.market1501.safetensors", ".a-0123.safetensors", "notes.txt"):
        (folder / name).write_bytes(b"")
    assert list(shipped_weights().items()) == [
        ("a.market1501", folder / "a.market1501.safetensors"),
        ("b", folder / "b.safetensors"),
    ]
    assert find_shipped("b") == resolve_weights("b") == folder / "b.safetensors"
    assert find_shipped("c") is None
    folder.joinpath("b.safetensors").unlink()
    assert find_shipped("b") is None


def test_a_build_without_a_folder_ships_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped_module, "weights_folder", lambda: tmp_path / "gone")
    assert shipped_weights() == {}


def test_a_build_without_the_default_says_so(folder: Path) -> None:
    message = r"This build of omnireid ships no default weights: .*shipped has no osnet_retail_x0_25\.general\.safetens"
    for load in (load_embedder, lambda: resolve_weights(DEFAULT_WEIGHTS), lambda: find_shipped(DEFAULT_WEIGHTS)):
        with pytest.raises(WeightsNotFoundError, match=f"{message}ors. Name weights of your own .*--weights"):
            load()


def test_an_unknown_name_lists_what_ships(folder: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"No such file of weights: osnet.*\(this build has none\)"):
        resolve_weights("osnet")
    for name in ("a", "b"):
        (folder / f"{name}.safetensors").write_bytes(b"")
    with pytest.raises(WeightsNotFoundError, match=r"a name that ships with omnireid \(a, b\); 'omnireid models'"):
        resolve_weights("osnet")


def test_a_file_wins_over_a_name_and_a_folder_does_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = folder / f"{DEFAULT_WEIGHTS}.safetensors"
    shipped.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    mine = Path(DEFAULT_WEIGHTS)
    mine.mkdir()
    assert resolve_weights(DEFAULT_WEIGHTS) == shipped
    mine.rmdir()
    mine.write_bytes(b"mine")
    assert resolve_weights(DEFAULT_WEIGHTS) == mine
    assert resolve_weights(mine) == mine


def test_the_embedder_without_arguments_takes_the_default_weights(
    folder: Path, untrained: Path, crop_folder: Path
) -> None:
    assert inspect.signature(load_embedder).parameters["weights"].default == DEFAULT_WEIGHTS
    shutil.copy(untrained, folder / f"{DEFAULT_WEIGHTS}.safetensors")
    tensors, metadata = read_artefact(untrained)
    write_artefact(folder / "other.safetensors", tensors, WeightsMetadata("osnet_x0_25", 512, licence="MIT"))
    embedder = load_embedder()
    assert embedder.weights == folder / f"{DEFAULT_WEIGHTS}.safetensors"
    assert embedder.weights_sha256 == sha256_of(untrained)
    assert embedder.metadata == metadata
    assert embedder.embed(sorted(crop_folder.iterdir())).shape == (12, 512)
    assert load_embedder("other", RuntimeOptions(runtime="onnxruntime")).metadata.licence == "MIT"
