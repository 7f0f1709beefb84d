"""The tables: their rows, their costs, and the published values, held against the facts of the paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from omnireid.errors import SettingError
from omnireid.experiments.plan import count_network_multiply_adds, row_size
from omnireid.experiments.table import ExperimentTable, Published, Row
from omnireid.experiments.tables import (
    ABLATION,
    BASELINES,
    CUE_STREAMS,
    EXPERIMENT_RECIPE,
    PRETRAINING,
    TABLES,
    WIDTH_RESOLUTION,
    find_table,
)
from omnireid.models.zoo import ARCHITECTURES, find_architecture

ABLATION_NAMES = {
    "T=4 + unified gate (the network)": "unified-gate",
    "full 3×3 convolutions": "full-convolutions",
    "all four streams of the same depth": "same-depth",
    "T=4 + concatenation": "concatenation",
    "T=4 + plain addition": "addition",
    "T=4 + separate gates": "separate-gates",
    "T=4 + unified gate, one weight a stream": "stream-weights",
    "T=4 + gates learned, then fixed (not from the input)": "fixed-gates",
    "T=1": "one-stream",
}
"""The row of the paper's facts to ours; T = 2 and T = 3 share a row there."""


@pytest.fixture(scope="module")
def paper(shared: Path) -> str:
    return (shared / "PAPER.md").read_text(encoding="utf-8")


def published(table: ExperimentTable) -> dict[str, Published | None]:
    return {row.name: row.published for row in table.rows}


@pytest.mark.real
def test_the_ablation_quotes_the_paper(paper: str) -> None:
    section = paper.partition("Ablation on Market-1501")[2].partition("\n## ")[0]
    found: dict[str, Published] = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name, value in zip(cells[::2], cells[1::2], strict=False):
            pairs = re.findall(r"(\d+\.\d)/(\d+\.\d)", value)
            scores = [Published(float(rank1), float(precision)) for rank1, precision in pairs]
            if name.startswith("T=2 / T=3"):
                found["two-streams"], found["three-streams"] = scores
            elif scores:
                found[ABLATION_NAMES[name]] = scores[0]
    assert len(found) == 11
    assert published(ABLATION) == found


@pytest.mark.real
def test_width_and_resolution_quote_the_paper(paper: str) -> None:
    cells = re.findall(r"\(([\d.]+),([\d.]+)\) ([\d.]+)M (\d+\.\d)/(\d+\.\d)", paper)
    widths = {"1": "x1.0", ".75": "x0.75", ".5": "x0.5", ".25": "x0.25"}
    found = {
        f"{widths[width]}-{round(256 * float(scale))}x{round(128 * float(scale))}": Published(
            float(rank1), float(precision), float(cost)
        )
        for width, scale, cost, rank1, precision in cells
    }
    assert len(found) == 9
    assert {name: value for name, value in published(WIDTH_RESOLUTION).items() if value} == found


@pytest.mark.real
def test_pretraining_quotes_the_paper(paper: str) -> None:
    rows = {"scratch": "OSNet, from scratch", "classifier": "OSNet, ImageNet fine-tuned"}
    for name, title in rows.items():
        market = re.search(rf"\| {title} \| ([\d.]+) / ([\d.]+)", paper)
        assert market is not None
        assert published(PRETRAINING)[name] == Published(float(market[1]), float(market[2]))


@pytest.mark.real
def test_the_baselines_quote_the_paper_and_say_what_it_leaves_open(paper: str) -> None:
    titles = {"osnet-x1.0": "OSNet", "shufflenet-g3": "ShuffleNet"}
    titles |= dict.fromkeys(("mobilenetv2-x1.0", "mobilenetv2-x1.4"), "MobileNetV2")
    quoted = {name: value for name, value in published(BASELINES).items() if value}
    assert set(quoted) == set(titles)
    for name, title in titles.items():
        market = re.search(rf"\| {title}, from scratch \| ([\d.]+) / ([\d.]+)", paper)
        assert market is not None
        assert quoted[name] == Published(float(market[1]), float(market[2]), note=quoted[name].note)
        assert bool(quoted[name].note) == (title != "OSNet")


@pytest.mark.parametrize("row", WIDTH_RESOLUTION.rows, ids=lambda row: row.name)
def test_the_cost_of_every_published_cell_is_the_papers(row: Row) -> None:
    if row.published is None:
        assert not row.is_trained
        return
    recipe = row.recipe_from(EXPERIMENT_RECIPE, 0)
    counted = count_network_multiply_adds(recipe.model, *row_size(row, EXPERIMENT_RECIPE))
    assert counted / 1e6 == pytest.approx(row.published.multiply_adds, abs=0.06)


def test_width_and_resolution_are_all_sixteen_cells() -> None:
    cells = {
        (row.recipe_from(EXPERIMENT_RECIPE, 0).model, row_size(row, EXPERIMENT_RECIPE)) for row in WIDTH_RESOLUTION.rows
    }
    assert len(cells) == 16


def test_time_is_measured_where_a_table_is_about_costs() -> None:
    assert {name for name, table in TABLES.items() if table.compares_costs} == {"baselines", "width-resolution"}


def test_the_ablation_is_every_network_of_the_paper_at_the_width_of_the_recipe() -> None:
    models = [row.recipe_from(EXPERIMENT_RECIPE, 0).model for row in ABLATION.rows]
    assert models[0] == "osnet_x0_25"
    assert set(models[1:]) == {name for name, known in ARCHITECTURES.items() if known.ablation_of == "osnet_x0_25"}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_rows_differ_in_what_they_say_alone(table: ExperimentTable) -> None:
    base = EXPERIMENT_RECIPE.json()
    for row in table.rows:
        recipe = row.recipe_from(EXPERIMENT_RECIPE, 5)
        find_architecture(recipe.model)
        changed = {name for name, value in recipe.json().items() if value != base[name]}
        assert changed - {"model", "seed"} <= set(row.change)
        assert recipe.seed == 5


def test_each_cue_compares_four_streams_with_one() -> None:
    pairs = {row.name: CUE_STREAMS.reference_of(row).name for row in CUE_STREAMS.rows}
    assert pairs["global-four-streams"] == pairs["global-one-stream"] == "global-one-stream"
    assert len(pairs) == 8


def test_an_unknown_table_brings_the_closest() -> None:
    with pytest.raises(
        SettingError, match=r"No experiment 'ablations'. Did you mean ablation\? Known: ablation, baselines"
    ):
        find_table("ablations")


def test_a_table_with_rows_of_one_name_or_values_without_a_source_is_refused() -> None:
    with pytest.raises(SettingError, match="two rows of one name"):
        ExperimentTable("t", 1, "?", (Row("a"), Row("a")))
    with pytest.raises(SettingError, match="no rows of it"):
        ExperimentTable("t", 1, "?", (Row("a"), Row("b", against="c")))
    with pytest.raises(SettingError, match="need a source"):
        ExperimentTable("t", 1, "?", (Row("a", published=Published(1, 1)),))
    with pytest.raises(SettingError, match="cannot name a row"):
        Row("../a")
