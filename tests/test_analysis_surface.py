"""Response surfaces: known ones recovered, doubt where no data are, honest about the unseen."""

import numpy as np
import pytest

from bakein.analysis import bootstrap, mixtures, surface, verdicts

PARTS, LEAST = 4, 0.05


def straight(weights):
    return weights @ [0.9, 0.5, 0.2, 0.2]


def curved(weights):
    return straight(weights) + 2 * weights[:, 0] * weights[:, 1]


def swarm(count=16, seed=0):
    return mixtures.design(count, PARTS, LEAST, np.random.default_rng(seed))


@pytest.mark.parametrize("response", [straight, curved])
def test_a_surface_finds_the_response(response):
    weights, new = swarm(40), swarm(60, seed=1)
    mean, sd = surface.fit_surface(weights, response(weights)).predict(new)
    np.testing.assert_allclose(mean, response(new), atol=0.01)
    assert sd.shape == (60,)
    assert sd.max() < 0.02


def test_doubt_grows_with_noise_and_away_from_the_data_and_shrinks_with_mixtures():
    rng = np.random.default_rng(0)

    def doubt(count, noise, at):
        weights = swarm(count)
        found = surface.fit_surface(weights, straight(weights) + rng.normal(0, noise, count))
        return found.predict(np.array([at]))[1][0]

    middle, corner = [0.25] * 4, [1.0, 0.0, 0.0, 0.0]
    assert doubt(16, 0.1, middle) > 3 * doubt(16, 0.01, middle)
    assert doubt(16, 0.1, corner) > 2 * doubt(16, 0.1, middle)
    assert doubt(400, 0.03, middle) < 0.5 * doubt(16, 0.03, middle)


def test_intervals_of_predictions_and_effects_cover():
    """Of what the surface can express, under the noise that it assumes."""
    at, hits, tried = np.full(PARTS, 0.25), [], 60
    truth = np.array([straight(surface.more_of(at, p, 0.1)[None])[0] for p in range(PARTS)])
    truth -= straight(at[None])[0]
    for seed in range(tried):
        weights = swarm(20, seed)
        noise = np.random.default_rng(seed).normal(0, 0.05, 20)
        found = surface.fit_surface(weights, straight(weights) + noise)
        effects = surface.effects(found, at, 0.1, 0.95)
        hits += [e.low < t < e.high for e, t in zip(effects, truth, strict=True)]
    assert 0.88 <= np.mean(hits) <= 1.0


def test_a_change_is_the_difference_of_predictions():
    weights = swarm()
    found = surface.fit_surface(weights, curved(weights))
    change, sd = found.change(weights[:3], weights[3:6])
    mean, _ = found.predict(weights)
    np.testing.assert_allclose(change, mean[3:6] - mean[:3])
    assert np.all(sd >= 0)
    none, no_doubt = found.change(weights[:3], weights[:3])
    np.testing.assert_allclose([none, no_doubt], 0, atol=1e-12)


def test_effects_are_changes_at_a_mixture_with_intervals_by_level():
    weights, at = swarm(), np.full(PARTS, 0.25)
    found = surface.fit_surface(weights, straight(weights))
    narrow, wide = (surface.effects(found, at, 0.1, level) for level in (0.5, 0.99))
    # 0.1 more of the first, a thirtieth less of each other: 0.1·0.9 − 0.1·0.3.
    assert narrow[0].estimate == pytest.approx(0.06, abs=0.005)
    assert narrow[2].estimate < 0
    for one, other in zip(narrow, wide, strict=True):
        assert other.low < one.low < one.estimate < one.high < other.high


def test_more_of_one_part_keeps_the_proportions_of_the_others():
    changed = surface.more_of([0.2, 0.4, 0.4], 0, 0.3)
    np.testing.assert_allclose(changed, [0.5, 0.25, 0.25])
    with pytest.raises(ValueError, match=r"more is 0\.9; part 0 has 0\.2 of 1"):
        surface.more_of([0.2, 0.4, 0.4], 0, 0.9)


def test_utility_is_the_signed_mean_in_units_of_the_scales():
    scores = np.array([[1.0, 3.0], [10.0, 30.0], [5.0, 5.0], [0.0, 9.0]])
    found = surface.utility(scores, [1, -1, 1, 0], [1.0, 20.0, 5.0, 0.0], [2.0, 10.0, 0.0, 1.0])
    np.testing.assert_allclose(found, [(0 + 1 + 0) / 3, (1 - 1 + 0) / 3])
    by_seed = surface.utility(scores[:, :, None], [1, 0, 0, 0], [0] * 4, [1] * 4)
    np.testing.assert_allclose(by_seed, scores[0][:, None])
    with pytest.raises(ValueError, match="signs are all 0"):
        surface.utility(scores, [0] * 4, [0] * 4, [1] * 4)


def test_the_proposal_is_nearly_the_best_mixture_that_is_allowed():
    weights = swarm(24)
    found = surface.fit_surface(weights, curved(weights))
    proposed = surface.propose(found, PARTS, LEAST, np.random.default_rng(0))
    assert proposed.sum() == pytest.approx(1)
    assert proposed.min() >= LEAST - 1e-12
    everything = swarm(4096, seed=3)
    assert np.mean(curved(proposed[None]) >= curved(everything)) > 0.98


def test_the_proposal_shuns_what_is_not_known():
    """Of two corners that promise the same, the one that was never gone near is left alone."""
    weights = swarm(64)
    weights = weights[weights[:, 3] < 0.15]
    outcome = (weights[:, 0] > 0.3) * 0.5 + np.random.default_rng(0).normal(0, 0.02, len(weights))
    found = surface.fit_surface(weights, outcome)
    _, sd = found.predict([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]])
    assert sd[1] > 1.5 * sd[0]
    assert surface.propose(found, PARTS, LEAST, np.random.default_rng(0))[3] < 0.2


def test_what_was_not_seen_is_predicted_by_what_was():
    weights, held_out = swarm(20), swarm(6, seed=1)
    rng = np.random.default_rng(0)
    outcome = straight(weights) + rng.normal(0, 0.01, 20)
    found = surface.unseen(weights, outcome, held_out, straight(held_out), 300, 0.95, rng)
    assert found.explained.low > 0.8
    assert found.explained.estimate < 1
    assert found.explained.seeds == 26
    assert found.held_out > 0.9
    np.testing.assert_allclose(found.held_out_H, straight(held_out), atol=0.05)
    # A mixture's own outcome has no part in its prediction.
    changed = outcome + 5 * (np.arange(20) == 3)
    again = surface.unseen(weights, changed, held_out, straight(held_out), 300, 0.95, rng)
    assert again.swarm_N[3] == found.swarm_N[3]
    assert again.swarm_N[4] != found.swarm_N[4]


def test_noise_is_not_predicted():
    low = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = surface.unseen(
            swarm(12, seed), rng.normal(size=12), swarm(4, seed + 99), rng.normal(size=4),
            200, 0.95, rng,
        )  # fmt: skip
        low.append(found.explained.low)
    assert np.mean(np.array(low) > 0) <= 0.1


def test_without_held_out_mixtures_or_variance_nothing_is_claimed():
    rng = np.random.default_rng(0)
    weights, nobody = swarm(8), (np.zeros((0, PARTS)), np.zeros(0))
    alone = surface.unseen(weights, straight(weights), *nobody, 200, 0.95, rng)
    assert np.isnan(alone.held_out)
    assert alone.explained.seeds == 8
    assert alone.held_out_H.size == 0
    assert surface.unseen(weights, np.ones(8), *nobody, 200, 0.95, rng).explained is None
    held_out = weights[:3]
    found = surface.unseen(weights, np.zeros(8), held_out, [0, 0.05, 0], 200, 0.95, rng)
    assert found.explained is None, "without that one there is nothing to explain"


@pytest.mark.parametrize(
    ("ends", "seeds", "verdict"),
    [
        ((0.01, 0.9), 2, "predicts"),
        ((0.01, 0.9), 1, "underpowered"),
        ((-0.5, 0.09), 3, "does not predict"),
        ((-0.5, 0.11), 3, "underpowered"),
        (None, 3, "underpowered"),
    ],
)
def test_the_verdict_is_read_off_the_interval(ends, seeds, verdict):
    nan = float("nan")
    explained = ends and bootstrap.Interval(sum(ends) / 2, *ends, 0.95, 20, nan, nan)
    assert verdicts.mixture(explained, seeds, 0.1) == verdict
    with pytest.raises(ValueError, match="epsilon is 1"):
        verdicts.mixture(explained, seeds, 1)
