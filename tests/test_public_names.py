from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import get_type_hints

import pytest

import omnireid
from omnireid import errors
from omnireid.cli import main

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

PUBLIC = {
    "AttributeHead",
    "Attributes",
    "AttributeScores",
    "BoxEmbeddings",
    "Calibration",
    "CalibrationOptions",
    "Crops",
    "DataOptions",
    "Dataset",
    "DetectorOptions",
    "Embedder",
    "EmbeddingTable",
    "ExportOptions",
    "Evaluation",
    "Gallery",
    "Explanation",
    "Labels",
    "Preprocessing",
    "QueryExpansion",
    "RECIPES",
    "RankedMatches",
    "RankingOptions",
    "RankingScores",
    "Recipe",
    "RerankedDistances",
    "Reranking",
    "RunOptions",
    "RuntimeOptions",
    "ServiceClient",
    "SightingFilter",
    "Split",
    "TrackerEmbedder",
    "VideoOptions",
    "WeightsMetadata",
    "__version__",
    "attach_attributes",
    "calibrate",
    "create_model",
    "embed_to_parquet",
    "evaluate",
    "evaluate_attribute_head",
    "evaluate_datasets",
    "evaluate_embedder",
    "evaluate_ranking",
    "examine",
    "expand_queries",
    "explain",
    "export_weights",
    "fit_attribute_head",
    "load_dataset",
    "load_detector",
    "load_embedder",
    "load_splits",
    "measure_gates",
    "open_video",
    "people_to_calibrate",
    "predict_attributes",
    "read_attribute_head",
    "read_attributes",
    "read_calibration",
    "read_embeddings",
    "rerank",
    "search",
    "synthesize",
    "train",
    "train_every_split",
    "write_attribute_head",
    "write_calibration",
}

ERRORS = {
    "BrokerError",
    "BusyError",
    "CalibrationError",
    "CheckpointError",
    "ClusterError",
    "CoverageError",
    "DataError",
    "DataNotFoundError",
    "DecisionError",
    "DeviceMemoryError",
    "DiskFullError",
    "DownloadError",
    "EmbeddingError",
    "ExplanationError",
    "ExportError",
    "FilterError",
    "GalleryError",
    "GalleryModelError",
    "ImageError",
    "ImageTooLargeError",
    "IncompleteDatasetError",
    "LabelsError",
    "ManifestError",
    "MediaTypeError",
    "MissingDependencyError",
    "ModelError",
    "NoTrueMatchError",
    "NonFiniteLossError",
    "NotInGalleryError",
    "OmnireidError",
    "OutputError",
    "OutputInUseError",
    "ParityError",
    "RankError",
    "RateLimitError",
    "RecipeError",
    "RequestError",
    "RequestTooLargeError",
    "ResumeError",
    "RoleError",
    "ServiceError",
    "SettingError",
    "ShapeError",
    "StoppedError",
    "TeacherError",
    "TokenError",
    "TrackingError",
    "TrainingError",
    "UnknownLayoutError",
    "UnsafeCheckpointError",
    "WeightsError",
    "WeightsNotFoundError",
}

NAMES_FOR_TYPE_CHECKERS = {"Crops", "Split"}
"""Their columns are pyarrow's, which is imported for type checkers only."""

REMEDY = (
    "The public surface changed. If that is meant: add or remove the name here, in src/omnireid/__init__.py (and for "
    "an error in errors.py: __all__ and the tree in its docstring), and say so in CHANGELOG.md; a removed name needs a "
    "release with a deprecation first."
)


def test_the_public_surface_is_frozen() -> None:
    assert set(omnireid.__all__) == PUBLIC | ERRORS, REMEDY
    assert set(errors.__all__) == ERRORS, REMEDY


def test_every_public_name_is_there() -> None:
    for name in omnireid.__all__:
        assert getattr(omnireid, name) is not None
    assert set(dir(omnireid)) == set(omnireid.__all__)


def test_every_public_name_says_that_the_package_is_its_home() -> None:
    for name in omnireid.__all__:
        value = getattr(omnireid, name)
        if isinstance(value, (type, FunctionType)):
            assert value.__module__ == "omnireid", name


def test_public_classes_keep_their_annotations_and_travel_by_pickle() -> None:
    for name in omnireid.__all__:
        value = getattr(omnireid, name)
        if isinstance(value, (type, FunctionType)):
            assert pickle.loads(pickle.dumps(value)) is value
        if isinstance(value, type) and name not in NAMES_FOR_TYPE_CHECKERS:
            get_type_hints(value)
    options = omnireid.RuntimeOptions(precision="fp32")
    assert pickle.loads(pickle.dumps(options)) == options


def test_a_program_that_holds_public_values_may_call_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert omnireid.RuntimeOptions is not None
    assert omnireid.RankingOptions is not None
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "Number format the network computes in" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_the_namespace_is_lazy_and_complete_in_a_fresh_process() -> None:
    code = (
        "import sys, omnireid\n"
        "assert not {'numpy', 'torch'} & set(sys.modules)\n"
        "from omnireid import Labels\n"
        "assert Labels.__module__ == 'omnireid' and 'torch' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "example", [EXAMPLES / "core.py", *sorted(EXAMPLES.glob("tracking_*.py"))], ids=lambda path: path.name
)
def test_examples_use_public_names_only(example: Path) -> None:
    for node in ast.walk(ast.parse(example.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("omnireid"):
            assert node.module in ("omnireid", "omnireid.cli"), "Only public names, and the commands a user would type."
            assert {alias.name for alias in node.names} <= {*omnireid.__all__, "main"}


def test_every_error_is_in_the_tree_that_is_drawn() -> None:
    assert errors.__doc__ is not None
    for name in ERRORS:
        assert issubclass(getattr(errors, name), errors.OmnireidError)
        assert f" {name} " in errors.__doc__ or f"\n{name}\n" in errors.__doc__.replace(" ", ""), name
