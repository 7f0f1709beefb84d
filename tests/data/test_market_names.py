from __future__ import annotations

import pytest

from omnireid.data.market_names import market_ids


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("0002_c1s1_000451_03.jpg", (2, 1)),
        ("-1_c3s2_000001_01.jpg", (-1, 3)),
        ("0001_c8_f0046182.jpg", (1, 8)),
        ("1_c15_x.png", (1, 15)),
        ("c1_0002.jpg", None),
        ("x0002_c1.jpg", None),
        ("0002.jpg", None),
        ("999999999999999999_c1.jpg", (999999999999999999, 1)),
        (f"{2**63}_c1s1_000451_03.jpg", None),
        (f"0002_c{2**63}.jpg", None),
    ],
)
def test_market_names(name: str, ids: tuple[int, int] | None) -> None:
    assert market_ids(name) == ids
