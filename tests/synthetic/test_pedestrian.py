from dataclasses import fields

import pytest

from omnireid.synthetic.body import BUILDS
from omnireid.synthetic.fabric import LOGOS
from omnireid.synthetic.palette import CLOTH, HAIR, SKIN, contrasting_colours
from omnireid.synthetic.pedestrian import CUES, NOTHING, Cue, Pedestrian, cue_attributes, draw_pedestrians


@pytest.mark.parametrize("cue", CUES)
def test_no_two_people_look_the_same(cue: Cue) -> None:
    people = draw_pedestrians(1500, cue=cue, seed=3)
    assert len(set(people)) == 1500


@pytest.mark.parametrize("cue", CUES)
def test_identity_lives_in_the_cue_and_nowhere_else(cue: Cue) -> None:
    people = draw_pedestrians(300, cue=cue, seed=1)
    inside = cue_attributes(cue)
    assert inside
    for field in fields(Pedestrian):
        values = {getattr(person, field.name) for person in people}
        if field.name in inside:
            assert len(values) > 2, f"{field.name} hardly varies under cue {cue}"
        else:
            assert values == {field.default}, f"{field.name} varies outside cue {cue}"


def test_the_cues_share_out_every_attribute() -> None:
    parts = [cue_attributes(cue) for cue in CUES if cue != "mixed"]
    together = [name for part in parts for name in part]
    assert sorted(together) == sorted(field.name for field in fields(Pedestrian))
    assert sorted(cue_attributes("mixed")) == sorted(together)


@pytest.mark.parametrize("cue", CUES)
def test_the_first_people_do_not_depend_on_how_many_follow(cue: Cue) -> None:
    assert draw_pedestrians(300, cue=cue, seed=5)[:40] == draw_pedestrians(40, cue=cue, seed=5)
    assert draw_pedestrians(40, cue=cue, seed=5) != draw_pedestrians(40, cue=cue, seed=6)


def test_every_fine_pedestrian_wears_a_logo_and_a_trim() -> None:
    for person in draw_pedestrians(300, cue="fine", seed=0):
        assert NOTHING not in (person.logo, person.logo_colour, person.logo_place, person.trim_colour)


def test_what_is_hidden_has_no_properties() -> None:
    for person in draw_pedestrians(800, cue="mixed", seed=0):
        assert (person.pattern == "plain") == (person.pattern_colour == NOTHING)
        assert (person.bag == NOTHING) == (person.bag_colour == NOTHING)
        assert (person.hat == NOTHING) == (person.hat_colour == NOTHING)
        assert (person.logo == NOTHING) == (person.logo_colour == NOTHING) == (person.logo_place == NOTHING)
        assert (person.hat == "headscarf") == (person.hair == NOTHING) == (person.hair_colour == NOTHING)


def test_every_value_is_one_that_can_be_drawn() -> None:
    for person in draw_pedestrians(800, cue="mixed", seed=0):
        assert person.build in BUILDS
        assert person.skin in SKIN
        assert person.hair_colour in {*HAIR, NOTHING}
        assert person.logo in {*LOGOS, NOTHING}
        for name in ("upper", "lower", "hat", "pattern", "bag", "logo", "shoe", "sole", "trim"):
            assert getattr(person, f"{name}_colour") in {*CLOTH, NOTHING}


def test_prints_and_patterns_show_on_the_cloth() -> None:
    for person in draw_pedestrians(300, cue="mixed", seed=2):
        visible = contrasting_colours(person.upper_colour)
        assert person.upper_colour not in visible
        assert {person.pattern_colour, person.logo_colour, person.trim_colour} <= {*visible, NOTHING}
