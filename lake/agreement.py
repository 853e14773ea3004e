"""How well an index agrees with the store: a share of a sample, with its 95 % interval. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

Z_95 = 1.959963984540054
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Interval(NamedTuple):
    """Bounds of a share."""

    low: float
    high: float


def wilson(agree: int, checked: int) -> Interval:
    """The 95 % score interval of a share (E. B. Wilson, 1927); 0 to 1 where nothing was checked."""
    if not checked:
        return Interval(0.0, 1.0)
    share, z2 = agree / checked, Z_95**2
    middle = share + z2 / (2 * checked)
    half = Z_95 * math.sqrt(share * (1 - share) / checked + z2 / (4 * checked**2))
    below = 1 + z2 / checked
    low = 0.0 if agree == 0 else (middle - half) / below
    high = 1.0 if agree == checked else (middle + half) / below
    return Interval(low, high)


def order(file_ids: np.ndarray, seed: int) -> np.ndarray:
    """A number per file that is random in the seed and the same in whatever order files come.

    The finaliser of splitmix64 (G. Steele et al., 2014). The files with the smallest are a sample.
    """
    with np.errstate(over="ignore"):
        mixed = file_ids.view(np.uint64) + _GOLDEN * np.uint64(2 * (seed % (1 << 62)) + 1)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return mixed ^ (mixed >> np.uint64(31))
