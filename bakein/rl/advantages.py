"""Group advantages: how much better a completion did than the others on its problem.

Shapes: N problems, G completions of each.
"""

import numpy as np


def group_advantages(rewards_NG: np.ndarray, *, normalise: bool) -> np.ndarray:
    """Reward minus the group's mean, by the group's standard deviation if `normalise`.

    Formula: GRPO, arXiv 2402.03300 section 4.1 (population standard deviation); without the
    division, Dr. GRPO, arXiv 2503.20783. Rewards come from verifiers on the host, so this is
    numpy, in float64 inside. Axes before the last two (a fleet's members) pass through.

    Args:
        rewards_NG: finite rewards, any real dtype.
        normalise: divide by the group's standard deviation.

    Returns:
        float32 advantages of the same shape, each group's mean 0; exactly 0 throughout a group
        whose rewards are all equal.

    Raises:
        ValueError: for a reward that is not finite.
    """
    rewards_NG = np.asarray(rewards_NG, np.float64)
    if not np.isfinite(rewards_NG).all():
        raise ValueError("a reward is not finite; rewards must be finite numbers")
    centred_NG = rewards_NG - rewards_NG.mean(axis=-1, keepdims=True)
    # The mean of equal floats can be off by a rounding, so equality is asked of the rewards.
    equal_N1 = np.ptp(rewards_NG, axis=-1, keepdims=True) == 0
    centred_NG = np.where(equal_N1, 0.0, centred_NG)
    if normalise:
        deviation_N1 = centred_NG.std(axis=-1, keepdims=True)
        centred_NG = centred_NG / np.where(deviation_N1 == 0, 1.0, deviation_N1)
    return centred_NG.astype(np.float32)
