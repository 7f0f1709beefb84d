from __future__ import annotations

import pytest

from omnireid.models.zoo import ARCHITECTURES
from omnireid.weights.published import PUBLISHED_WEIGHTS, find_published_file, suggest_published
from omnireid.weights.shipped import shipped_weights

PUBLIC_X0_25 = "c0ff09177a21417a19bc73bbf5af4eb5d2b097c2074ed35e67819ee6cd93612c"


@pytest.mark.parametrize("name", PUBLISHED_WEIGHTS)
def test_a_record_is_whole(name: str) -> None:
    weights = PUBLISHED_WEIGHTS[name]
    assert name == weights.name == f"{weights.publisher}/{weights.name.partition('/')[2]}"
    assert weights.parameters is not None or weights.architecture in ARCHITECTURES
    assert weights.page.startswith("https://")
    assert weights.licence
    assert weights.files
    for file in weights.files:
        assert file.sha256 is None or len(file.sha256) == 64
        assert file.url is None or (file.url.startswith("https://") and file.sha256 is not None)
    for scores in (*weights.published_scores, *weights.measured_scores):
        assert 0 < (scores.mean_average_precision or 0) < 1
        assert 0 < scores.rank1 < 1


def test_no_published_name_is_a_shipped_one() -> None:
    assert not set(PUBLISHED_WEIGHTS) & set(shipped_weights())


def test_a_file_is_known_by_its_sha256() -> None:
    found = find_published_file(PUBLIC_X0_25)
    assert found is PUBLISHED_WEIGHTS["torchreid/osnet_x0_25.market1501"]
    assert find_published_file("0" * 64) is None


@pytest.mark.parametrize("name", ["osnet_x1_0.market1501", "torchreid/osnet_x1_0-market1501"])
def test_a_name_that_is_nearly_right_brings_the_full_one(name: str) -> None:
    suggested = suggest_published(name)
    assert suggested is not None
    assert suggested.name == "torchreid/osnet_x1_0.market1501"
    assert suggest_published("weights/last.safetensors") is None


def test_how_to_get_it_says_where_and_how_to_check() -> None:
    checked, unchecked = (PUBLISHED_WEIGHTS[f"torchreid/osnet_{width}.market1501"] for width in ("x0_25", "x1_0"))
    assert checked.how_to_get() == (
        "Get osnet_x0_25_market1501.pth from https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO; check that "
        f"sha256sum osnet_x0_25_market1501.pth prints {PUBLIC_X0_25}. Then name the file: --weights "
        "osnet_x0_25_market1501.pth"
    )
    assert "no SHA-256 of osnet_x1_0_market1501.pth is known here" in unchecked.how_to_get()
    assert (checked.size, unchecked.size) == (2_462_783, None)
