"""How much training seeds move a mean, told from two to five of them: variances, and how well they are known.

Nothing that can be drawn from three seeds tells how much seeds differ: they are of one sign by luck in a quarter of the cases,
and then no resample of them crosses 0. So their mean is drawn from Student's t around what was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prdlib.repro import generator


@dataclass(frozen=True)
class SeedSpread:
    """How much training seeds differ in the rows of a metric: variance of one seed, the mean over rows of two seeds or more, and
    the degrees of freedom of all rows together (0: no row has two seeds, nothing is known of their spread)."""

    variance: float
    freedom: int

    @classmethod
    def of(cls, rows: Mapping[str, pd.DataFrame]) -> SeedSpread:
        """rows: tables [studies, seeds]. Asked are those of as many studies as most have (of two such numbers the larger): a row
        with a test set of its own says nothing of the others."""
        several = [row for row in rows.values() if row.shape[1] > 1 and len(row)]
        if not several:
            return cls(0.0, 0)
        number = Counter(map(len, several))
        usual = max(number, key=lambda size: (number[size], size))
        several = [row for row in several if len(row) == usual]
        return cls(float(np.mean([_variance(row) for row in several])), sum(row.shape[1] - 1 for row in several))

    @classmethod
    def of_differences(cls, rows: Mapping[str, pd.DataFrame], baseline_seeds: int) -> SeedSpread:
        """rows: differences to one baseline. What it adds to their variance is in all of them, and known from its own S seeds
        alone however many rows there are: with half of the variance, Welch and Satterthwaite give at most 4 (S - 1) degrees of
        freedom."""
        spread = cls.of(rows)
        if baseline_seeds == 1:  # no p then, and the interval has the spread of the others
            return spread
        return cls(spread.variance, min(spread.freedom, 4 * (baseline_seeds - 1)))

    def error(self, row: pd.DataFrame) -> float:
        """Standard error of the mean over the seeds of a row: by its own variance or that of all rows, whichever is larger."""
        own = _variance(row) if row.shape[1] > 1 and len(row) else 0.0
        return float(np.sqrt(max(own, self.variance, 0.0) / row.shape[1]))


def draw_seeds(error: float, freedom: int, draws: int, seed: int) -> np.ndarray:
    """What training seeds add to a mean of that standard error: [draws], 0 where nothing is known of their spread."""
    return error * generator(seed, "seeds").standard_t(freedom, draws) if freedom else np.zeros(draws)


def _variance(row: pd.DataFrame) -> float:
    """Variance of one seed's mean over seeds, of [studies, seeds]: that of the means, less what chance in single studies adds to
    it, which the draws of studies bring along (two-way random effects; it can come out below 0)."""
    values = row.to_numpy()
    n, seeds = values.shape
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    return float(values.mean(axis=0).var(ddof=1) - (rest**2).sum() / max(1, n - 1) / (seeds - 1) / n)
