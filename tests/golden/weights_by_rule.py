"""Deterministic weights for parity tests: the same numbers on every machine, from key names alone.

`state_dict(variant)` gives every tensor of a published OSNet checkpoint layout (published_keys.json)
a value drawn from a generator seeded by the key's CRC-32, so that two implementations that load the
same layout can be compared number by number without any trained weights.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent


def array(key: str, shape: list[int]) -> npt.NDArray[np.generic]:
    """One tensor: float32 of `shape`; running variances are positive, norm scales lie near 1."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    noise = rng.standard_normal(shape)
    if key.endswith("running_var"):
        return (0.5 + np.abs(noise)).astype(np.float32)
    if len(shape) == 1:
        base = 1.0 if key.endswith("weight") else 0.0
        return (base + 0.1 * noise).astype(np.float32)
    fan_in = float(np.prod(shape[1:]))
    scaled: npt.NDArray[np.float32] = (noise * np.sqrt(2.0 / fan_in)).astype(np.float32)
    return scaled


def state_dict(variant: str) -> dict[str, npt.NDArray[np.generic]]:
    """Key -> array, in the published order, for a variant named in published_keys.json."""
    keys = json.loads((HERE / "published_keys.json").read_text())
    return {key: array(key, shape) for key, shape in keys[variant]}


def images(count: int = 4, height: int = 256, width: int = 128) -> npt.NDArray[np.float32]:
    """(count, 3, height, width) float32, already normalised: the parity input."""
    rng = np.random.default_rng(20190502)
    coarse = rng.standard_normal((count, 3, height // 8, width // 8))
    fine = rng.standard_normal((count, 3, height, width))
    return (np.kron(coarse, np.ones((8, 8))) + 0.3 * fine).astype(np.float32)
