from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from omnireid.tracking.appearance import AppearanceScale
from omnireid.tracking.linking import link_recording, link_tracklets
from omnireid.tracking.tracking_options import LinkingOptions
from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.whereabouts import STRAY_SHARE, PlaceScale, last_second, learn_places, whereabouts

from .walkers import RATE, crowd, walker

SCALE = PlaceScale((0.0, 0.8, 1.6), (0.0, 0.1, 0.3), area=40.0)


def evidence(earlier: Tracklet, later: Tracklet) -> float:
    return SCALE.log_likelihood_ratio(whereabouts(earlier, at_end=True), whereabouts(later, at_end=False))


def faceless(tracklet: Tracklet) -> Tracklet:
    return replace(
        tracklet, embedded=tracklet.embedded[:0], embeddings=tracklet.embeddings[:0], qualities=tracklet.qualities[:0]
    )


def test_whoever_begins_where_the_motion_leads_is_likely_the_same() -> None:
    earlier = walker(0, 0, (0, 20), speed=80.0)
    on_the_way = evidence(earlier, walker(1, 0, (25, 40), speed=80.0))
    turned_back = evidence(earlier, walker(1, 0, (25, 40), left=20.0, speed=80.0))
    elsewhere = evidence(earlier, walker(1, 0, (25, 40), left=900.0, speed=80.0))
    assert on_the_way > 3 > turned_back > elsewhere
    assert math.isclose(elsewhere, math.log(STRAY_SHARE), abs_tol=1e-6)


def test_the_evidence_of_a_place_fades_with_time() -> None:
    earlier = walker(0, 0, (0, 20))
    ratios = [evidence(earlier, walker(1, 0, (20 + gap, 50 + gap))) for gap in (5, 20, 80, 600, 6000)]
    assert ratios == sorted(ratios, reverse=True)
    assert abs(ratios[-1] - math.log(STRAY_SHARE)) < 0.1


def test_how_far_people_stray_is_learned_from_the_tracklets() -> None:
    rng = np.random.default_rng(0)

    def strolling(number: int) -> Tracklet:
        tracklet = walker(number, number, (0, 60), left=100.0 * number)
        steps = rng.normal(0, 5, (60, 1)).cumsum(axis=0).astype(np.float32)
        return replace(tracklet, boxes=tracklet.boxes + np.hstack([steps, 0 * steps, steps, 0 * steps]))

    straight = learn_places([walker(number, number, (0, 60), left=100.0 * number, speed=50.0) for number in range(6)])
    winding = learn_places([strolling(number) for number in range(6)])
    assert max(straight.spreads[:3]) < 0.05  # over longer gaps a constant speed is not taken for granted
    assert list(winding.spreads) == sorted(winding.spreads)
    assert winding.spreads[2] > straight.spreads[2]
    assert learn_places([]).gaps_s == (0.0,)


def test_the_place_settles_what_appearance_leaves_open() -> None:
    scale = AppearanceScale(same=0.1, different=0.8, spread=0.5, same_pairs=9, different_pairs=9)
    first, twin = walker(0, 0, (0, 20), speed=80.0), walker(1, 0, (0, 20), left=600.0, speed=80.0)
    back = walker(2, 0, (24, 40), speed=80.0)
    (link,) = link_tracklets([first, twin, back], scale, LinkingOptions(fastest=99)).links
    assert (link.earlier, link.later, link.alternative) == (0, 2, 1)
    assert link.place > 2
    assert link.probability > 0.9 > link.alternative_probability


def test_without_crops_nobody_is_linked() -> None:
    first, back = walker(0, 0, (0, 20), speed=80.0), walker(1, 0, (24, 40), speed=80.0)
    others = [walker(number, number, (0, 60), left=300.0 * number) for number in (4, 5, 6)]
    linked = link_recording([faceless(one) for one in (first, back, *others)])
    assert linked.links == ()


def test_the_last_second_is_all_that_an_end_needs() -> None:
    tracklet = walker(0, 0, (0, 40), speed=70.0)
    short = last_second(tracklet)
    assert len(short.frames) == RATE + 1
    whole, part = whereabouts(tracklet, at_end=True), whereabouts(short, at_end=True)
    assert (whole.time, whole.height) == (part.time, part.height)
    assert np.allclose(whole.velocity, part.velocity)
    assert np.allclose(whole.velocity, [70, 0])


def test_a_crowd_that_stays_is_not_linked() -> None:
    assert link_recording(crowd()).links == ()
