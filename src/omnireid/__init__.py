"""omnireid: person re-identification with OSNet, from crops to ranked identities.

The public names are imported on first use, so that ``import omnireid`` stays
cheap and nothing pulls in torch before a model is really run in it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from omnireid import errors as _errors
from omnireid.version import __version__ as __version__

if TYPE_CHECKING:
    from omnireid.data.datasets import load_dataset as load_dataset
    from omnireid.data.datasets import load_splits as load_splits
    from omnireid.embedding.embedder import Embedder as Embedder
    from omnireid.embedding.embedder import load_embedder as load_embedder
    from omnireid.embedding.jobs import embed_to_parquet as embed_to_parquet
    from omnireid.embedding.tables import EmbeddingTable as EmbeddingTable
    from omnireid.embedding.tables import read_embeddings as read_embeddings
    from omnireid.errors import *  # noqa: F403
    from omnireid.evaluation.ranking import evaluate_ranking as evaluate_ranking
    from omnireid.evaluation.scores import RankingScores as RankingScores
    from omnireid.models.zoo import create_model as create_model
    from omnireid.retrieval.expansion import QueryExpansion as QueryExpansion
    from omnireid.retrieval.expansion import expand_queries as expand_queries
    from omnireid.retrieval.reranking import RerankedDistances as RerankedDistances
    from omnireid.retrieval.reranking import Reranking as Reranking
    from omnireid.retrieval.reranking import rerank as rerank
    from omnireid.retrieval.search import RankedMatches as RankedMatches
    from omnireid.retrieval.search import search as search
    from omnireid.synthetic.dataset import synthesize as synthesize
    from omnireid.types import Crops as Crops
    from omnireid.types import Dataset as Dataset
    from omnireid.types import Labels as Labels
    from omnireid.types import Split as Split

_HOME_OF = {
    "Crops": "omnireid.types",
    "Dataset": "omnireid.types",
    "Embedder": "omnireid.embedding.embedder",
    "EmbeddingTable": "omnireid.embedding.tables",
    "Labels": "omnireid.types",
    "QueryExpansion": "omnireid.retrieval.expansion",
    "RankedMatches": "omnireid.retrieval.search",
    "RankingScores": "omnireid.evaluation.scores",
    "RerankedDistances": "omnireid.retrieval.reranking",
    "Reranking": "omnireid.retrieval.reranking",
    "Split": "omnireid.types",
    "create_model": "omnireid.models.zoo",
    "embed_to_parquet": "omnireid.embedding.jobs",
    "evaluate_ranking": "omnireid.evaluation.ranking",
    "expand_queries": "omnireid.retrieval.expansion",
    "load_dataset": "omnireid.data.datasets",
    "load_embedder": "omnireid.embedding.embedder",
    "load_splits": "omnireid.data.datasets",
    "read_embeddings": "omnireid.embedding.tables",
    "rerank": "omnireid.retrieval.reranking",
    "search": "omnireid.retrieval.search",
    "synthesize": "omnireid.synthetic.dataset",
    **dict.fromkeys(_errors.__all__, "omnireid.errors"),
}

__all__ = sorted([*_HOME_OF, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'omnireid' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return list(__all__)
