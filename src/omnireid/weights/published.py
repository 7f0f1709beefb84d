"""Weights that others have trained and published. None of them ships with this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from omnireid.weights.description import WeightsDescription


@dataclass(frozen=True)
class PublishedFile:
    """One file of published weights.

    Attributes:
        name: Its name at the publisher's.
        sha256: Its SHA-256, 64 hexadecimal digits; None where no copy was at hand to compute it.
        size: Its size in bytes; None where no copy was at hand.
        url: An address that is known to give these bytes; None where there is no such address to rely on.
        sha384: SHA-384 of the same bytes, where the publisher states that one; None otherwise.
    """

    name: str
    sha256: str | None = None
    size: int | None = None
    url: str | None = None
    sha384: str | None = None


@dataclass(frozen=True)
class WeightsScores:
    """What weights score on the test split of a data set.

    Attributes:
        dataset: The data set.
        distance: The distance the ranking was made with.
        rank1: Rank-1, a fraction.
        mean_average_precision: Mean average precision, a fraction; None where it was not reported.
    """

    dataset: str
    distance: str
    rank1: float
    mean_average_precision: float | None


@dataclass(frozen=True)
class PublishedWeights:
    """Weights under the full name they have here.

    Attributes:
        name: The publisher, a slash, and the publisher's weights: the network, a dot, the training data.
        architecture: The network, as `omnireid.models.zoo` or its publisher names it.
        training_data: What the identities were learned from.
        licence: Its terms in one line.
        page: Where its publisher offers it.
        files: Its files; the first is the one to name as weights.
        parameters: Learned values without a classifier; None where `omnireid.models.zoo` has them.
        published_scores: What its publisher reports.
        measured_scores: What we measured, in float32; empty where no copy was at hand.
        description: What the files of a graph do not say of their use; None where the files say it all.
    """

    name: str
    architecture: str
    training_data: str
    licence: str
    page: str
    files: tuple[PublishedFile, ...]
    parameters: int | None = None
    published_scores: tuple[WeightsScores, ...] = ()
    measured_scores: tuple[WeightsScores, ...] = ()
    description: WeightsDescription | None = None

    def described(self) -> WeightsDescription:
        """All that a user would have to say of the files of a graph."""
        return replace(
            self.description or WeightsDescription(),
            architecture=self.architecture,
            licence=self.licence,
            training_data=self.training_data,
            source=self.page,
        )

    @property
    def publisher(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]

    @property
    def size(self) -> int | None:
        """Bytes of all its files; None where one of them is not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def json(self) -> dict[str, Any]:
        """The record as plain values."""
        return {"publisher": self.publisher, "size": self.size, **asdict(self)}

    def how_to_get(self) -> str:
        """Where to get the files and how to check them, for somebody who has named these weights."""
        lines = [f"Get {' and '.join(file.name for file in self.files)} from {self.page}"]
        for file in self.files:
            if file.sha256 is None:
                lines.append(f"no SHA-256 of {file.name} is known here, so check the scores with omnireid evaluate")
            else:
                lines.append(f"check that sha256sum {file.name} prints {file.sha256}")
        return f"{'; '.join(lines)}. Then name the file: --weights {self.files[0].name}"


_TORCHREID_PAGE = "https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO"


def _torchreid(
    architecture: str,
    rank1: float,
    mean_average_precision: float,
    *,
    sha256: str | None = None,
    size: int | None = None,
    measured: tuple[WeightsScores, ...] = (),
) -> PublishedWeights:
    """Weights that Torchreid's model zoo offers, trained on Market-1501 and scored by Euclidean distance."""
    return PublishedWeights(
        name=f"torchreid/{architecture}.market1501",
        architecture=architecture,
        training_data="Market-1501",
        licence="research-only training data (code MIT)",
        page=_TORCHREID_PAGE,
        files=(PublishedFile(f"{architecture}_market1501.pth", sha256, size),),
        published_scores=(WeightsScores("Market-1501", "euclidean", rank1, mean_average_precision),),
        measured_scores=measured,
    )


_ZOO = "https://storage.openvinotoolkit.org/repositories/open_model_zoo/2023.0/models_bin/1"
_ZOO_PAGE = "https://github.com/openvinotoolkit/open_model_zoo/tree/master/models/intel"


def _openvino(
    number: str,
    precision: str,
    parameters: int,
    scores: tuple[float, float],
    *,
    xml: tuple[int, str, str | None],
    values: tuple[int, str, str | None],
    viper: tuple[float, float],
    cuhk03_part: tuple[float, float],
) -> PublishedWeights:
    """A person re-identification network of the Open Model Zoo, release 2023.0.

    Its ``model.yml`` states SHA-384. The SHA-256 of the same bytes were computed from copies of the files.

    Args:
        number: The last part of its name.
        precision: Folder of the release, after the number format of the weights.
        parameters: Learned values, as published.
        scores: Published rank-1 and mean average precision on Market-1501.
        xml: Size, SHA-256 and SHA-384 of the ``.xml``; a SHA-384 is None where we have not seen the one stated.
        values: Size, SHA-256 and SHA-384 of the ``.bin``.
        viper: Rank-1 and mean average precision that we measured on VIPeR's published partitions.
        cuhk03_part: The same on 100 people of CUHK03 (docs/results.md says which).
    """
    name = f"person-reidentification-retail-{number}"
    files = [
        PublishedFile(f"{name}{suffix}", sha256, size, f"{_ZOO}/{name}/{precision}/{name}{suffix}", sha384)
        for suffix, (size, sha256, sha384) in ((".xml", xml), (".bin", values))
    ]
    return PublishedWeights(
        name=f"openvino/{name}",
        architecture=name,
        training_data="not stated by the publisher",
        licence="Apache-2.0",
        page=f"{_ZOO_PAGE}/{name}",
        files=tuple(files),
        parameters=parameters,
        published_scores=(WeightsScores("Market-1501", "cosine", *scores),),
        measured_scores=(
            WeightsScores("VIPeR", "cosine", *viper),
            WeightsScores("CUHK03, 100 people", "cosine", *cuhk03_part),
        ),
        description=WeightsDescription(distance="cosine", channels="bgr", range=255),
    )


def _by_name(*published: PublishedWeights) -> Mapping[str, PublishedWeights]:
    return MappingProxyType({weights.name: weights for weights in published})


PUBLISHED_WEIGHTS: Mapping[str, PublishedWeights] = _by_name(
    _torchreid("osnet_x1_0", 0.942, 0.826),
    _torchreid("osnet_x0_75", 0.937, 0.812),
    _torchreid("osnet_x0_5", 0.925, 0.798),
    _torchreid(
        "osnet_x0_25",
        0.912,
        0.750,
        sha256="c0ff09177a21417a19bc73bbf5af4eb5d2b097c2074ed35e67819ee6cd93612c",
        size=2_462_783,
        measured=(
            WeightsScores("Market-1501", "euclidean", 0.9118, 0.7494),
            WeightsScores("Market-1501", "cosine", 0.9148, 0.7739),
            WeightsScores("VIPeR", "cosine", 0.2551, 0.3350),
            WeightsScores("CUHK03, 100 people", "cosine", 0.3370, 0.3110),
        ),
    ),
    _openvino(
        "0277",
        "FP16",
        2_103_000,
        (0.962, 0.877),
        xml=(
            616_140,
            "82039b1bb986231c50345550e59def94e63579998e9cddbd1a312f293eb87729",
            "554b403108fea776cb54c971c4c8acfaaeaae3884b5945eefbcbad8b9ed3c84f0382cb72c666c02c07129826a668d79e",
        ),
        values=(
            4_178_806,
            "6bb69e09d07733cc3896b29081d2627f92db7b9aacd50f1a8c3df491cb10f1b7",
            "0466aa71c44a14aa902a609c6500f4bc087cabbfa09c1e5bfb309f0a7e89fcdd9971e0359663e31803e3611bfa4d2353",
        ),
        viper=(0.7085, 0.7875),
        cuhk03_part=(0.8182, 0.8085),
    ),
    _openvino(
        "0286",
        "FP16",
        1_234_000,
        (0.948, 0.837),
        xml=(611_793, "cc547e622d8aeabf97938213f68171bf59ac7d01c910ceadfea984aa96e5d1b5", None),
        values=(2_453_724, "d06beb9e2b2661d42b233f64ef623f3518fc46dc11f6b7dd53cda8962d9d1bd9", None),
        viper=(0.6522, 0.7402),
        cuhk03_part=(0.8426, 0.8063),
    ),
    _openvino(
        "0287",
        "FP32",
        595_000,
        (0.929, 0.766),
        xml=(
            451_147,
            "09af746c1068a3e89355e1f0226d3d6982dc1cd77634b1f70a40f1f654a94be1",
            "a8a6956dec193dfa0095319c5f0bfccd5b9eaaac4d30ddc12a79aa7a99f0dcf953aae7b76764239d383ff39f8f8a1477",
        ),
        values=(
            2_362_128,
            "7f53d18d11253455e0e11646b2176cf6509cc7c97cb5376f9b91b4c41e09a06c",
            "7e962ed07992edeff11eac8f6280ea5761d8ddfb699bcd3c79cfeac10773c5f4d4577ca4c048a7fa50977cdfc14a74ba",
        ),
        viper=(0.6215, 0.7132),
        cuhk03_part=(0.7251, 0.718499),
    ),
    _openvino(
        "0288",
        "FP32",
        183_000,
        (0.861, 0.589),
        xml=(
            450_664,
            "30f452b2ed2763f7bf429eea23f8f243ad0e7f3cdd7226db6888f1660efb3424",
            "25082c8e783ad358396039d6c3969f9d862512de0cd3dd87b23c2e5790fabc64e288336e5d42369fcc4c347be15c19f2",
        ),
        values=(
            728_052,
            "6496b8d51741703c9e9c7f6474cb96c60de1856d7b4fd77235e48cea146066a5",
            "ffc5956253b60f9fac52189976a2ceba2b69288715b35caeff05238840b6e87dcc314d777b612c54d55d976988d6b9d9",
        ),
        viper=(0.4525316, 0.5436),
        cuhk03_part=(0.5255, 0.5361),
    ),
)
"""Full name to record."""


def find_published_file(sha256: str) -> PublishedWeights | None:
    """The published weights that a file with this SHA-256 belongs to; None where it is not known here."""
    for weights in PUBLISHED_WEIGHTS.values():
        if any(file.sha256 == sha256 for file in weights.files):
            return weights
    return None


def suggest_published(name: str) -> PublishedWeights | None:
    """The published weights whose name is closest to `name`, with or without its publisher; None where none is."""
    by_word: dict[str, PublishedWeights] = {}
    for weights in PUBLISHED_WEIGHTS.values():
        by_word |= {weights.name: weights, weights.name.partition("/")[2]: weights}
    closest = get_close_matches(name, by_word, n=1, cutoff=0.9)
    return by_word[closest[0]] if closest else None
