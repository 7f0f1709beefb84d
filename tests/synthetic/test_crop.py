from dataclasses import fields, replace
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from omnireid.synthetic.body import BUILDS
from omnireid.synthetic.camera import Camera, draw_camera
from omnireid.synthetic.crop import draw_crop, draw_distractor, drawing_height
from omnireid.synthetic.fabric import LOGOS
from omnireid.synthetic.figure import draw_figure
from omnireid.synthetic.pedestrian import Cue, Pedestrian, draw_pedestrians, without_hidden
from omnireid.synthetic.pose import Pose, Viewpoint
from omnireid.synthetic.solids import Canvas, Light

HEIGHT = 64


@pytest.fixture(scope="module")
def camera() -> Camera:
    return draw_camera(1, seed=0, difficulty=0.0, height=drawing_height(HEIGHT))


def pixels(file: bytes) -> npt.NDArray[np.float32]:
    with Image.open(BytesIO(file)) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture, dtype=np.float32)


def crop_of(person: Pedestrian, camera: Camera, image: int = 0) -> npt.NDArray[np.float32]:
    return pixels(draw_crop(person, camera, np.random.default_rng(image), difficulty=0.0, height=HEIGHT))


def figure_of(person: Pedestrian, yaw: float = 0.0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Colours and silhouette of a person who stands still."""
    canvas = Canvas(256, 128, Light((-0.3, -0.5, 0.8), 0.5))
    draw_figure(
        canvas, person, Pose(yaw, 0.0, 0.05, 0.0, ("swing", "swing")), Viewpoint(128, 64, 245, 0.1, 0.0), folds=0
    )
    return canvas.colour, np.isfinite(canvas.depth)


def test_a_crop_is_a_jpeg_of_the_size_asked_for(camera: Camera) -> None:
    assert crop_of(Pedestrian(), camera).shape == (HEIGHT, HEIGHT // 2, 3)


def changed_share(cue: Cue, camera: Camera) -> float:
    """Share of the pixels that differ between people in the same pose before the same place."""
    crops = [crop_of(person, camera) for person in draw_pedestrians(6, cue=cue, seed=4)]
    shares = [(np.abs(crop - crops[0]).max(axis=-1) > 40).mean() for crop in crops[1:]]
    return float(np.mean(shares))


def test_the_cue_decides_how_much_of_a_crop_tells_people_apart(camera: Camera) -> None:
    fine, middle, whole = (changed_share(cue, camera) for cue in ("fine", "middle", "global"))
    assert 0.002 < fine < 0.06
    assert fine < middle < whole


def test_the_fine_cue_leaves_silhouette_and_trousers_alone() -> None:
    first, second = (figure_of(replace(person, shoe="sneaker")) for person in draw_pedestrians(2, cue="fine", seed=1))
    assert np.array_equal(first[1], second[1])
    legs = slice(150, 215)
    assert first[1][legs].any()
    assert np.array_equal(first[0][legs], second[0][legs])


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("yaw", [0.0, 1.6, 3.1])
def test_a_figure_stands_upright_in_one_piece(build: str, yaw: float) -> None:
    _, solid = figure_of(Pedestrian(build=build), yaw)
    rows = np.flatnonzero(solid.any(axis=1))
    assert np.array_equal(rows, np.arange(rows[0], rows[-1] + 1))
    assert rows[-1] - rows[0] == pytest.approx(1.80 * 128, rel=0.05)
    assert 0.1 < solid.mean() < 0.35


def test_stout_people_are_wider_than_slim_ones() -> None:
    slim, stout = (figure_of(Pedestrian(build=build))[1].sum() for build in ("slim", "stout"))
    assert stout > 1.25 * slim


ALTERNATIVES = {
    "upper": ("tee", "shirt", "vest", "jacket", "hoodie", "coat"),
    "lower": ("trousers", "slim", "wide", "shorts", "skirt", "long skirt"),
    "hair": ("buzz", "short", "curly", "bob", "long", "ponytail", "bun"),
    "hat": ("none", "cap", "beanie", "headscarf"),
    "pattern": ("plain", "hoops", "pinstripes", "checks", "dots", "halves"),
    "bag": ("none", "backpack", "shoulder bag", "handbag", "tote"),
    "logo": tuple(LOGOS),
    "logo_place": ("left", "centre", "right"),
    "shoe": ("sneaker", "high-top", "boot"),
    "sole_colour": ("white", "black", "orange", "sky"),
    "trim_colour": ("none", "red", "white"),
}
DRESSED = Pedestrian(
    hat_colour="red",
    pattern_colour="white",
    bag_colour="orange",
    logo="disc",
    logo_colour="yellow",
    logo_place="centre",
    shoe_colour="red",
)


@pytest.mark.parametrize("attribute", ALTERNATIVES)
def test_every_value_of_an_attribute_looks_different_from_front_or_back(attribute: str) -> None:
    looks = []
    for value in ALTERNATIVES[attribute]:
        person = replace(DRESSED, **{attribute: value})  # type: ignore[arg-type]  # stature is not among them
        looks.append(np.concatenate([figure_of(person, yaw)[0] for yaw in (0.4, 3.5)]).astype(int))
    for first in range(len(looks)):
        for second in range(first):
            difference = np.abs(looks[first] - looks[second]).max(axis=-1) > 30
            assert difference.sum() > 25, f"{ALTERNATIVES[attribute][first]}, {ALTERNATIVES[attribute][second]}"


def test_people_who_differ_in_any_one_attribute_look_different() -> None:
    people = draw_pedestrians(120, cue="mixed", seed=8)
    generator = np.random.default_rng(0)
    names = [field.name for field in fields(Pedestrian)]
    compared = 0
    for person, other in zip(people[:60], people[60:], strict=True):
        name = names[generator.integers(len(names))]
        changed = without_hidden(replace(person, **{name: getattr(other, name)}))
        if changed != person and not {"none", "plain"} & {getattr(person, name), getattr(other, name)}:
            looks = [
                np.concatenate([figure_of(who, yaw)[0] for yaw in (0.4, 3.5)]).astype(int) for who in (person, changed)
            ]
            assert (np.abs(looks[0] - looks[1]).max(axis=-1) > 12).sum() > 15, (name, person, changed)
            compared += 1
    assert compared > 25


def test_a_logo_is_on_chest_and_back_but_not_on_the_side() -> None:
    bare = replace(DRESSED, logo="none")
    seen = {
        yaw: int((figure_of(DRESSED, yaw)[0] != figure_of(bare, yaw)[0]).any(axis=-1).sum()) for yaw in (0, 1.57, 3.14)
    }
    assert seen[0] > 200
    assert seen[3.14] > 200
    assert seen[1.57] < 0.3 * seen[0]


def test_a_backpack_is_seen_from_behind() -> None:
    bare, packed = Pedestrian(), Pedestrian(bag="backpack", bag_colour="orange")
    front, back = (int((figure_of(bare, yaw)[0] != figure_of(packed, yaw)[0]).any(axis=-1).sum()) for yaw in (0, 3.14))
    assert back > 2 * front > 0


def test_difficulty_moves_the_cameras_apart() -> None:
    def spread(difficulty: float) -> float:
        cameras = [draw_camera(c, seed=0, difficulty=difficulty, height=64) for c in range(1, 7)]
        gains = np.array([camera.gains for camera in cameras])
        return float(gains.std(axis=0).mean() + np.std([camera.blur for camera in cameras]))

    assert spread(0.0) < 0.5 * spread(0.5) < 0.5 * spread(1.0)


def test_nothing_is_in_the_way_at_difficulty_0_and_often_at_1(camera: Camera) -> None:
    def mean_change(difficulty: float) -> float:
        plain = Pedestrian(upper_colour="grey")
        crops = [
            pixels(draw_crop(plain, camera, np.random.default_rng(i), difficulty=difficulty, height=HEIGHT))
            for i in range(12)
        ]
        return float(np.mean([np.abs(a - b).mean() for a, b in zip(crops[1:], crops[:-1], strict=True)]))

    assert mean_change(1.0) > 1.2 * mean_change(0.0)


def test_neighbouring_cameras_look_at_different_places() -> None:
    means = np.array(
        [draw_camera(c, seed=0, difficulty=0.5, height=64).backdrop.reshape(-1, 3).mean(axis=0) for c in range(1, 7)]
    )
    for first in range(6):
        for second in range(first):
            assert np.abs(means[first] - means[second]).max() > 5


def test_distractors_differ_from_each_other(camera: Camera) -> None:
    crops = [pixels(draw_distractor(camera, np.random.default_rng(i), height=HEIGHT)) for i in range(4)]
    assert all(crop.shape == (HEIGHT, HEIGHT // 2, 3) for crop in crops)
    assert min(np.abs(a - b).mean() for a, b in zip(crops[1:], crops[:-1], strict=True)) > 3
