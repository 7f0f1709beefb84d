from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnireid.errors import ModelError
from omnireid.models.osnet_config import ABLATIONS, GATE_REDUCTION, OSNetConfig


@pytest.mark.parametrize(
    ("width", "channels"),
    [
        (1.0, (64, 256, 384, 512)),
        (0.75, (48, 192, 288, 384)),
        (0.5, (32, 128, 192, 256)),
        (0.25, (16, 64, 96, 128)),
        (2, (128, 512, 768, 1024)),
    ],
)
def test_width_scales_the_channels(width: float, channels: tuple[int, ...]) -> None:
    assert OSNetConfig(width=width).channels == channels


@given(st.floats(min_value=0.25, max_value=8))
def test_no_allowed_width_has_an_empty_gate(width: float) -> None:
    assert OSNetConfig(width=width).channels[1] // 4 // GATE_REDUCTION >= 1


def test_streams_grow_or_are_equally_deep() -> None:
    assert OSNetConfig().depths == (1, 2, 3, 4)
    assert OSNetConfig(depth_rule="equal").depths == (4, 4, 4, 4)
    assert OSNetConfig(streams=2).depths == (1, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0.24}, r"at least 0\.25; got 0\.24\. conv2's gates reduce 15 channels by 16, which leaves 0"),
        ({"width": 0.0}, r"at least 0\.25"),
        ({"width": -1.0}, r"at least 0\.25"),
        ({"width": math.nan}, r"must be a number; got nan"),
        ({"width": math.inf}, r"must be a number; got inf"),
        ({"width": "1.0"}, r"must be a number; got '1\.0'"),
        ({"streams": 0}, r"at least 1; got streams=0"),
        ({"streams": 1.5}, r"at least 1; got streams=1\.5"),
        ({"streams": True}, r"at least 1; got streams=True"),
        ({"convolution": "heavy"}, r"No convolution 'heavy'\. Known: lite, full"),
        ({"depth_rule": "falling"}, r"No depth_rule 'falling'\. Known: growing, equal"),
        ({"fusion": "product"}, r"No fusion 'product'\. Known: gated-sum, sum, concatenation"),
        ({"gate": "big"}, r"No gate 'big'\. Known: unified, separate, stream-weight, fixed, context, none"),
        ({"normalisation": "layer"}, r"No normalisation 'layer'\. Known: batch, stem, ibn, ain"),
        ({"gate": "none"}, r"Fusion 'gated-sum' does not go with gate 'none'"),
        ({"fusion": "sum"}, r"Fusion 'sum' does not go with gate 'unified'.*gate='none'"),
    ],
)
def test_nonsense_is_refused_at_birth(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        OSNetConfig(**values)


def test_every_ablation_is_another_design() -> None:
    assert len(ABLATIONS) == 11
    assert len(set(ABLATIONS.values())) == 11
    assert ABLATIONS["primary"] == OSNetConfig()
