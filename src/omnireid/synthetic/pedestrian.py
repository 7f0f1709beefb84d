"""The identity of a drawn pedestrian: visible attributes, and which of them tell people apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np

from omnireid.synthetic.palette import CLOTH, HAIR, SKIN, contrasting_colours
from omnireid.synthetic.seeds import Drawn, seeded_generator

Cue = Literal["fine", "middle", "global", "mixed"]
"""What tells people apart: small details, parts of the body, the whole, or all of them."""

CUES: tuple[Cue, ...] = get_args(Cue)

NOTHING = "none"
"""The value of an attribute that is absent, and of the colour of anything absent."""


@dataclass(frozen=True)
class Pedestrian:
    """The appearance of one identity, the same in every camera and view.

    Two pedestrians are equal exactly if no crop can tell them apart. So the colour of
    something absent is always `NOTHING`.

    Attributes:
        stature: Height relative to the average, 0.9 to 1.1.
        build: Key of ``figure.BUILDS``.
        skin: Key of ``palette.SKIN``.
        upper: Garment of the upper body: tee, shirt, vest, jacket, hoodie or coat.
        upper_colour: Key of ``palette.CLOTH``, as all further colours except the hair's.
        lower: Garment of the legs: trousers, slim, wide, shorts, skirt or long skirt.
        lower_colour: Colour of `lower`.
        hair: Hair style: buzz, short, curly, bob, long, ponytail or bun.
        hair_colour: Key of ``palette.HAIR``.
        hat: None, cap, beanie or headscarf (which hides the hair).
        hat_colour: Colour of `hat`.
        pattern: Weave of the upper garment: plain, hoops, pinstripes, checks, dots or halves.
        pattern_colour: Second colour of `pattern`.
        bag: None, backpack, shoulder bag, handbag or tote.
        bag_colour: Colour of `bag`.
        logo: Key of ``fabric.LOGOS``, or none; on chest and back.
        logo_colour: Colour of `logo`.
        logo_place: Left, centre or right of the wearer's chest.
        shoe: Sneaker, high-top or boot.
        shoe_colour: Colour of the upper part of the shoe.
        sole_colour: Colour of the sole.
        trim_colour: Colour of collar and cuffs.
    """

    stature: float = 1.0
    build: str = "average"
    skin: str = "light"
    upper: str = "tee"
    upper_colour: str = "grey"
    lower: str = "trousers"
    lower_colour: str = "navy"
    hair: str = "short"
    hair_colour: str = "dark brown"
    hat: str = NOTHING
    hat_colour: str = NOTHING
    pattern: str = "plain"
    pattern_colour: str = NOTHING
    bag: str = NOTHING
    bag_colour: str = NOTHING
    logo: str = NOTHING
    logo_colour: str = NOTHING
    logo_place: str = NOTHING
    shoe: str = "sneaker"
    shoe_colour: str = "black"
    sole_colour: str = "white"
    trim_colour: str = NOTHING


STATURES = (0.9, 0.95, 1.0, 1.05, 1.1)
_LOGOS = ("disc", "ring", "square", "triangle", "star", "cross", "diamond", "heart", "bolt", "bars")

# A value that is listed twice is drawn twice as often.
_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "build": ("slim", "average", "average", "broad", "curvy", "stout"),
        "skin": tuple(SKIN),
        "upper": ("tee", "tee", "shirt", "shirt", "vest", "jacket", "hoodie", "coat"),
        "upper_colour": tuple(CLOTH),
        "lower": ("trousers", "trousers", "slim", "wide", "shorts", "skirt", "long skirt"),
        "lower_colour": ("navy", "black", "grey", "blue", "beige", "brown", "olive", "white", "burgundy", "teal"),
        "hair": ("buzz", "short", "short", "curly", "bob", "long", "ponytail", "bun"),
        "hair_colour": tuple(HAIR),
        "hat": (NOTHING, NOTHING, NOTHING, NOTHING, "cap", "beanie", "headscarf"),
        "hat_colour": tuple(CLOTH),
        "pattern": ("plain", "hoops", "pinstripes", "checks", "dots", "halves"),
        "bag": (NOTHING, "backpack", "shoulder bag", "handbag", "tote"),
        "bag_colour": ("black", "brown", "beige", "red", "navy", "olive", "orange", "teal", "pink", "white"),
        "logo": _LOGOS,
        "logo_place": ("left", "centre", "right"),
        "shoe": ("sneaker", "high-top", "boot"),
        "shoe_colour": tuple(CLOTH),
        "sole_colour": ("white", "black", "orange", "sky"),
    }
)

_SCALES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "global": ("stature", "build", "skin", "upper", "upper_colour", "lower", "lower_colour"),
        "middle": ("hair", "hair_colour", "hat", "hat_colour", "pattern", "pattern_colour", "bag", "bag_colour"),
        "fine": ("logo", "logo_colour", "logo_place", "shoe", "shoe_colour", "sole_colour", "trim_colour"),
    }
)


def possible_values(attribute: str) -> tuple[str, ...]:
    """The values that an attribute of a drawn person may have, each once and without `NOTHING`."""
    return tuple(value for value in dict.fromkeys(_CHOICES[attribute]) if value != NOTHING)


def cue_attributes(cue: Cue) -> tuple[str, ...]:
    """Names of the attributes that tell identities apart under `cue`. All others are the same for everybody."""
    return sum(_SCALES.values(), ()) if cue == "mixed" else _SCALES[cue]


def draw_pedestrians(count: int, *, cue: Cue, seed: int) -> tuple[Pedestrian, ...]:
    """Draw `count` people. No two of them look the same under `cue`.

    The first people do not depend on the number that follow. Each cue has room for
    more than 100,000 people, so a count of data-set size always succeeds.
    """
    people: dict[Pedestrian, None] = {}
    for index in range(1, count + 1):
        generator = seeded_generator(seed, Drawn.IDENTITY, index)
        person = draw_pedestrian(generator, cue)
        while person in people:
            person = draw_pedestrian(generator, cue)
        people[person] = None
    return tuple(people)


def draw_pedestrian(generator: np.random.Generator, cue: Cue) -> Pedestrian:
    """Draw one person. Every attribute outside `cue` keeps its plain value."""
    drawn = {name: options[generator.integers(len(options))] for name, options in _CHOICES.items()}
    stature = STATURES[generator.integers(len(STATURES))]
    accents = generator.random(4).tolist()
    inside = cue_attributes(cue)
    changes: dict[str, Any] = {name: value for name, value in drawn.items() if name in inside}
    if "stature" in inside:
        changes["stature"] = stature
    person = replace(Pedestrian(), **changes)
    if "pattern" in inside:
        person = _with_pattern(person, accents[0])
    if "logo" in inside:
        person = _with_print(person, accents[1:], every=cue == "fine")
    return without_hidden(person)


def _with_pattern(person: Pedestrian, accent: float) -> Pedestrian:
    """Give the person a second cloth colour that stands out from the first."""
    return replace(person, pattern_colour=_pick(contrasting_colours(person.upper_colour), accent))


def _with_print(person: Pedestrian, accents: Sequence[float], *, every: bool) -> Pedestrian:
    """Give the person logo and trim in colours that stand out. Without `every`, some get no logo or no trim."""
    ground = [person.upper_colour] + ([] if person.pattern == "plain" else [person.pattern_colour])
    logo_colour = _pick(contrasting_colours(*ground), accents[0])
    trim_colour = _pick(contrasting_colours(person.upper_colour), accents[1])
    person = replace(person, logo_colour=logo_colour, trim_colour=trim_colour)
    if every:
        return person
    if accents[2] < 0.35:
        person = replace(person, logo=NOTHING)
    return replace(person, trim_colour=NOTHING) if accents[2] > 0.6 else person


def _pick(options: tuple[str, ...], fraction: float) -> str:
    """The option at the fraction (0 to 1) of the list's length."""
    return options[min(int(fraction * len(options)), len(options) - 1)]


def without_hidden(person: Pedestrian) -> Pedestrian:
    """Reset properties that no crop can show, since the thing is absent or always covered."""
    if person.lower == "wide":
        person = replace(person, shoe="sneaker")
    if person.lower == "long skirt" and person.shoe == "boot":
        person = replace(person, shoe="high-top")
    if person.upper == "vest" and person.hat == "headscarf":
        person = replace(person, trim_colour=NOTHING)  # it has no cuffs, and the scarf hides the collar
    if person.pattern == "plain":
        person = replace(person, pattern_colour=NOTHING)
    if person.bag == NOTHING:
        person = replace(person, bag_colour=NOTHING)
    if person.logo == NOTHING:
        person = replace(person, logo_colour=NOTHING, logo_place=NOTHING)
    if person.hat == NOTHING:
        return replace(person, hat_colour=NOTHING)
    if person.hat == "headscarf":
        person = replace(person, hair=NOTHING, hair_colour=NOTHING)
    return person
