import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnireid.synthetic.solids import Canvas, Light, Surface
from omnireid.types import FloatArray

RED, BLUE = (np.array(colour, dtype=np.float32) for colour in ((200, 0, 0), (0, 0, 200)))
FRONTAL = Light((0.0, 0.0, 1.0), 0.5)


def post(canvas: Canvas, colour: FloatArray, *, x: float = 32, depth: float = 0, yaw: float = 0) -> None:
    """An upright tube 20 pixels wide and 8 thick, from row 90 to row 10."""
    canvas.add_tube((x, 90, depth), (x, 10, depth), [(0, 10, 4), (1, 10, 4)], lambda _: colour, yaw=yaw, caps=(0, 0))


def covered(canvas: Canvas) -> tuple[int, int, int, int]:
    """First and last covered row, first and last covered column."""
    rows, columns = np.nonzero(np.isfinite(canvas.depth))
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_a_tube_covers_what_its_widths_say() -> None:
    canvas = Canvas(100, 64, FRONTAL)
    post(canvas, RED)
    canvas.render()
    assert covered(canvas) == (10, 90, 23, 41)


def test_a_turned_tube_shows_its_thickness() -> None:
    canvas = Canvas(100, 64, FRONTAL)
    post(canvas, RED, yaw=math.pi / 2)
    canvas.render()
    assert covered(canvas) == (10, 90, 29, 35)


@given(st.booleans(), st.booleans(), st.floats(-math.pi, math.pi))
def test_the_nearest_solid_wins_in_every_order(red_first: bool, red_near: bool, yaw: float) -> None:
    canvas = Canvas(100, 64, FRONTAL)
    for is_red in (red_first, not red_first):
        post(canvas, RED if is_red else BLUE, depth=30 if is_red == red_near else 0, yaw=yaw)
    canvas.render()
    red, _, blue = canvas.colour[50, 32]
    assert (red > blue) == red_near


def test_a_later_solid_is_hidden_by_one_rendered_before() -> None:
    canvas = Canvas(100, 64, FRONTAL)
    post(canvas, RED, depth=30)
    canvas.render()
    post(canvas, BLUE)
    canvas.render()
    assert canvas.colour[50, 32, 0] > 0
    assert canvas.colour[50, 32, 2] == 0


@pytest.mark.parametrize(("yaw", "angle"), [(0.0, 0.0), (math.pi / 2, -math.pi / 2), (-math.pi / 2, math.pi / 2)])
def test_the_angle_says_which_side_is_seen(yaw: float, angle: float) -> None:
    seen: list[FloatArray] = []

    def paint(surface: Surface) -> FloatArray:
        seen.append(surface.angle[np.abs(surface.side) < 0.05])
        return RED

    canvas = Canvas(100, 64, FRONTAL)
    canvas.add_tube((32, 90, 0), (32, 10, 0), [(0, 10, 10), (1, 10, 10)], paint, yaw=yaw)
    canvas.render()
    assert len(seen[0])
    assert np.abs(seen[0] - angle).max() < 0.1


def test_what_is_not_kept_is_not_there() -> None:
    canvas = Canvas(100, 64, FRONTAL)
    canvas.add_tube((32, 90, 0), (32, 10, 0), [(0, 10, 4), (1, 10, 4)], lambda _: RED, keep=lambda s: s.along > 0.5)
    canvas.render()
    assert not np.isfinite(canvas.depth[60:]).any()
    assert np.isfinite(canvas.depth[20:45, 32]).all()


def test_light_falls_on_the_side_it_comes_from() -> None:
    canvas = Canvas(100, 64, Light((-1.0, 0.0, 0.3), 0.3))
    post(canvas, RED)
    canvas.render()
    assert canvas.colour[50, 26, 0] > 1.5 * canvas.colour[50, 38, 0]


@given(
    start=st.tuples(st.floats(-200, 200), st.floats(-200, 200), st.floats(-50, 50)),
    end=st.tuples(st.floats(-200, 200), st.floats(-200, 200), st.floats(-50, 50)),
    radius=st.floats(0.3, 40),
    yaw=st.floats(-7, 7),
)
def test_any_tube_stays_finite_and_on_the_canvas(
    start: tuple[float, float, float], end: tuple[float, float, float], radius: float, yaw: float
) -> None:
    canvas = Canvas(64, 32, FRONTAL)
    canvas.add_tube(start, end, [(0, radius, radius / 2), (1, radius / 2, radius)], lambda _: RED, yaw=yaw)
    canvas.render()
    solid = np.isfinite(canvas.depth)
    assert not np.isnan(canvas.depth).any()
    assert (canvas.colour[~solid] == 0).all()
    assert (canvas.colour[solid][:, 0] > 0).all()
