"""A table of small runs on drawn people."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from omnireid.experiments.options import ExperimentOptions
from omnireid.experiments.table import ExperimentTable, Published, Row
from omnireid.experiments.tables import EXPERIMENT_RECIPE
from omnireid.synthetic.dataset import synthesize
from omnireid.training import run as run_module
from omnireid.training.recipes import Recipe

TABLE = ExperimentTable(
    name="small",
    version=3,
    question="Do more streams help?",
    rows=(
        Row("four", published=Published(93.6, 81.0)),
        Row("one", "osnet_{width}_one_stream", published=Published(86.5, 67.7, 7.5, "size not stated")),
        Row("broken", change={"sampler": "identity", "images_per_identity": 3}),
        Row("cost", "osnet_x0_5", is_trained=False),
    ),
    source="A paper",
    published_for="other crops",
)


@pytest.fixture(scope="module", autouse=True)
def without_curves() -> Iterator[None]:
    """Drawing them would take longer than these runs; tests/training/test_run.py looks at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "draw_curves", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people: three to learn from, with 12 crops, and three to find."""
    return synthesize(tmp_path_factory.mktemp("drawn") / "people", identities=6, cameras=2, per_camera=2, height=32)


@pytest.fixture(scope="session")
def other_people(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same crops in another folder, as a second data set to be scored on."""
    return Path(shutil.copytree(people, tmp_path_factory.mktemp("copied") / "others"))


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return replace(EXPERIMENT_RECIPE, epochs=1, resolutions=("32x16@0",), batch_size=4, warmup_epochs=0, average=0.0)


@pytest.fixture(scope="session")
def options(people: Path, other_people: Path, tmp_path_factory: pytest.TempPathFactory) -> ExperimentOptions:
    folder = tmp_path_factory.mktemp("runs")
    return ExperimentOptions(
        folder / "whole",
        people,
        seeds=(0, 1),
        evaluate_on=(other_people,),
        device="cpu",
        threads=1,
        checkpoint_every=1,
        pixel_cache_folder=folder / "stores",
    )
