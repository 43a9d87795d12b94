"""Jackknife: a statistic of everything as scores per seed and problem, for the one bootstrap.

The slope of a regression is no mean over seeds, and resampling five seeds with replacement leaves
fits without data. Tukey's pseudo-values are scores whose mean is the statistic and whose spread
between seeds is the statistic's [Miller 1974, Biometrika 61, 1]; `bootstrap.mean_interval` of them
is its interval, with that interval's corrections for few seeds.

Legend: S seeds, P problems.
"""

from collections.abc import Callable, Sequence

import numpy as np


def scores(statistic: Callable[[np.ndarray], float], seeds: int) -> np.ndarray:
    """The pseudo-values θ + (S − 1)·(mean of θ₋ₛ − θ₋ₛ), where θ₋ₛ is θ without seed s.

    Their mean is θ itself, not the jackknife's estimate of it: that removes bias, and adds noise.

    Args:
        statistic: of the indices of the seeds to use, int [any number]; smooth in the data (no
            median, no maximum).
        seeds: S; with one seed its statistic is returned alone.

    Returns:
        float64 [S].
    """
    everyone = np.arange(seeds)
    whole = statistic(everyone)
    if seeds == 1:
        return np.array([whole])
    without_S = np.array([statistic(np.delete(everyone, seed)) for seed in range(seeds)])
    return whole + (seeds - 1) * (without_S.mean() - without_S)


def deviations(without: Sequence[Sequence[float]]) -> np.ndarray:
    """What each problem adds to a statistic: deviations of mean 0, whose mean has its variance.

    Added to the seeds' scores, [S, 1] + [P], they are what `bootstrap` takes as [S, P].

    Args:
        without: the statistic without each problem in turn, for each set of problems that is a
            sample of its own. A set's influences are (n − 1)·(mean of θ₋ₚ − θ₋ₚ) of its n problems;
            in one array of P they are scaled so that the variance is the sum of the sets'.

    Returns:
        float64 [P], of all sets one after another; [0.0] where no set has two problems.
    """
    sets = [np.asarray(of_set, float) for of_set in without if len(of_set) > 1]
    total = sum(map(len, sets))

    def influences(left_P: np.ndarray) -> np.ndarray:
        n = len(left_P)
        scale = np.sqrt(total * (total - 1) / (n * (n - 1)))
        return scale * (n - 1) * (left_P.mean() - left_P)

    return np.concatenate([influences(left_P) for left_P in sets]) if sets else np.zeros(1)
