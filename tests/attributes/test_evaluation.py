from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.attributes.tables import NAMES, make_data

from omnireid.attributes.evaluation import evaluate_attribute_head
from omnireid.attributes.fitting import fit_attribute_head
from omnireid.attributes.head import AttributedEmbeddings, AttributeHead
from omnireid.errors import DataError, EmbeddingError
from omnireid.types import BoolArray, Crops


def naive_scores(predicted: BoolArray, truth: BoolArray) -> dict[str, float]:
    """The definitions, crop by crop and attribute by attribute."""
    balanced = []
    for guess, true in zip(predicted.T, truth.T, strict=True):
        if true.any() and not true.all():
            balanced.append((guess[true].mean() + (~guess[~true]).mean()) / 2)
    accuracy, precision, recall = [], [], []
    for guess, true in zip(predicted, truth, strict=True):
        both = sum(guess & true)
        if any(guess | true):
            accuracy.append(both / sum(guess | true))
        if any(guess):
            precision.append(both / sum(guess))
        if any(true):
            recall.append(both / sum(true))
    p, r = np.mean(precision), np.mean(recall)
    return {
        "mean_accuracy": float(np.mean(balanced)),
        "accuracy": float(np.mean(accuracy)),
        "precision": float(p),
        "recall": float(r),
        "f1": float(2 * p * r / (p + r)),
    }


@pytest.fixture(scope="module")
def head() -> AttributeHead:
    return fit_attribute_head(make_data(80))


def test_scores_are_those_of_their_definitions(head: AttributeHead) -> None:
    data = make_data(50, seed=2)
    scores = evaluate_attribute_head(head, data)
    predicted = head.score(data.table) > 0.5
    assert scores.overall.json() == pytest.approx(naive_scores(predicted, data.values))
    assert scores.majority.mean_accuracy == 0.5
    assert scores.crops == 150
    assert scores.people == 50
    for k, one in enumerate(scores.attributes):
        truth, guess = data.values[:, k], predicted[:, k]
        assert one.name == NAMES[k]
        assert one.positive_share == pytest.approx(truth.mean())
        assert one.recall == pytest.approx(guess[truth].mean())
        assert one.specificity == pytest.approx((~guess[~truth]).mean())
        assert one.precision == pytest.approx(truth[guess].mean())
        assert one.accuracy == pytest.approx((guess == truth).mean())
        assert one.majority_accuracy == pytest.approx((head.majority[k] == truth).mean())
        assert one.interval is not None
        assert one.interval[0] < (one.mean_accuracy or 0) < one.interval[1]


def test_of_a_task_with_several_values_the_one_with_the_highest_score_counts(head: AttributeHead) -> None:
    data = make_data(50, seed=2)
    hat, upper = evaluate_attribute_head(head, data).tasks
    is_counted = data.values[:, 1:].sum(axis=1) == 1
    chosen = head.score(data.table)[:, 1:].argmax(axis=1)
    assert (upper.name, upper.choices, upper.crops) == ("upper", 2, int(is_counted.sum()))
    assert upper.crops < 150
    assert upper.accuracy == pytest.approx((chosen == data.values[:, 1:].argmax(axis=1))[is_counted].mean())
    assert (hat.name, hat.choices, hat.crops) == ("hat", 1, 150)


def test_intervals_draw_people_and_not_crops(head: AttributeHead) -> None:
    """Forty copies of each crop say nothing new about people, and everything about crops."""
    data = make_data(50, seed=2)
    rows = np.repeat(np.arange(150), 40)
    table = data.table
    crops = Crops(tuple(table.paths[0].with_name(f"{n}.jpg") for n in range(len(rows))), table.crops.person_ids[rows])  # type: ignore[index]
    copied = AttributedEmbeddings(
        replace(table, crops=crops, embeddings=table.embeddings[rows]), NAMES, data.values[rows]
    )
    once, often = evaluate_attribute_head(head, data), evaluate_attribute_head(head, copied)
    assert often.overall == once.overall
    assert often.intervals["f1"] == pytest.approx(once.intervals["f1"])
    strangers = replace(copied, table=replace(copied.table, crops=Crops(crops.paths)))
    unknown = evaluate_attribute_head(head, strangers)
    assert unknown.people is None
    low, high = unknown.intervals["f1"]
    assert high - low < 0.5 * (once.intervals["f1"][1] - once.intervals["f1"][0])


def test_what_head_and_data_do_not_share_is_said(head: AttributeHead) -> None:
    data = make_data(50, seed=2)
    other = replace(data, names=("hat", "upper=blue", "shoes"))
    scores = evaluate_attribute_head(head, other)
    assert [one.name for one in scores.attributes] == ["hat", "upper=blue"]
    assert scores.warnings == (
        "The head does not know shoes, which is not scored.",
        "The data does not have upper=red, which is not scored.",
    )
    with pytest.raises(DataError, match=r"The head knows hat.* made up has a, b, c: they have no attribute in common"):
        evaluate_attribute_head(head, replace(data, names=("a", "b", "c")))


def test_an_attribute_in_which_all_crops_agree_has_no_mean_accuracy(head: AttributeHead) -> None:
    data = make_data(50, seed=2)
    values = data.values.copy()
    values[:, 0] = False
    scores = evaluate_attribute_head(head, replace(data, values=values))
    assert scores.attributes[0].mean_accuracy is None
    assert scores.attributes[0].interval is None
    assert scores.warnings == ("All crops agree in hat, which therefore has no mean accuracy.",)
    assert scores.overall.mean_accuracy == pytest.approx(np.mean([one.mean_accuracy for one in scores.attributes[1:]]))
    with pytest.raises(DataError, match="agree in every attribute, so there is nothing to tell"):
        evaluate_attribute_head(head, replace(data, values=np.zeros_like(values)))


def test_samples_with_no_right_prediction_count_as_an_f1_of_zero(head: AttributeHead) -> None:
    """Ten people, of whom the head gets one right: a third of the samples lack this person."""
    data = make_data(10, seed=2)
    right = head.score(data.table) > 0.5
    people = data.table.crops.person_ids
    assert people is not None
    only = next(person for person in people if right[people == person].any(axis=1).all())
    values = np.where((people == only)[:, None], right, ~right)
    scores = evaluate_attribute_head(head, replace(data, values=values))
    assert scores.overall.f1 is not None
    assert scores.overall.f1 > 0
    assert (scores.intervals["f1"][0], scores.intervals["precision"][0]) == (0, 0)
    wrong = evaluate_attribute_head(head, replace(data, values=~right)).overall
    assert (wrong.precision, wrong.recall, wrong.f1) == (0, 0, 0)


def test_a_task_in_which_no_crop_counts_has_no_accuracy_and_neither_has_the_mean(head: AttributeHead) -> None:
    data = make_data(50, seed=2)
    both = data.values[:, [1, 1]]  # every crop is blue and red, or neither
    scores = evaluate_attribute_head(head, replace(data, names=NAMES[1:], values=both))
    assert [task.accuracy for task in scores.tasks] == [None]
    assert scores.mean_task_accuracy is None
    assert scores.json()["mean_task_accuracy"] is None
    assert next(line for line in scores.table().splitlines() if line.startswith("mean")).split() == ["mean", "–"]


def test_embeddings_of_other_weights_are_refused(head: AttributeHead) -> None:
    with pytest.raises(
        EmbeddingError, match=r"with weights abababababab…, but the embeddings come from .* cdcdcdcdcdcd…"
    ):
        evaluate_attribute_head(head, make_data(sha="cd" * 32))


def test_the_table_shows_and_the_json_holds_every_score(head: AttributeHead) -> None:
    scores = evaluate_attribute_head(head, make_data(50, seed=2))
    record = json.loads(json.dumps(scores.json()))
    assert record["mean_accuracy"] == scores.overall.mean_accuracy
    assert record["majority"]["mean_accuracy"] == 0.5
    assert [one["name"] for one in record["attributes"]] == list(NAMES)
    assert [one["name"] for one in record["tasks"]] == ["hat", "upper"]
    lines = scores.table().splitlines()
    assert lines[0] == "150 crops, 50 people"
    shown = next(line for line in lines if line.startswith("mA"))
    assert shown.split()[1] == f"{100 * (scores.overall.mean_accuracy or 0):.2f}"
    assert shown.split()[-1] == "50.00"
