"""``omnireid evaluate`` of weights on data sets, one or several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.data import fabrication

from omnireid import __version__, synthesize
from omnireid.cli import main
from omnireid.files import sha256_of

JSON_KEYS = {
    "rank1",
    "rank5",
    "rank10",
    "rank20",
    "mean_average_precision",
    "mean_inverse_negative_penalty",
    "intervals",
    "queries",
    "queries_without_match",
    "gallery",
    "distance",
    "protocol",
    "dataset",
    "model",
    "weights_sha256",
    "omnireid_version",
    "seconds",
}


def test_weights_on_a_data_set(
    tmp_path: Path, people: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, picture = tmp_path / "out.json", tmp_path / "ranked.png"
    words = ["evaluate", "--weights", str(untrained), "--data", str(people)]
    assert main([*words, "--json", str(report), "--picture", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "rank-1" in shown
    assert "distance euclidean" in shown
    assert "licence: Apache-2.0" in shown
    record = json.loads(report.read_text())
    assert set(record) >= JSON_KEYS
    assert record["dataset"] == "synthetic"
    assert record["model"] == "osnet_x0_25"
    assert record["weights_sha256"] == sha256_of(untrained)
    assert record["omnireid_version"] == __version__
    assert (record["queries"], record["gallery"]) == (4, 4)
    assert 0 <= record["rank1"] <= record["rank5"] <= 1
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert min(image.size) > 100


def test_other_people_in_the_layout_of_market_1501_are_not_called_so(tmp_path: Path, untrained: Path) -> None:
    shop, report = fabrication.market(tmp_path / "shop"), tmp_path / "out.json"
    words = ["evaluate", "--weights", str(untrained), "--runtime", "onnxruntime", "--data", str(shop)]
    assert main([*words, "--json", str(report)]) == 0
    record = json.loads(report.read_text())
    assert (record["dataset"], record["layout"]) == ("shop", "market1501")


def test_an_unreadable_crop_stops_it_or_is_counted(
    tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = synthesize(tmp_path / "people", identities=4, cameras=2, per_camera=3, workers=1)
    broken = sorted((people / "bounding_box_test").glob("*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:500])
    words = ["evaluate", "--weights", str(untrained), "--data", str(people), "--json", str(tmp_path / "out.json")]
    assert main(words) == 2
    assert f"{broken.name} is damaged or truncated" in capsys.readouterr().err
    assert main([*words, "--skip-unreadable"]) == 0
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["gallery"] == 7
    assert [Path(path).name for path, _ in record["unreadable"]] == [broken.name]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--k1", "5", "--lambda-value", "0.1"],
            "k1 (--k1), lambda_value (--lambda-value): used only by re-ranking, which is off",
        ),
        (["--alpha", "3"], "Turn it on with expand (--expand N)"),
        (["--rerank", "--k1", "0"], "k1 of re-ranking must be a whole number, at least 1; got 0"),
        (["--rerank", "--lambda-value", "2"], "lambda_value of re-ranking must be from 0"),
        (["--expand", "0"], "count of query expansion must be a whole number, at least 1; got 0"),
        (["--rerank", "--protocol", "single-gallery-shot"], "Re-ranking looks at"),
    ],
)
def test_reordering_that_cannot_be_done_is_seen_first(
    people: Path,
    untrained: Path,
    flags: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from omnireid.embedding.embedder import Embedder

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("embedded")

    monkeypatch.setattr(Embedder, "embed_batches", never)
    assert main(["evaluate", "--weights", str(untrained), "--data", str(people), *flags]) == 2
    assert message in capsys.readouterr().err


def test_outputs_that_cannot_be_written_are_seen_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flag, name in (("--json", "out.json"), ("--picture", "out.png")):
        (tmp_path / name).mkdir()
        assert main(["evaluate", "--weights", "gone", "--data", "gone", flag, str(tmp_path / name)]) == 2
        assert "is a folder or a device, not a file" in capsys.readouterr().err
        assert main(["evaluate", "--weights", "gone", "--data", "gone", flag, str(tmp_path / "out.txt")]) == 2
        assert f"This output's name ends in {Path(name).suffix}" in capsys.readouterr().err


def test_no_report_replaces_an_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is loaded first: these weights do not exist."""
    people = synthesize(tmp_path / "people", identities=4, cameras=2, per_camera=2, workers=1)
    crop = sorted((people / "query").glob("*.jpg"))[0]
    crop = crop.rename(crop.with_suffix(".png"))
    marker = people / "synthetic.json"
    written = [crop.read_bytes(), marker.read_bytes()]
    for flag, output in (("--picture", crop), ("--json", marker)):
        assert main(["evaluate", "--weights", "gone", "--data", str(people), flag, str(output)]) == 2
        assert f"it is an input of this command ({output})" in capsys.readouterr().err
    assert [crop.read_bytes(), marker.read_bytes()] == written


def test_a_request_that_mixes_tables_and_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = ["--query", "q.parquet", "--gallery", "g.parquet"]
    assert main(["evaluate", *tables, "--skip-unreadable"]) == 2
    assert "belong to --data" in capsys.readouterr().err


def test_half_a_request(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--weights", "w"], ["--query", "q"], ["--weights", "w", "--data", "d", "--query", "q"]):
        assert main(["evaluate", *words]) == 2
        assert "Give --data, with or without --weights, or --query and --gallery" in capsys.readouterr().err


def test_what_cannot_be_found_is_seen_before_anything_is_embedded(
    tmp_path: Path, people: Path, untrained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from omnireid.embedding.embedder import Embedder

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("embedded")

    monkeypatch.setattr(Embedder, "embed_batches", never)
    for path in (people / "query").glob("*.jpg"):
        target = tmp_path / "same" / "query" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for folder in ("bounding_box_test", "bounding_box_train"):
        (tmp_path / "same" / folder).mkdir()
        for path in (people / "bounding_box_train").glob("*.jpg"):
            (tmp_path / "same" / folder / path.name).write_bytes(path.read_bytes())
    assert main(["evaluate", "--weights", str(untrained), "--data", str(tmp_path / "same")]) == 2
    assert "No query person is in the gallery" in capsys.readouterr().err


def test_weights_stored_in_int8_are_scored_in_int8(
    tmp_path: Path, people: Path, untrained_int8: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path, report = tmp_path / "int8.onnx", tmp_path / "out.json"
    path.write_bytes(untrained_int8)
    words = ["--weights", str(path), "--data", str(people), "--runtime", "onnxruntime", "--json", str(report)]
    assert main(["evaluate", *words]) == 0
    assert f"note: {path} is stored in int8" in capsys.readouterr().out
    assert json.loads(report.read_text())["precision"] == "int8"


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people whose cameras are not known: a folder for each person."""
    folder = tmp_path_factory.mktemp("drawn")
    source = synthesize(folder / "source", identities=8, cameras=2, per_camera=2, seed=9, workers=1)
    for path in source.glob("bounding_box_t*/*.jpg"):
        target = folder / "strangers" / f"person_{path.name[:4]}" / path.name[7:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder / "strangers"


def test_several_data_sets_in_one_table(
    tmp_path: Path, people: Path, strangers: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, report = ["--weights", str(untrained)], tmp_path / "out.json"
    both = ["--data", str(people), "--data", str(strangers)]
    assert main(["evaluate", *weights, *both, "--json", str(report)]) == 0
    shown = capsys.readouterr()
    rows = {line.split()[0]: line.split() for line in shown.out.splitlines() if "(" in line}
    assert rows["synthetic"][1] == "single-query"
    assert rows["strangers"][1] == "single-gallery-shot"
    assert "mean" in rows
    assert "2 data sets · osnet_x0_25" in shown.out
    assert "strangers: rank-1" in shown.err  # as soon as it is known
    record = json.loads(report.read_text())
    assert {"datasets", "mean", "model", "weights_sha256", "precision", "omnireid_version", "seconds"} <= set(record)
    for one, flags in zip(record["datasets"], ([], ["--protocol", "single-gallery-shot"]), strict=True):
        assert main(["evaluate", *weights, "--data", one["root"], *flags, "--json", str(report)]) == 0
        alone = json.loads(report.read_text())
        assert {name: one[name] for name in ("rank1", "cmc", "intervals", "gallery")} == {
            name: alone[name] for name in ("rank1", "cmc", "intervals", "gallery")
        }


def test_a_data_set_that_fails_does_not_cost_the_others_their_scores(
    tmp_path: Path, people: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = synthesize(tmp_path / "broken", identities=4, cameras=2, per_camera=2, seed=3, workers=1)
    crop = sorted((broken / "query").glob("*.jpg"))[0]
    crop.write_bytes(crop.read_bytes()[:500])
    report = tmp_path / "out.json"
    words = ["evaluate", "--weights", str(untrained), "--data", str(broken), "--data", str(people)]
    assert main([*words, "--json", str(report)]) == 2
    shown = capsys.readouterr()
    assert "No mean: 1 of 2 data sets could not be scored" in shown.out
    assert "error: 1 of 2 data sets could not be scored: synthetic (broken)." in shown.err
    failed, scored = json.loads(report.read_text())["datasets"]
    assert crop.name in failed["error"]
    assert scored["dataset"] == "synthetic (people)"
    assert scored["queries"] == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--picture", "ranked.png"], "--picture belongs to one data set"),
        (["--split-index", "0"], "--split-index belongs to one data set"),
    ],
)
def test_what_belongs_to_one_data_set_is_refused_for_several(
    people: Path, strangers: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--weights", "gone", "--data", str(people), "--data", str(strangers), *flags]) == 2
    assert message in capsys.readouterr().err


def test_the_same_data_set_twice_is_refused(
    tmp_path: Path, people: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(people, target_is_directory=True)
    for again in (people, people / ".." / people.name, tmp_path / "link"):
        assert main(["evaluate", "--weights", str(untrained), "--data", str(people), "--data", str(again)]) == 2
        assert "was given twice" in capsys.readouterr().err


@pytest.mark.real
@pytest.mark.parametrize(("flags", "rank1", "mean"), [([], 91.18, 74.94), (["--distance", "cosine"], 91.48, 77.39)])
def test_the_public_weights_on_the_real_market1501_without_a_flag_for_the_machine(
    tmp_path: Path, shared: Path, flags: list[str], rank1: float, mean: float
) -> None:
    weights = shared / "weights" / "osnet_x0_25_market1501.pth"
    words = ["--weights", str(weights), "--data", str(shared / "data" / "Market-1501-v15.09.15"), *flags]
    assert main(["evaluate", *words, "--json", str(tmp_path / "out.json")]) == 0
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["precision"] == "fp32"
    assert (round(100 * record["rank1"], 2), round(100 * record["mean_average_precision"], 2)) == (rank1, mean)
    assert (record["queries"], record["gallery"], record["queries_without_match"]) == (3368, 15913, 0)
    assert (record["queries_with_copy"], record["warnings"]) == (0, [])


@pytest.mark.real
def test_the_public_weights_on_other_cameras(tmp_path: Path, shared: Path) -> None:
    weights, data = shared / "weights" / "osnet_x0_25_market1501.pth", shared / "data"
    words = ["--data", str(data / "VIPeR"), "--data", str(data / "CUHK03-part"), "--distance", "cosine"]
    assert main(["evaluate", "--weights", str(weights), *words, "--json", str(tmp_path / "out.json")]) == 0
    record = json.loads((tmp_path / "out.json").read_text())
    viper, cuhk03 = record["datasets"]
    assert (viper["dataset"], viper["splits"], viper["queries"]) == ("viper", 20, 6320)
    assert (cuhk03["dataset"], cuhk03["splits"]) == ("CUHK03-part", 1)
    figures = (round(100 * viper["rank1"], 1), round(100 * viper["mean_average_precision"], 1))
    assert figures == (25.5, 33.5)
    assert record["mean"]["rank1"] == pytest.approx((viper["rank1"] + cuhk03["rank1"]) / 2)
