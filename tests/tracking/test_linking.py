from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from omnireid.errors import SettingError, TrackingError
from omnireid.tracking.appearance import AppearanceScale, learn_appearance
from omnireid.tracking.linking import (
    choose_greedily,
    choose_together,
    link_recording,
    link_tracklets,
)
from omnireid.tracking.reach import FASTEST_BOUND, SLOWEST_BOUND, learn_fastest, needed_speed
from omnireid.tracking.splitting import split_at_gaps, split_tracklets
from omnireid.tracking.tracking_options import LinkingMethod, LinkingOptions
from omnireid.tracking.tracklets import Tracklet

from .walkers import crowd, join, walker

SCALE = AppearanceScale(same=0.1, different=0.8, spread=0.2, same_pairs=9, different_pairs=9)


def test_whoever_comes_back_is_the_same_person_and_the_link_says_why() -> None:
    tracklets = [*crowd(), walker(10, 2, (60, 80), left=260), walker(11, 9, (60, 80), left=700)]
    linked = link_recording(tracklets)
    assert linked.people[10] == linked.people[2]
    assert linked.people[11] not in {linked.people[number] for number in range(6)}
    (link,) = linked.links
    assert (link.earlier, link.later, link.camera) == (2, 10, "door")
    assert (link.left_at, link.back_at) == (1.9, 6.0)
    assert link.gap_s == pytest.approx(4.1)
    assert link.probability > 0.95
    assert link.alternative_probability < 0.5
    assert link.alternative in {0, 1, 3, 4, 5}
    assert json.loads(json.dumps(link.json()))["event"] == "link"


def test_tracklets_that_overlap_in_time_are_never_linked() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        starts = rng.integers(0, 100, 12)
        tracklets = [
            walker(n, int(rng.integers(3)), (int(start), int(start) + int(rng.integers(4, 40))), left=100)
            for n, start in enumerate(starts)
        ]
        linked = link_tracklets(tracklets, SCALE, LinkingOptions(fastest=99))
        assert linked.links
        for one, other in combinations(tracklets, 2):
            if linked.people[one.number] == linked.people[other.number]:
                assert one.end < other.start or other.end < one.start


def test_nobody_is_linked_who_could_not_have_got_there_in_time() -> None:
    near, far = walker(1, 3, (30, 40), left=120), walker(1, 3, (30, 40), left=900)
    first = walker(0, 3, (0, 20), left=100)
    assert len(link_tracklets([first, near], SCALE).links) == 1
    assert link_tracklets([first, far], SCALE).links == ()
    assert len(link_tracklets([first, far], SCALE, LinkingOptions(fastest=8)).links) == 1


def test_gaps_beyond_the_longest_are_not_bridged() -> None:
    tracklets = [walker(0, 3, (0, 20)), walker(1, 3, (50, 60))]
    assert link_tracklets(tracklets, SCALE, LinkingOptions(longest_gap_s=2.0)).links == ()
    assert len(link_tracklets(tracklets, SCALE, LinkingOptions(longest_gap_s=4.0)).links) == 1


def test_where_appearance_is_unsure_or_unknown_nothing_is_linked() -> None:
    tracklets = [walker(0, 3, (0, 20)), walker(1, 3, (50, 60))]
    vague = replace(SCALE, spread=2.0)
    assert link_tracklets(tracklets, vague).links == ()
    assert link_tracklets(tracklets, None).people == {0: 0, 1: 1}
    blind = [
        replace(one, embedded=one.embedded[:0], embeddings=one.embeddings[:0], qualities=one.qualities[:0])
        for one in tracklets
    ]
    assert link_tracklets(blind, SCALE).links == ()
    assert link_recording(tracklets).links == ()  # too few to learn a scale from


def test_the_assignment_keeps_two_good_links_where_greed_takes_only_the_best_one() -> None:
    ratios = np.array([[5.0, 4.9], [4.8, -np.inf]])
    assert choose_greedily(ratios, 3.0) == [(0, 0)]
    assert sorted(choose_together(ratios, 3.0)) == [(0, 1), (1, 0)]
    assert choose_together(ratios, 4.95) == choose_greedily(ratios, 4.95) == [(0, 0)]
    assert choose_together(ratios, 6.0) == choose_greedily(ratios, 6.0) == []


@pytest.mark.parametrize("method", ["assignment", "greedy"])
def test_both_methods_find_who_came_back(method: LinkingMethod) -> None:
    tracklets = [*crowd(), *(walker(10 + n, n, (60, 80), left=100.0 * n) for n in range(6))]
    linked = link_recording(tracklets, options=LinkingOptions(method=method))
    assert [linked.people[10 + n] for n in range(6)] == [linked.people[n] for n in range(6)]


def test_the_order_of_tracklets_does_not_matter() -> None:
    tracklets = [*crowd(), *(walker(10 + n, n, (60, 80), left=100.0 * n) for n in range(6))]
    there, back = link_recording(tracklets), link_recording(tracklets[::-1])
    assert there.links == back.links
    assert there.people == back.people
    assert len(there.links) == 6


def test_a_tracklet_that_goes_over_to_another_person_is_cut_there() -> None:
    wrong = join(walker(20, 0, (60, 75), left=0), walker(20, 1, (75, 90), left=100))
    linked = link_recording([*crowd(), wrong])
    numbers = [one.number for one in linked.tracklets]
    assert numbers == [*range(6), 20, 21]
    before, after = linked.tracklets[-2:]
    np.testing.assert_array_equal(np.concatenate([before.boxes, after.boxes]), wrong.boxes)
    np.testing.assert_array_equal(np.concatenate([before.embeddings, after.embeddings]), wrong.embeddings)
    assert after.frames[0] == 75
    assert (linked.people[20], linked.people[21]) == (linked.people[0], linked.people[1])
    uncut = link_recording([*crowd(), wrong], options=LinkingOptions(cut=False))
    assert len(uncut.tracklets) == 7


def test_a_tracklet_of_one_person_is_left_whole() -> None:
    one = walker(7, 3, (0, 50), crops_every=3)
    assert split_tracklets([one], SCALE)[0] is one
    assert split_tracklets([walker(7, 3, (0, 3))], SCALE)[0].number == 7


def test_a_scale_is_learned_from_who_is_seen_together() -> None:
    scale = learn_appearance(crowd())
    assert scale is not None
    assert (scale.same_pairs, scale.different_pairs) == (6, 15)
    assert scale.same < 0.4
    assert scale.different > 0.7
    near, middle, far = scale.log_likelihood_ratios([scale.same, (scale.same + scale.different) / 2, scale.different])
    assert near > 2
    assert middle == pytest.approx(0)
    assert far == -near
    alike = [replace(one, embeddings=crowd()[0].embeddings) for one in crowd()]
    assert learn_appearance(alike) is None
    assert learn_appearance(crowd()[:3]) is None


def test_speed_is_measured_in_body_heights() -> None:
    assert learn_fastest([walker(0, 0, (0, 30), speed=80)]) == pytest.approx(1.6)
    assert learn_fastest([walker(0, 0, (0, 30))]) == SLOWEST_BOUND
    assert learn_fastest([walker(0, 0, (0, 3))]) == FASTEST_BOUND
    assert needed_speed(walker(0, 0, (0, 11)), walker(1, 0, (30, 40), left=400)) == pytest.approx((3.0 - 0.5) / 2)


def test_tracklets_of_two_cameras_or_with_one_number_are_refused() -> None:
    with pytest.raises(TrackingError, match="one camera are linked at a time; got the cameras door, yard"):
        link_recording([walker(0, 0, (0, 3)), walker(1, 0, (5, 9), camera="yard")])
    with pytest.raises(TrackingError, match="Two tracklets of camera door have the number 4"):
        link_tracklets([walker(4, 0, (0, 3)), walker(4, 0, (5, 9))], None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 1.0}, "probability must be at least 0.5"),
        ({"longest_gap_s": 0.0}, "longest_gap_s must be a positive"),
        ({"fastest": -1.0}, "fastest must be a positive speed"),
        ({"method": "hungarian"}, "no method 'hungarian'"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        LinkingOptions(**options)  # type: ignore[arg-type]


def test_an_empty_recording_has_no_people() -> None:
    none: list[Tracklet] = []
    assert link_recording(none).people == {}


def test_long_gaps_of_a_tracklet_are_left_to_linking_and_short_ones_to_motion() -> None:
    gone = join(walker(0, 0, (0, 20)), walker(0, 0, (30, 50)))
    blinked = join(walker(1, 1, (0, 20)), walker(1, 1, (23, 50)))
    first, second, whole = split_at_gaps([gone, blinked], 0.5)
    assert (first.number, second.number, whole.number) == (0, 2, 1)
    assert first.frames.tolist() == list(range(20))
    assert second.frames.tolist() == list(range(30, 50))
    assert second.embedded.tolist() == list(range(20))
    assert np.array_equal(np.concatenate([first.embeddings, second.embeddings]), gone.embeddings)
    assert whole.frames.tolist() == blinked.frames.tolist()
