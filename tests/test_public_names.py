from __future__ import annotations

import omnireid
from omnireid import errors

PUBLIC = {
    "Crops",
    "Dataset",
    "Embedder",
    "EmbeddingTable",
    "Labels",
    "QueryExpansion",
    "RankedMatches",
    "RankingScores",
    "RerankedDistances",
    "Reranking",
    "Split",
    "__version__",
    "create_model",
    "embed_to_parquet",
    "evaluate_ranking",
    "expand_queries",
    "load_dataset",
    "load_embedder",
    "load_splits",
    "read_embeddings",
    "rerank",
    "search",
    "synthesize",
}

ERRORS = {
    "CheckpointError",
    "CoverageError",
    "DataError",
    "DataNotFoundError",
    "DeviceMemoryError",
    "DiskFullError",
    "DownloadError",
    "EmbeddingError",
    "ExportError",
    "ImageError",
    "ImageTooLargeError",
    "IncompleteDatasetError",
    "LabelsError",
    "ManifestError",
    "MissingDependencyError",
    "ModelError",
    "NoTrueMatchError",
    "NonFiniteLossError",
    "OmnireidError",
    "OutputError",
    "OutputInUseError",
    "ParityError",
    "RankError",
    "RecipeError",
    "ResumeError",
    "SettingError",
    "ShapeError",
    "StoppedError",
    "TrainingError",
    "UnknownLayoutError",
    "UnsafeCheckpointError",
    "WeightsError",
    "WeightsNotFoundError",
}

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


def test_every_error_is_in_the_tree_that_is_drawn() -> None:
    assert errors.__doc__ is not None
    for name in ERRORS:
        assert issubclass(getattr(errors, name), errors.OmnireidError)
        assert f" {name} " in errors.__doc__ or f"\n{name}\n" in errors.__doc__.replace(" ", ""), name
