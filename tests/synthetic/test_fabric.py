import numpy as np
import pytest

from omnireid.synthetic.fabric import LOGOS, inside_logo, logo_stencil, weave


def test_logos_are_shapes_of_their_own() -> None:
    stencils = {logo: logo_stencil(logo) for logo in LOGOS}
    for logo, stencil in stencils.items():
        assert 0.15 < stencil.mean() < 0.95, logo
        for other, another in stencils.items():
            assert other == logo or (stencil != another).mean() > 0.08, (logo, other)


def test_a_logo_is_printed_within_its_size_only() -> None:
    x, y = np.meshgrid(np.linspace(-0.2, 0.2, 81), np.linspace(-0.2, 0.2, 81))
    printed = inside_logo("square", x.ravel().astype(np.float32), y.ravel().astype(np.float32), 0.1).reshape(81, 81)
    assert printed[40, 40]
    assert not printed[np.maximum(np.abs(x), np.abs(y)) > 0.051].any()
    assert printed.mean() == pytest.approx((0.1 * 0.88 / 0.4) ** 2, rel=0.15)


def test_a_triangle_points_up() -> None:
    x = np.array([-0.04, 0.04], dtype=np.float32)
    assert inside_logo("triangle", x, np.full(2, -0.04, dtype=np.float32), 0.1).all()
    assert not inside_logo("triangle", x, np.full(2, 0.04, dtype=np.float32), 0.1).any()


@pytest.mark.parametrize("pattern", ["hoops", "pinstripes", "checks", "dots", "halves"])
def test_a_pattern_shows_both_colours(pattern: str) -> None:
    x, y = (
        side.ravel().astype(np.float32) for side in np.meshgrid(np.linspace(-0.5, 0.5, 101), np.linspace(0, 0.6, 61))
    )
    share = weave(pattern, x, y, y / 0.6)
    assert share.min() == 0
    assert share.max() == 1
    assert 0.15 < share.mean() < 0.75


def test_plain_cloth_has_one_colour() -> None:
    values = np.linspace(-1, 1, 50, dtype=np.float32)
    assert not weave("plain", values, values, values).any()
