from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from tests.attributes.tables import SHA, make_data

from omnireid.attributes import fitting
from omnireid.attributes.fitting import balance_weights, fit_attribute_head, fit_logistic
from omnireid.attributes.options import FittingOptions
from omnireid.errors import DataError, SettingError
from omnireid.types import BoolArray, DoubleArray


def reference(embeddings: DoubleArray, values: BoolArray, penalty: float) -> DoubleArray:
    """(D + 1,) weights and bias of one attribute by scipy, in units of standard deviations, from the formula."""
    scaled = (embeddings - embeddings.mean(axis=0)) / embeddings.std(axis=0)
    share = values.mean()
    weights = np.where(values, np.exp(1 - share), np.exp(share))
    weights = weights / weights.mean()

    def loss(point: DoubleArray) -> float:
        signed = np.where(values, -1, 1) * (scaled @ point[:-1] + point[-1])
        return float((weights * np.logaddexp(0, signed)).mean() + penalty / 2 * (point[:-1] ** 2).sum())

    found = minimize(loss, np.zeros(embeddings.shape[1] + 1), tol=1e-10)
    return np.asarray(found.x)


@pytest.mark.parametrize("penalty", [0.003, 0.1, 3.0])
def test_the_head_is_the_minimum_of_the_stated_loss(penalty: float) -> None:
    data = make_data()
    embeddings = data.table.embeddings.astype(np.float64) * [1, 10, 0.1, 1, 1, 1] + 5
    weights, biases = fit_logistic(embeddings.astype(np.float32), data.values, penalty=penalty)
    for k in range(3):
        expected = reference(embeddings, data.values[:, k], penalty)
        scaled = weights[:, k] * embeddings.std(axis=0)
        assert scaled == pytest.approx(expected[:-1], abs=5e-3)
        assert biases[k] + embeddings.mean(axis=0) @ weights[:, k] == pytest.approx(expected[-1], abs=5e-3)


def test_a_crop_with_a_rare_attribute_weighs_more() -> None:
    values = np.array([[True, True], [False, True], [False, False], [False, False]])
    weights = balance_weights(values)
    assert weights[0, 0] / weights[1, 0] == pytest.approx(np.exp(0.75) / np.exp(0.25))
    assert weights[:, 1] == pytest.approx([1, 1, 1, 1])
    assert weights.mean(axis=0) == pytest.approx([1, 1])


def test_a_head_knows_people_it_has_not_seen_and_how_it_was_made() -> None:
    head = fit_attribute_head(make_data(120), FittingOptions(penalty=0.01))
    unseen = make_data(60, seed=1)
    right = (head.score(unseen.table) > 0.5) == unseen.values
    assert right.mean() > (head.majority == unseen.values).mean() + 0.15
    record = head.record
    assert (record.weights_sha256, record.model, record.training_data) == (SHA, "osnet_x0_25", "made up")
    assert (record.crops, record.people, record.penalty) == (360, 120, 0.01)
    assert record.licence == "data: free; weights: free"
    assert head.positive_shares == pytest.approx(make_data(120).values.mean(axis=0))


def test_an_attribute_in_which_all_training_crops_agree_is_left_out_and_named() -> None:
    data = make_data()
    constant = data.values.copy()
    constant[:, 1] = True
    with pytest.warns(UserWarning, match=r"all agree in 1 of 3 attributes, which are left out: upper=red"):
        head = fit_attribute_head(replace(data, values=constant))
    assert head.names == ("hat", "upper=blue")
    assert head.record.left_out == ("upper=red",)
    with pytest.raises(DataError, match="agree in every attribute"):
        fit_attribute_head(replace(data, values=np.ones_like(constant)))


def test_tasks_and_attributes_can_be_left_out_by_name() -> None:
    assert fit_attribute_head(make_data(), FittingOptions(leave_out=("upper",))).names == ("hat",)
    assert fit_attribute_head(make_data(), FittingOptions(leave_out=("hat", "upper=red"))).names == ("upper=blue",)
    with pytest.raises(SettingError, match=r"names 'shoes', which made up does not have. It has: hat, upper"):
        fit_attribute_head(make_data(), FittingOptions(leave_out=("shoes",)))
    with pytest.raises(SettingError, match="names every attribute"):
        fit_attribute_head(make_data(), FittingOptions(leave_out=("hat", "upper")))


def test_a_dimension_that_never_varies_does_no_harm() -> None:
    data = make_data()
    embeddings = data.table.embeddings.copy()
    embeddings[:, 5] = 3
    head = fit_attribute_head(replace(data, table=replace(data.table, embeddings=embeddings)))
    assert head.weights[5] == pytest.approx([0, 0, 0], abs=1e-6)
    assert (head.score(replace(data.table, embeddings=embeddings)) > 0.5).mean() > 0


@pytest.mark.parametrize("penalty", [0, -1, float("nan"), float("inf")])
def test_a_penalty_that_is_none_is_refused(penalty: float) -> None:
    with pytest.raises(SettingError, match="penalty must be above 0"):
        FittingOptions(penalty=penalty)


def test_training_that_does_not_arrive_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_STEPS", 2)
    with pytest.warns(UserWarning, match="stopped after 2 steps without arriving"):
        fit_attribute_head(make_data())
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_attribute_head(make_data())
