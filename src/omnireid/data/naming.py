"""What the name of a folder says: a part of a split, a camera, a person, a container, or nothing at all."""

from __future__ import annotations

import re
from collections.abc import Sequence

from omnireid.data.identifiers import is_missing

ROLE_OF_WORD = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "query": "query",
    "queries": "query",
    "probe": "query",
    "gallery": "gallery",
    "test": "test",
    "testing": "test",
}
"""Words for the parts of a split, in folder names and in manifests, and the part each stands for."""
_WORDS = "|".join(sorted(ROLE_OF_WORD, key=len, reverse=True))
_PICTURES = r"(?:images?|imgs?|pics?|crops?|set|data)"
_PART = re.compile(rf"(?P<before>(?:{_PICTURES}|bounding_?box)[-_ ]?)?(?P<word>{_WORDS})(?:[-_ ]?{_PICTURES})?")
_LIKE_A_PART = re.compile(
    rf"(?:(?:{_PICTURES}|bounding_?box|bbox|gt|multi)[-_ ]?)?(?:{_WORDS}|eval|evaluation|dev|holdout|trainval)"
    rf"(?:[-_ ]?(?:{_PICTURES}|all|val|old|new|v?\d+))?"
    r"|(?:fold|split|part)[-_ ]?\d+"
)
_ALSO_NAMES = frozenset({"val", "dev"})  # of people; alone they are no sign of a split

_CAMERA = re.compile(
    r"(?:(?:ip|web)?(?:camera|kamera|cam|cctv)|view|channel)[-_ ]?(?:\d{1,4}|[a-z])|ch?[-_ ]?\d{1,4}|cam(era)?"
)
_PERSON = re.compile(r"(?:person|pid|people|subject|identity|id|ped|pedestrian)[-_ ]?\d+")
_CONTAINERS = frozenset(
    "all bounding_boxes crops data dataset images imgs people persons photos pictures pics raw".split()  # noqa: SIM905
)


def part_roles(names: Sequence[str]) -> dict[str, str]:
    """Find the folders among `names` that are parts of a split, and the role of each: ``image_query`` is a query.

    Beside a query, ``image_test`` and ``bounding_box_test`` are the gallery, as in Market-1501 and VeRi.
    """
    found = {name: match for name in names if (match := _PART.fullmatch(name.lower()))}
    roles = {name: ROLE_OF_WORD[match["word"]] for name, match in found.items()}
    if "query" in roles.values():
        roles |= {name: "gallery" for name, role in roles.items() if role == "test" and found[name]["before"]}
    return roles


def looks_like_part(name: str) -> bool:
    """Whether a folder of this name is a part of a split rather than a person."""
    return _LIKE_A_PART.fullmatch(name.lower()) is not None and name.lower() not in _ALSO_NAMES


def naming_problem(files: Sequence[tuple[str, ...]]) -> str | None:
    """Say why folders cannot be people (``person/*.jpg``) and cameras (``person/camera/*.jpg``) by their names.

    Args:
        files: The parts of each file's relative path, two or three for each.

    Returns:
        The reason and the next step, or None if the names leave no doubt.
    """
    people = sorted({parts[0] for parts in files})
    cameras = sorted({parts[1] for parts in files if len(parts) == 3})
    if all(name.lower() in _CONTAINERS for name in people):
        return f"{people[0]}/ looks like a folder around the people's folders; give that folder itself"
    other_way_round = all(map(_is_camera, people)) and not (cameras and all(map(_is_camera, cameras)))
    other_way_round |= bool(cameras) and all(map(_is_person, cameras)) and not all(map(_is_person, people))
    if other_way_round:
        return (
            f"{people[0]}/ looks like a camera, not a person. A folder for each person comes first "
            "(person/camera/*.jpg): move the folders, or list the crops in a manifest with person_id and camera_id"
        )
    for what, names in (("person", people), ("camera", cameras)):
        unknown = [name for name in names if is_missing(name)]
        if unknown:
            return f"the folder {unknown[0]}/ names no {what}. Rename it if it is one {what}" + (
                "; rename it to -1 to leave its crops out as junk" if what == "person" else ""
            )
    return None


def _is_camera(name: str) -> bool:
    return _CAMERA.fullmatch(name.lower()) is not None


def _is_person(name: str) -> bool:
    return _PERSON.fullmatch(name.lower()) is not None
