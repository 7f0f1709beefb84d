"""The crops of a synthetic data set, and the names under which they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from omnireid.errors import SettingError
from omnireid.synthetic.camera import Camera, draw_camera
from omnireid.synthetic.crop import draw_crop, draw_distractor, drawing_height
from omnireid.synthetic.pedestrian import CUES, Cue, Pedestrian, draw_pedestrians
from omnireid.synthetic.seeds import Drawn, seeded_generator

FOLDERS: Mapping[str, str] = MappingProxyType(
    {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
)
"""Market-1501's folder for each split."""

_LIMITS: Mapping[str, tuple[int, int, str]] = MappingProxyType(
    {
        "identities": (2, 9999, "half of them train and half of them test, and a file name holds four digits"),
        "cameras": (1, 99, "somebody must look"),
        "per_camera": (1, 99, "a person needs a crop, and a file name holds two digits"),
        "distractors": (0, 9999, "they are counted for each camera"),
        "height": (32, 1024, "a crop is half as wide, and memory is finite"),
        "seed": (0, 2**63 - 1, "NumPy takes no others"),
    }
)


@dataclass(frozen=True)
class Plan:
    """What a synthetic data set consists of.

    Attributes:
        identities: Number of people, 2 to 9,999. No two look the same.
        cameras: Number of cameras, 1 to 99, each with its own view, colours, sharpness and place.
        per_camera: Crops of each person by each camera, 1 to 99.
        distractors: Additional gallery crops by each camera, with person id 0. They show people cut through and
            empty places, as a detector's mistakes do.
        seed: Seed of the drawing, 0 or above. Another seed gives other people, cameras and places.
        cue: What tells people apart: "fine" details (logo, shoes, trim), "middle" parts (hair, hat, pattern, bag),
            the "global" whole (body, skin, garments and their colours), or "mixed", all of them. Everything outside
            the cue is the same for everybody.
        difficulty: How much cameras differ and how much pose, framing, view and occlusion vary, from 0 to 1.
        height: Height of a crop in pixels, an even number. A crop is half as wide.

    Raises:
        SettingError: a value out of range.
    """

    identities: int = 100
    cameras: int = 6
    per_camera: int = 4
    distractors: int = 0
    seed: int = 0
    cue: Cue = "mixed"
    difficulty: float = 0.5
    height: int = 128

    def __post_init__(self) -> None:
        for name, (low, high, reason) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(f"{name} must be {low} to {high}: {reason}; got {value}.")
        if self.cameras * self.per_camera < 2:
            raise SettingError(
                "1 camera with 1 crop a person gives no pair of crops to compare. Ask for 2 cameras, or for 2 crops."
            )
        if self.height % 2:
            raise SettingError(f"height must be even, since a crop is half as wide; got {self.height}.")
        if not 0 <= self.difficulty <= 1:
            raise SettingError(f"difficulty must be 0 (easy) to 1 (hard); got {self.difficulty}.")
        if self.cue not in CUES:
            raise SettingError(f"No cue {self.cue!r}. Known: {', '.join(CUES)}.")

    @property
    def parameters(self) -> dict[str, object]:
        """Every parameter by name, as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class PlannedCrop:
    """One crop to be drawn.

    Attributes:
        split: train, query or gallery.
        name: File name.
        person_id: Person id from 1, or 0 for a distractor.
        camera_id: Camera id from 1.
        image: Number of the crop among those of this person by this camera, from 0.
    """

    split: str
    name: str
    person_id: int
    camera_id: int
    image: int

    @property
    def path(self) -> Path:
        """The crop's file, relative to the root of the data set."""
        return Path(FOLDERS[self.split], self.name)


def planned_crops(plan: Plan) -> tuple[PlannedCrop, ...]:
    """List every crop of the data set, camera after camera."""
    crops: list[PlannedCrop] = []
    for camera_id in range(1, plan.cameras + 1):
        for person_id in range(1, plan.identities + 1):
            first = seeded_generator(plan.seed, Drawn.FRAME, person_id, camera_id).integers(0, 90_000)
            for image in range(plan.per_camera):
                split = _split_of(person_id, camera_id, image, plan.per_camera)
                crops.append(_named(split, person_id, camera_id, image, frame=int(first) + 25 * image))
        crops += [_named("gallery", 0, camera_id, image, frame=25 * image) for image in range(plan.distractors)]
    return tuple(crops)


def _split_of(person_id: int, camera_id: int, image: int, per_camera: int) -> str:
    """Odd ids train and even ids test, so adding identities moves nobody to the other side.

    A person's first crop by a camera is the query. If it is the only one, it is a
    query in odd cameras and in the gallery in even ones.
    """
    if person_id % 2:
        return "train"
    if per_camera == 1:
        return "query" if camera_id % 2 else "gallery"
    return "gallery" if image else "query"


def _named(split: str, person_id: int, camera_id: int, image: int, *, frame: int) -> PlannedCrop:
    name = f"{person_id:04d}_c{camera_id}s1_{frame:06d}_{image + 1:02d}.jpg"
    return PlannedCrop(split, name, person_id, camera_id, image)


def count_splits(crops: Sequence[PlannedCrop]) -> dict[str, int]:
    """Count the crops of each split."""
    counts = Counter(crop.split for crop in crops)
    return {split: counts[split] for split in FOLDERS}


def draw_planned(plan: Plan, crops: Sequence[PlannedCrop], root: Path, advance: Callable[[int], None]) -> None:
    """Draw `crops` into the existing folders of `root`, and call `advance(1)` after each.

    A crop depends only on `plan` and its own ids, not on other crops.
    """
    people = draw_pedestrians(max((crop.person_id for crop in crops), default=0), cue=plan.cue, seed=plan.seed)

    @cache
    def camera(camera_id: int) -> Camera:
        height = drawing_height(plan.height)
        return draw_camera(camera_id, seed=plan.seed, difficulty=plan.difficulty, height=height)

    for crop in crops:
        (root / crop.path).write_bytes(_draw(plan, crop, people, camera(crop.camera_id)))
        advance(1)


def _draw(plan: Plan, crop: PlannedCrop, people: Sequence[Pedestrian], camera: Camera) -> bytes:
    if crop.person_id == 0:
        generator = seeded_generator(plan.seed, Drawn.DISTRACTOR, crop.camera_id, crop.image)
        return draw_distractor(camera, generator, height=plan.height)
    generator = seeded_generator(plan.seed, Drawn.IMAGE, crop.person_id, crop.camera_id, crop.image)
    person = people[crop.person_id - 1]
    return draw_crop(person, camera, generator, difficulty=plan.difficulty, height=plan.height)
