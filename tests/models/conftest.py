"""What the tests of the networks share: published layouts with weights by rule, from tests/golden."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

State = dict[str, Tensor]


def _load_module(path: Path) -> ModuleType:
    """Import a script by its path, under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def rule() -> ModuleType:
    return _load_module(GOLDEN / "weights_by_rule.py")


@pytest.fixture(scope="session")
def original_rule(shared: Path) -> ModuleType:
    """The script that `rule` is a copy of."""
    return _load_module(shared / "golden" / "weights_by_rule.py")


@pytest.fixture(scope="session")
def published_state(rule: ModuleType) -> Callable[[str], State]:
    """A published layout, 751 classes, with weights by rule; a fresh dict at each call."""
    made: dict[str, State] = {}

    def state(variant: str) -> State:
        if variant not in made:
            made[variant] = {key: torch.from_numpy(array) for key, array in rule.state_dict(variant).items()}
        return dict(made[variant])

    return state


@pytest.fixture(scope="session")
def small_state(published_state: Callable[[str], State]) -> State:
    """The published osnet_x0_25, the smallest one."""
    return published_state("osnet_x0_25")
