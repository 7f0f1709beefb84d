"""omnireid: person re-identification with OSNet, from crops to ranked identities.

Everything a program needs is a name of this package; the modules below it may
change from release to release. The names are imported on first use, so that
``import omnireid`` stays cheap and nothing loads torch before a model runs in it.
"""

from __future__ import annotations

import os as _os
import sys as _sys
from contextlib import suppress
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING

from omnireid import errors as _errors
from omnireid.version import __version__ as __version__

# Since 1.29 ONNX Runtime sends events to its makers, with the names of models in them, and keeps a device id in the
# user's home. It reads this variable when it is loaded, so it must be set here. A value that is set already stays.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
if (_onnxruntime := _sys.modules.get("onnxruntime")) is not None and _os.environ["ORT_DISABLE_TELEMETRY"] == "1":
    _onnxruntime.disable_telemetry_events()

if TYPE_CHECKING:
    from omnireid.attributes.embedded import attach_attributes as attach_attributes
    from omnireid.attributes.evaluation import evaluate_attribute_head as evaluate_attribute_head
    from omnireid.attributes.fitting import fit_attribute_head as fit_attribute_head
    from omnireid.attributes.head import AttributeHead as AttributeHead
    from omnireid.attributes.head_file import read_attribute_head as read_attribute_head
    from omnireid.attributes.head_file import write_attribute_head as write_attribute_head
    from omnireid.attributes.prediction import predict_attributes as predict_attributes
    from omnireid.attributes.scores import AttributeScores as AttributeScores
    from omnireid.data.attribute_sources import read_attributes as read_attributes
    from omnireid.data.attributes import Attributes as Attributes
    from omnireid.data.datasets import load_dataset as load_dataset
    from omnireid.data.datasets import load_splits as load_splits
    from omnireid.data.options import DataOptions as DataOptions
    from omnireid.embedding.boxes import BoxEmbeddings as BoxEmbeddings
    from omnireid.embedding.embedder import Embedder as Embedder
    from omnireid.embedding.embedder import load_embedder as load_embedder
    from omnireid.embedding.jobs import embed_to_parquet as embed_to_parquet
    from omnireid.embedding.options import RuntimeOptions as RuntimeOptions
    from omnireid.embedding.tables import EmbeddingTable as EmbeddingTable
    from omnireid.embedding.tables import read_embeddings as read_embeddings
    from omnireid.embedding.tracker_adapter import TrackerEmbedder as TrackerEmbedder
    from omnireid.errors import *  # noqa: F403
    from omnireid.evaluation.embedder_scores import evaluate_embedder as evaluate_embedder
    from omnireid.evaluation.evaluated_datasets import evaluate_datasets as evaluate_datasets
    from omnireid.evaluation.evaluation import Evaluation as Evaluation
    from omnireid.evaluation.evaluation import evaluate as evaluate
    from omnireid.evaluation.options import CalibrationOptions as CalibrationOptions
    from omnireid.evaluation.ranking import evaluate_ranking as evaluate_ranking
    from omnireid.evaluation.scores import RankingScores as RankingScores
    from omnireid.evaluation.verification import calibrate as calibrate
    from omnireid.evaluation.verification import people_to_calibrate as people_to_calibrate
    from omnireid.explanation.explanation import Explanation as Explanation
    from omnireid.explanation.explanation import explain as explain
    from omnireid.explanation.gates import measure_gates as measure_gates
    from omnireid.export.exporting import export_weights as export_weights
    from omnireid.export.options import ExportOptions as ExportOptions
    from omnireid.gallery.filters import SightingFilter as SightingFilter
    from omnireid.gallery.gallery import Gallery as Gallery
    from omnireid.images.preprocess import Preprocessing as Preprocessing
    from omnireid.models.zoo import create_model as create_model
    from omnireid.retrieval.calibration import Calibration as Calibration
    from omnireid.retrieval.calibration import read_calibration as read_calibration
    from omnireid.retrieval.calibration import write_calibration as write_calibration
    from omnireid.retrieval.expansion import expand_queries as expand_queries
    from omnireid.retrieval.options import QueryExpansion as QueryExpansion
    from omnireid.retrieval.options import RankingOptions as RankingOptions
    from omnireid.retrieval.options import Reranking as Reranking
    from omnireid.retrieval.reranking import RerankedDistances as RerankedDistances
    from omnireid.retrieval.reranking import rerank as rerank
    from omnireid.retrieval.search import RankedMatches as RankedMatches
    from omnireid.retrieval.search import search as search
    from omnireid.service.client import ServiceClient as ServiceClient
    from omnireid.synthetic.dataset import synthesize as synthesize
    from omnireid.tracking.detector import load_detector as load_detector
    from omnireid.tracking.detector_options import DetectorOptions as DetectorOptions
    from omnireid.tracking.video import open_video as open_video
    from omnireid.tracking.video_options import VideoOptions as VideoOptions
    from omnireid.training.named_recipes import RECIPES as RECIPES
    from omnireid.training.options import RunOptions as RunOptions
    from omnireid.training.recipes import Recipe as Recipe
    from omnireid.training.run import train as train
    from omnireid.training.splits import train_every_split as train_every_split
    from omnireid.types import Crops as Crops
    from omnireid.types import Dataset as Dataset
    from omnireid.types import Labels as Labels
    from omnireid.types import Split as Split
    from omnireid.weights.artefact import WeightsMetadata as WeightsMetadata
    from omnireid.weights.examination import examine as examine

_HOME_OF = {
    "AttributeHead": "omnireid.attributes.head",
    "Attributes": "omnireid.data.attributes",
    "AttributeScores": "omnireid.attributes.scores",
    "BoxEmbeddings": "omnireid.embedding.boxes",
    "Calibration": "omnireid.retrieval.calibration",
    "CalibrationOptions": "omnireid.evaluation.options",
    "Crops": "omnireid.types",
    "DataOptions": "omnireid.data.options",
    "Dataset": "omnireid.types",
    "DetectorOptions": "omnireid.tracking.detector_options",
    "Embedder": "omnireid.embedding.embedder",
    "EmbeddingTable": "omnireid.embedding.tables",
    "Explanation": "omnireid.explanation.explanation",
    "ExportOptions": "omnireid.export.options",
    "Evaluation": "omnireid.evaluation.evaluation",
    "Gallery": "omnireid.gallery.gallery",
    "Labels": "omnireid.types",
    "Preprocessing": "omnireid.images.preprocess",
    "QueryExpansion": "omnireid.retrieval.options",
    "RECIPES": "omnireid.training.named_recipes",
    "RankedMatches": "omnireid.retrieval.search",
    "RankingOptions": "omnireid.retrieval.options",
    "RankingScores": "omnireid.evaluation.scores",
    "Recipe": "omnireid.training.recipes",
    "RerankedDistances": "omnireid.retrieval.reranking",
    "Reranking": "omnireid.retrieval.options",
    "RunOptions": "omnireid.training.options",
    "RuntimeOptions": "omnireid.embedding.options",
    "ServiceClient": "omnireid.service.client",
    "SightingFilter": "omnireid.gallery.filters",
    "Split": "omnireid.types",
    "TrackerEmbedder": "omnireid.embedding.tracker_adapter",
    "VideoOptions": "omnireid.tracking.video_options",
    "WeightsMetadata": "omnireid.weights.artefact",
    "attach_attributes": "omnireid.attributes.embedded",
    "create_model": "omnireid.models.zoo",
    "embed_to_parquet": "omnireid.embedding.jobs",
    "calibrate": "omnireid.evaluation.verification",
    "evaluate": "omnireid.evaluation.evaluation",
    "evaluate_attribute_head": "omnireid.attributes.evaluation",
    "evaluate_datasets": "omnireid.evaluation.evaluated_datasets",
    "evaluate_embedder": "omnireid.evaluation.embedder_scores",
    "evaluate_ranking": "omnireid.evaluation.ranking",
    "examine": "omnireid.weights.examination",
    "expand_queries": "omnireid.retrieval.expansion",
    "explain": "omnireid.explanation.explanation",
    "export_weights": "omnireid.export.exporting",
    "fit_attribute_head": "omnireid.attributes.fitting",
    "load_dataset": "omnireid.data.datasets",
    "load_detector": "omnireid.tracking.detector",
    "load_embedder": "omnireid.embedding.embedder",
    "load_splits": "omnireid.data.datasets",
    "measure_gates": "omnireid.explanation.gates",
    "open_video": "omnireid.tracking.video",
    "people_to_calibrate": "omnireid.evaluation.verification",
    "predict_attributes": "omnireid.attributes.prediction",
    "read_attribute_head": "omnireid.attributes.head_file",
    "read_attributes": "omnireid.data.attribute_sources",
    "read_calibration": "omnireid.retrieval.calibration",
    "read_embeddings": "omnireid.embedding.tables",
    "rerank": "omnireid.retrieval.reranking",
    "search": "omnireid.retrieval.search",
    "synthesize": "omnireid.synthetic.dataset",
    "train": "omnireid.training.run",
    "train_every_split": "omnireid.training.splits",
    "write_attribute_head": "omnireid.attributes.head_file",
    "write_calibration": "omnireid.retrieval.calibration",
    **dict.fromkeys(_errors.__all__, "omnireid.errors"),
}

__all__ = sorted([*_HOME_OF, "__version__"])  # noqa: PLE0605

for _name in _errors.__all__:
    getattr(_errors, _name).__module__ = __name__


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'omnireid' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    if isinstance(value, (type, FunctionType)):
        _make_public(value)
    globals()[name] = value
    return value


def _make_public(value: type | FunctionType) -> None:
    """Name the package, not the file, as the home of a class or function: in a repr, a pickle and the documentation."""
    if isinstance(value, type):
        from inspect import get_annotations
        from typing import get_type_hints

        with suppress(NameError):  # an annotation that only a type checker can resolve
            # They are text, which Python resolves in the module a class names.
            resolved = get_type_hints(value, include_extras=True)
            value.__annotations__ = {name: resolved[name] for name in get_annotations(value)}
    value.__module__ = __name__


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return list(__all__)
