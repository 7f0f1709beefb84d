"""Runs that learn the classes of an image folder: what they learn from, their scores, and what starts from them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.training.runs import SMALL, losses, options_for, same, stop_at_step, tensors, torchrun

from omnireid import create_model
from omnireid.cli import main
from omnireid.data.image_folder import LabelledPictures
from omnireid.errors import DataError, EmbeddingError, ImageError, RankError, RecipeError, SettingError
from omnireid.evaluation.classification_scores import ClassificationScores
from omnireid.images.preprocess import Preprocessing
from omnireid.training.classification import PictureValidation, assess_classes, hold_out_pictures, load_pictures
from omnireid.training.distributed import Ranks
from omnireid.training.head import create_head
from omnireid.training.journal import read_journal
from omnireid.training.named_recipes import RECIPES
from omnireid.training.options import RunOptions, RunResult
from omnireid.training.recipes import Recipe
from omnireid.training.run import train
from omnireid.training.run_checkpoint import read_checkpoint
from omnireid.types import FloatArray, IntArray
from omnireid.weights.artefact import read_metadata

CLASSES = 6
LEARNED = replace(SMALL, task="classify", metric="top1", resolutions=("32x32@0",), evaluate_every=1)
"""24 training pictures: three steps an epoch."""
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training and two validation pictures of each of six classes, told apart by their colour."""
    root = tmp_path_factory.mktemp("classes") / "pictures"
    rng = np.random.default_rng(0)
    for index in range(CLASSES):
        colour = rng.integers(40, 215, 3)
        for part, count in (("train", 4), ("val", 2)):
            folder = root / part / f"class{index}"
            folder.mkdir(parents=True)
            for number in range(count):
                noise = rng.integers(-40, 40, (32, 32, 3))
                Image.fromarray((colour + noise).astype(np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture
def options(pictures: Path, tmp_path: Path) -> RunOptions:
    return options_for(pictures, tmp_path)


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run of six steps, for several tests to look at."""
    return train(LEARNED, options_for(pictures, tmp_path_factory.mktemp("trained")))


def top(logits: FloatArray, classes: IntArray, count: int) -> float:
    """Naive top-k: the classes of each picture sorted by falling logit, the lower number first among equals."""
    ranked = [[number for _, number in sorted((-value, number) for number, value in enumerate(row))] for row in logits]
    return float(np.mean([own in best[:count] for own, best in zip(classes.tolist(), ranked, strict=True)]))


def test_a_run_leaves_weights_scores_and_record(trained: RunResult) -> None:
    folder, scores = trained.weights.parent, trained.scores
    assert isinstance(scores, ClassificationScores)
    assert (scores.pictures, scores.classes) == (12, CLASSES)
    record = json.loads((folder / "run.json").read_text())
    assert Recipe(**record["recipe"]).task == "classify"
    assert (record["data"]["pictures"], record["data"]["classes"]) == (24, CLASSES)
    evaluations = [entry for entry in read_journal(folder) if entry["kind"] == "evaluation"]
    assert [entry["step"] for entry in evaluations] == [3, 6]
    assert (evaluations[-1]["top1"], evaluations[-1]["top5"]) == (scores.top1, scores.top5)
    metadata = read_metadata(trained.weights)
    assert metadata.metrics == {"pictures.top1": scores.top1, "pictures.top5": scores.top5}
    assert metadata.training_data == "pictures (6 classes of pictures)"
    assert (metadata.preprocessing.height, metadata.preprocessing.width) == (32, 32)
    best = max(entry["top1"] for entry in evaluations)
    assert read_metadata(folder / "best.safetensors").metrics["pictures.top1"] == best


def test_the_scores_are_those_of_the_averaged_network_and_head(trained: RunResult, pictures: Path) -> None:
    state, *_ = read_checkpoint(trained.weights.with_name("checkpoint.safetensors"))
    network = create_model("osnet_x0_25").eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors(trained.weights).items()})
    head = create_head("linear", 512, CLASSES, generator=torch.Generator())
    head.load_state_dict(state["head_average"]["values"])
    assert not torch.equal(state["head"]["classifier.weight"], state["head_average"]["values"]["classifier.weight"])
    size, paths = Preprocessing(32, 32), sorted((pictures / "val").glob("*/*.png"))
    classes = np.array([int(path.parent.name[-1]) for path in paths], dtype=np.int64)
    with torch.no_grad():
        images = torch.from_numpy(size.normalise(np.stack([size.resize(path) for path in paths])))
        logits = head(network(images), torch.from_numpy(classes)).numpy()
    assert isinstance(trained.scores, ClassificationScores)
    assert trained.scores.top1 == top(logits, classes, 1)
    assert trained.scores.top5 == top(logits, classes, 5)


def validation_of(classes: IntArray, class_count: int) -> PictureValidation:
    return PictureValidation(
        "x", LabelledPictures(tuple(map(Path, "abcdefghij"))[: len(classes)], classes), class_count
    )


@pytest.mark.parametrize("ties", [False, True])
def test_top_1_and_top_5_against_sorting(ties: bool) -> None:
    """Seven pictures of noise among eight classes; with ties, pairs of classes have equal logits."""
    network = create_model("osnet_x0_25")
    head = create_head("linear", 512, 8, generator=torch.Generator().manual_seed(1)).eval()
    if ties:
        with torch.no_grad():
            for weight in head.parameters():
                weight[1::2] = weight[::2]
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    classes = np.arange(8, dtype=np.int64)
    weights = network.state_dict()
    scores = assess_classes(network, head, weights, validation_of(classes, 8), pixels, device=CPU, ranks=Ranks())
    with torch.no_grad():
        images = torch.from_numpy(Preprocessing(32, 32).normalise(pixels))
        logits = head(network(images), torch.from_numpy(classes)).numpy()
    assert (scores.top1, scores.top5) == (top(logits, classes, 1), top(logits, classes, 5))
    assert 0 < scores.top5 < 1


def test_logits_that_are_not_finite_are_refused() -> None:
    network = create_model("osnet_x0_25")
    head = create_head("linear", 512, 3, generator=torch.Generator()).eval()
    with torch.no_grad():
        next(head.parameters())[2] = float("nan")
    pixels = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    validation = validation_of(np.array([0, 1]), 3)
    with pytest.raises(EmbeddingError, match="logits are not finite"):
        assess_classes(network, head, network.state_dict(), validation, pixels, device=CPU, ranks=Ranks())


def test_a_run_that_was_cut_off_ends_in_the_same_weights_and_head(trained: RunResult, options: RunOptions) -> None:
    cut = replace(options, checkpoint_every=2)
    stop_at_step(LEARNED, cut, 5, RankError("another rank was lost"))
    train(LEARNED, replace(cut, resume=True))
    assert same(trained.weights, cut.output / "last.safetensors")
    folders = (trained.weights.parent, cut.output)
    whole, again = (read_checkpoint(folder / "checkpoint.safetensors")[0] for folder in folders)
    for name in ("head", "head_average"):
        mine, theirs = (state[name].get("values", state[name])["classifier.weight"] for state in (whole, again))
        assert torch.equal(mine, theirs)


@pytest.mark.slow
def test_two_ranks_give_the_curve_and_scores_of_one_process(pictures: Path, tmp_path: Path) -> None:
    words = "train classify --device cpu --threads 1 --epochs 4 --resolutions 32x32@0 --batch-size 8 --precision fp64"
    flags = (
        f"--synchronise-norms --weights osnet_x0_25.market1501 --learning-rate 0.001 --log-every 1 --data {pictures}"
    )
    given = [*words.split(), *flags.split(), "--pixel-cache-folder", str(tmp_path / "stores"), "--output"]
    assert main([*given, str(tmp_path / "one")]) == 0
    done = subprocess.run(
        torchrun([*given, str(tmp_path / "two")]), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 12
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-4
    assert re.search(r"12 pictures of 6 classes\n.*\n.*\ntop-1 ", done.stdout)


def test_a_classifier_starts_a_re_identification_run(
    trained: RunResult, options: RunOptions, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = replace(options, data=(people,), weights=str(trained.weights), progress=True)
    result = train(replace(SMALL, epochs=1), started)
    said = (
        f"start: {trained.weights} fills 100 % of osnet_x0_25 (565 tensors). It holds no classifier; the head for 4 "
        "identities begins at random."
    )
    assert said in capsys.readouterr().err
    metadata = read_metadata(result.weights)
    assert metadata.training_data == "synthetic, from weights trained on pictures (6 classes of pictures)"
    assert "your own data: its terms are for you to know" in metadata.licence


def test_the_classifier_of_a_public_checkpoint_is_left_out_and_said(
    options: RunOptions, small_state: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(small_state, tmp_path / "osnet_x0_25_imagenet.safetensors")
    started = replace(options, weights=str(tmp_path / "osnet_x0_25_imagenet.safetensors"), progress=True)
    train(replace(LEARNED, epochs=1), started)
    said = capsys.readouterr().err
    assert "Its classifier (2 tensors) is left out; the head for 6 classes begins at random." in said


def test_a_folder_without_validation_needs_a_share_or_another_folder(options: RunOptions, pictures: Path) -> None:
    plain = replace(options, data=(pictures / "train",))
    with pytest.raises(DataError, match="has no validation part .*--hold-out 0.1, .*--evaluate-on"):
        train(LEARNED, plain)
    data, validation = load_pictures(replace(plain, hold_out=0.25), seed=0)
    assert (len(data), data.identity_count, len(validation.paths)) == (24 - CLASSES, CLASSES, CLASSES)
    assert (validation.name, validation.class_count) == ("held-out", CLASSES)
    data, validation = load_pictures(replace(plain, evaluate_on=(pictures,)), seed=0)
    assert (len(data), len(validation.paths), validation.name) == (24, 12, "pictures")
    assert validation.paths == load_pictures(options, seed=0)[1].paths


def test_pictures_that_are_learned_from_are_not_scored(options: RunOptions, pictures: Path, tmp_path: Path) -> None:
    plain = replace(options, data=(pictures / "train",))
    shutil.copytree(pictures / "train", tmp_path / "copy")
    for other in (pictures / "train", tmp_path / "copy"):
        with pytest.raises(DataError, match=r"24 of 24 pictures of \w+, .* scored on, are among those it learns from"):
            train(LEARNED, replace(plain, evaluate_on=(other,)))
    assert not (options.output / "run.json").exists()


@pytest.mark.parametrize(("share", "held"), [(0.01, [1, 1, 1, 0]), (0.25, [2, 1, 1, 0]), (0.99, [9, 3, 1, 0])])
def test_a_share_of_each_class_is_held_out_but_never_all_of_it(share: float, held: list[int]) -> None:
    classes = np.repeat(np.arange(4), (10, 4, 2, 1))
    pictures = LabelledPictures(tuple(Path(str(index)) for index in range(17)), classes)
    rest, taken = hold_out_pictures(pictures, share, seed=3)
    assert np.bincount(taken.classes, minlength=4).tolist() == held
    assert Counter([*rest.paths, *taken.paths]) == Counter(pictures.paths)
    for part in (rest, taken):
        assert [classes[int(path.name)] for path in part.paths] == part.classes.tolist()
        assert [int(path.name) for path in part.paths] == sorted(int(path.name) for path in part.paths)
    assert hold_out_pictures(pictures, share, seed=3)[1].paths == taken.paths


def test_the_choice_of_held_out_pictures_depends_on_the_seed() -> None:
    pictures = LabelledPictures(tuple(Path(str(index)) for index in range(40)), np.repeat(np.arange(2), 20))
    assert len({hold_out_pictures(pictures, 0.2, seed=seed)[1].paths for seed in range(4)}) == 4


def test_a_share_that_cannot_be_held_out_is_refused() -> None:
    single = LabelledPictures((Path("a"), Path("b")), np.arange(2))
    with pytest.raises(RecipeError, match=r"^--hold-out 0\.5 leaves nothing to score on"):
        hold_out_pictures(single, 0.5, seed=0)
    for share in (1.0, -0.1, float("nan")):
        with pytest.raises(RecipeError, match=r"^--hold-out must lie between 0 and 1"):
            hold_out_pictures(single, share, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": (Path("a"), Path("b"))}, "learns from one image folder; got 2 --data"),
        ({"evaluate_on": (Path("a"), Path("b"))}, "scored on one image folder; got 2 --evaluate-on"),
        ({"layout": "market1501"}, "--layout fits crops of people only"),
        ({"split_index": 3}, "--split-index fits crops of people only"),
        ({"use_test_identities": True}, "--use-test-identities fits crops of people only"),
    ],
)
def test_options_that_fit_only_people_are_refused(options: RunOptions, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        train(LEARNED, replace(options, **changes))


def test_a_picture_that_cannot_be_read_stops_the_decoding_and_is_named(
    options: RunOptions, pictures: Path, tmp_path: Path
) -> None:
    for part in ("train", "val"):
        damaged = tmp_path / part
        shutil.copytree(pictures, damaged)
        picture = damaged / part / "class2" / "1.png"
        picture.write_bytes(picture.read_bytes()[:200])
        with pytest.raises(ImageError, match=re.escape(str(Path(part) / "class2" / "1.png"))):
            train(LEARNED, replace(options, data=(damaged,), output=options.output / part))
        assert not losses(options.output / part)  # found before the first step


def test_the_command_leaves_with_2_on_one_class(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pictures / "train" / "class0", tmp_path / "one" / "train" / "class0")
    words = ["--device", "cpu", "--data", str(tmp_path / "one"), "--output", str(tmp_path / "none")]
    assert main(["train", "classify", *words]) == 2
    assert "needs at least two classes" in capsys.readouterr().err
    assert not (tmp_path / "none" / "run.json").exists()


@pytest.mark.real
def test_the_recipe_runs_on_a_slice_of_tiny_imagenet(shared: Path, options: RunOptions, tmp_path: Path) -> None:
    """Twelve pictures of each of eight classes; one epoch of twelve steps."""
    root = tmp_path / "tiny"
    with tarfile.open(shared / "data" / "tiny-imagenet.tar") as archive:
        members = archive.getmembers()
        names = sorted({member.name.split("/")[1] for member in members if member.isfile()})[:8]
        for part, count in (("train", 12), ("val", 5)):
            for name in names:
                inside = [member for member in members if member.isfile() and f"{part}/{name}/" in member.name]
                for member in sorted(inside, key=lambda member: member.name)[:count]:
                    archive.extract(member, root, filter="data")
    recipe = replace(RECIPES["classify"].recipe, epochs=1, batch_size=8, precision="fp32")
    result = train(recipe, replace(options, data=(root,)))
    assert isinstance(result.scores, ClassificationScores)
    assert (result.scores.pictures, result.scores.classes) == (40, 8)
    assert len(losses(options.output)) == 12


def test_scores_are_shown_in_percent_beside_guessing() -> None:
    table = ClassificationScores(top1=0.3125, top5=0.55, pictures=2000, classes=200).table()
    assert table.splitlines() == [
        "2,000 pictures of 200 classes",
        "",
        "              %   guessing",
        "top-1     31.25       0.50",
        "top-5     55.00       2.50",
    ]
