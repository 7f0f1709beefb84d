"""The names that options take, in a file that loads nothing else: a command line needs no NumPy to explain itself."""

from __future__ import annotations

from typing import Literal, get_args

Distance = Literal["euclidean", "cosine"]
"""How two embeddings are compared. Both rank from small to large distance."""

Protocol = Literal["single-query", "multi-query", "single-gallery-shot", "no-cameras"]
"""Which gallery crops a query is scored against:

- ``single-query``: Market-1501's rule. A gallery crop of the query's own person
  *and* own camera is skipped.
- ``multi-query``: the same rule, after averaging all query crops of one person in one camera.
- ``single-gallery-shot``: CUHK03's classic rule. One gallery crop of each identity
  is drawn at random; the draw is repeated and the scores are averaged. Without camera
  ids it is one crop a person to find, and nothing is skipped.
- ``no-cameras``: nothing is skipped. Only right for data without camera ids.
"""

DISTANCES: tuple[Distance, ...] = get_args(Distance)
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
