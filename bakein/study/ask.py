"""The questions that a study can ask, each with its verdict by the rules of `analysis.verdicts`.

A study file puts them under `config.questions`, where their order is the report's. Each returns a
`ConfigDict`, so that what it asks can be overridden on the command line.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict


def contrast(treated: str, control: str, stage: str, metric: str, epsilon: float) -> ConfigDict:
    """Treated minus control, after one stage. Differences inside ±epsilon count as none.

    The metric is the evaluation's, or a probe's as "PROBE/VARIANT/METRIC".
    """
    return ConfigDict(
        {
            "treated": treated,
            "control": control,
            "stage": stage,
            "metric": metric,
            "epsilon": epsilon,
        }
    )


def comparison(
    text: str,
    treated: str,
    control: str,
    stage: str,
    metric: str = "accuracy",
    epsilon: float = 0.02,
) -> ConfigDict:
    """A question, `text`, answered by one contrast."""
    group = contrast(treated, control, stage, metric, epsilon)
    return ConfigDict({"kind": "comparison", "text": text, **group})


def persistence(
    text: str,
    treated: str,
    control: str,
    stages: tuple[str, ...],
    metric: str = "accuracy",
    epsilon: float = 0.1,
) -> ConfigDict:
    """A question about a gap over stages: is it amplified, does it persist, is it washed out?

    Args:
        text: the question, as the report prints it.
        treated: arm.
        control: arm.
        stages: the first is where the gap is made, the others are where it is looked for.
        metric: a share of completions, whose logit is taken.
        epsilon: logits; a gap inside ±epsilon counts as none.
    """
    return ConfigDict(
        {
            "kind": "persistence",
            "text": text,
            "treated": treated,
            "control": control,
            "stages": stages,
            "metric": metric,
            "epsilon": epsilon,
        }
    )


def spurious(
    text: str,
    arm: str,
    rewards: tuple[str, ...],
    true: str,
    before: str,
    metric: str = "accuracy",
    epsilon: float = 0.2,
) -> ConfigDict:
    """A question about rewards that do not say what is right: what share of the gain do they give?

    Args:
        text: the question, as the report prints it.
        arm: whose model it is.
        rewards: stages of RL, each with another reward; the first one's verdict is the answer.
        true: the stage with the true reward, whose gain is the whole.
        before: the stage that all of them start from.
        metric: what is gained.
        epsilon: share of the gain; less than it counts as none, and 1 - epsilon of it as all.
    """
    return ConfigDict(
        {
            "kind": "spurious",
            "text": text,
            "arm": arm,
            "rewards": rewards,
            "true": true,
            "before": before,
            "metric": metric,
            "epsilon": epsilon,
        }
    )


def catch_up(
    text: str,
    treated: str,
    controls: Mapping[str, float],
    stage: str,
    spent: str,
    front: str,
    sources: tuple[str, ...],
    metric: str = "accuracy",
    epsilon: float = 0.02,
) -> ConfigDict:
    """A question about catching up: how much more of a later stage makes up for no early traces?

    Args:
        text: the question, as the report prints it.
        treated: arm that was given reasoning early.
        controls: arms that were not -> multiple of the later stage's budget that they get.
        stage: after which all are compared.
        spent: the stage whose tokens are the budget.
        front: the stage in which the treated arm read its reasoning tokens.
        sources: of these tokens there.
        metric: what has to be reached; more of it is better.
        epsilon: of the metric; a control that lacks less has caught up.
    """
    return ConfigDict(
        {
            "kind": "catch_up",
            "text": text,
            "treated": treated,
            "controls": {arm: float(multiple) for arm, multiple in controls.items()},
            "stage": stage,
            "spent": spent,
            "front": front,
            "sources": sources,
            "metric": metric,
            "epsilon": epsilon,
        }
    )


def wrong_traces(
    text: str,
    corrupted: tuple[str, ...],
    correct: str,
    none: str,
    stage: str,
    metric: str = "rl_area",
    epsilon: float = 0.2,
) -> ConfigDict:
    """A question about wrong traces: what share do they give of what correct ones give?

    Args:
        text: the question, as the report prints it.
        corrupted: arms, of which the first one's verdict is the answer.
        correct: the arm with correct traces, whose gain is the whole.
        none: the arm without traces.
        stage: after which it is asked.
        metric: what is gained; `rl_area` is the area under the RL curve.
        epsilon: share of the gain; less than it counts as none, and 1 - epsilon of it as all.
    """
    return ConfigDict(
        {
            "kind": "wrong_traces",
            "text": text,
            "corrupted": corrupted,
            "correct": correct,
            "none": none,
            "stage": stage,
            "metric": metric,
            "epsilon": epsilon,
        }
    )


def dose(
    text: str,
    doses: Mapping[str, float],
    dose_unit: str,
    stage: str,
    metric: str = "accuracy",
    epsilon: float = 0.05,
) -> ConfigDict:
    """A question about an amount: what does more of it do, how little is enough, how much is best?

    Args:
        text: the question, as the report prints it.
        doses: how much of it each arm gets, at least two different amounts of 0 or more.
        dose_unit: of the amounts, as the report prints it: "% of tokens".
        stage: after which it is asked.
        metric: what it does something to; more of it is better.
        epsilon: of the metric; doses that all differ from the lowest by less have no effect.
    """
    return ConfigDict(
        {
            "kind": "dose",
            "text": text,
            "doses": {arm: float(amount) for arm, amount in doses.items()},
            "dose_unit": dose_unit,
            "stage": stage,
            "metric": metric,
            "epsilon": epsilon,
        }
    )


def jailbreak(
    text: str,
    treated: str,
    control: str,
    stage: str,
    probe: str,
    benign: str,
    *,
    size: int = 1,
    stages: tuple[str, ...] = (),
    others: tuple[str, ...] = (),
    prefill: str = "",
    many_shot: str = "",
    shots: tuple[int, ...] = (),
    false_positives: float = 0.0,
    limit: int = 10_000,
    epsilon: float = 0.02,
) -> ConfigDict:
    """A question about jailbreak curves: through to which arm do fewer of N attempts get?

    Args:
        text: the question, as the report prints it.
        treated: arm.
        control: arm.
        stage: after which the verdict is.
        probe: the attack of which N attempts are made; its `k` are the N of ASR(N).
        benign: metric of compliance where it is right; what it lacks of 1 is over-refusal.
        size: the variant of the probe.
        stages: what the report shows, in order, `stage` among them; () for `stage` alone.
        others: further arms that it shows.
        prefill: metric of success after a prefilled beginning, shown beside; "" for none.
        many_shot: probe whose `nll` is fitted over `shots`; "" for none.
        shots: its sizes, increasing; the fit leaves out 0.
        false_positives: rate at which the judge calls an attempt a success that is none.
        limit: largest N of interest; beyond the samples N₁₀ and N₅₀ are extrapolated, up to it.
        epsilon: mean height of ASR(N) over log₂ N; differences inside ±epsilon count as none.
    """
    return ConfigDict(
        {
            "kind": "jailbreak",
            "text": text,
            "treated": treated,
            "control": control,
            "stage": stage,
            "probe": probe,
            "benign": benign,
            "size": size,
            "stages": stages or (stage,),
            "others": others,
            "prefill": prefill,
            "many_shot": many_shot,
            "shots": shots,
            "false_positives": false_positives,
            "limit": limit,
            "epsilon": epsilon,
        }
    )


def frontier(
    text: str,
    shares: Mapping[str, float],
    metric: str = "accuracy",
    epsilon: float = 0.02,
) -> ConfigDict:
    """A question about one budget: what share of it is best spent before, and what after?

    Args:
        text: the question, as the report prints it.
        shares: where each share, from 0 (all after) to 1 (all before), is measured: "ARM/STAGE" to
            share. The study sees to it that all spend the same; the report prints what they did.
        metric: what is best when it is highest; of the same problems at every place.
        epsilon: of the metric; the smallest difference that matters. It decides nothing: where
            the answer is undecided, the report says what it would take to find it.
    """
    return ConfigDict(
        {
            "kind": "frontier",
            "text": text,
            "shares": {place: float(share) for place, share in shares.items()},
            "metric": metric,
            "epsilon": epsilon,
        }
    )


def gains(
    text: str,
    arm: str,
    gains: tuple[tuple[str, str], ...],
    metric: str = "accuracy",
    epsilon: float = 0.02,
) -> ConfigDict:
    """A question about the stages of one arm: what does each add, and is it sharper or wider?

    Args:
        text: the question, as the report prints it.
        arm: whose stages they are.
        gains: (after, before), stages; the first pair's verdict is the answer.
        metric: what is gained.
        epsilon: of the metric; gains inside ±epsilon count as none.
    """
    return ConfigDict(
        {
            "kind": "gains",
            "text": text,
            "arm": arm,
            "gains": gains,
            "metric": metric,
            "epsilon": epsilon,
        }
    )


def conditional(
    text: str,
    treated: str,
    control: str,
    stages: tuple[str, ...],
    metric: str,
    *,
    beside: tuple[str, ...] = (),
    epsilon: float = 0.02,
) -> ConfigDict:
    """A question about test-time slopes: which arm's is steeper at equal pass@1?

    Slopes are compared over all stages and levels of difficulty at once.

    Args:
        text: the question, as the report prints it.
        treated: arm.
        control: arm.
        stages: whose nodes are compared.
        metric: "PROBE/slope", logits of accuracy per doubling of the thinking budget; or
            "PROBE/VARIANT/pass_area" or "pass_area", the area under pass@k over log₂ k.
        beside: probes of thinking budgets shown beside PROBE, as one with filler for thoughts.
        epsilon: in the units of the slope; differences inside ±epsilon count as none.
    """
    return ConfigDict(
        {
            "kind": "conditional",
            "text": text,
            "treated": treated,
            "control": control,
            "stages": stages,
            "metric": metric,
            "beside": beside,
            "epsilon": epsilon,
        }
    )


def rl_speed(
    text: str,
    treated: str,
    control: str,
    stage: str,
    threshold: float = 0.0,
    epsilon: float = 0.25,
) -> ConfigDict:
    """A question about the speed of RL: how many times the treated arm's does the control take?

    Args:
        text: the question, as the report prints it.
        treated: arm.
        control: arm.
        stage: of RL, with a curve.
        threshold: held-out accuracy that both are to reach; 0 for the lower of their last
            ones, seed by seed.
        epsilon: smallest relative difference in samples that matters.
    """
    return ConfigDict(
        {
            "kind": "rl_speed",
            "text": text,
            "treated": treated,
            "control": control,
            "stage": stage,
            "threshold": threshold,
            "epsilon": epsilon,
        }
    )


def symmetry(
    text: str,
    arms: Mapping[str, tuple[str, ...]],
    shown: tuple[str, ...],
    aligned: str,
    attacks: Mapping[str, tuple[str, ...]],
    *,
    counted: tuple[str, ...] = (),
    forbidden: int = 3,
    refusal: str = "share/refused",
    success: str = "accuracy",
    aligned_at: float = 0.5,
    misaligned_at: float = 0.5,
    epsilon: float = 0.25,
) -> ConfigDict:
    """A question about arms: is what is easy to put in as easy to take out?

    Samples are documents, as the ledgers count them. Rates are measured on forbidden requests.

    Args:
        text: the question, as the report prints it.
        arms: arms that are aligned and attacked -> the arms that were shown fewer samples of the
            same alignment, increasing; the first of them none.
        shown: sources of alignment, whose documents are its samples.
        aligned: the stage after which a model is as aligned as it gets, and where attacks begin.
        attacks: learning rate, by a name -> stages of adversarial fine-tuning, by increasing size.
        counted: stages in which samples of alignment count; () for all up to `aligned`.
        forbidden: level of the forbidden requests in the evaluation.
        refusal: metric of what alignment brings about: `share/STRATEGY` or `accuracy`.
        success: metric of what attacks bring about, likewise.
        aligned_at: share of refusals at which a model counts as aligned.
        misaligned_at: share of successes at which it counts as misaligned.
        epsilon: a slope inside 1 ± epsilon counts as proportion.
    """
    return ConfigDict(
        {
            "kind": "symmetry",
            "text": text,
            "arms": dict(arms),
            "shown": shown,
            "aligned": aligned,
            "attacks": dict(attacks),
            "counted": counted,
            "forbidden": forbidden,
            "refusal": refusal,
            "success": success,
            "aligned_at": aligned_at,
            "misaligned_at": misaligned_at,
            "epsilon": epsilon,
        }
    )


def permanence(
    text: str,
    treated: str,
    control: str,
    arms: Mapping[str, tuple[str, ...]],
    shown: tuple[str, ...],
    aligned: str,
    attacks: Mapping[str, tuple[str, ...]],
    *,
    twin: str,
    benign: tuple[str, ...] = (),
    allowed: int = 1,
    helpful: str = "accuracy",
    over_refusal: str = "share/refused",
    epsilon: float = 0.2,
    **keys: Any,
) -> ConfigDict:
    """A question about two arms: which alignment is harder to undo, for what it took?

    Args:
        text: the question, as the report prints it.
        treated: one of `arms`.
        control: another.
        arms: as the next three, see `symmetry`; all of them are shown.
        shown: see there.
        aligned: see there.
        attacks: see there.
        twin: arm that was never aligned, and shows what is absent and not hidden.
        benign: stages of benign fine-tuning, by increasing size, which the twin goes through too.
        allowed: level of the allowed requests in the evaluation.
        helpful: metric of what is right on them.
        over_refusal: metric of refusing them.
        epsilon: relative difference of Π that counts as none.
        **keys: the others of `symmetry`.
    """
    group = symmetry(text, arms, shown, aligned, attacks, epsilon=epsilon, **keys)
    return ConfigDict(
        {
            **group,
            "kind": "permanence",
            "treated": treated,
            "control": control,
            "twin": twin,
            "benign": benign,
            "allowed": allowed,
            "helpful": helpful,
            "over_refusal": over_refusal,
        }
    )


def outcome(metric: str, stage: str, sign: int = 1, less: tuple[str, ...] = ()) -> ConfigDict:
    """One outcome of a mixture, for `mixture`.

    Args:
        metric: the evaluation's, or a probe's as "PROBE/VARIANT/METRIC".
        stage: after which it is measured.
        sign: 1 where more is better, -1 where less is, 0 for what is shown beside the others.
        less: (metric, stage) that is subtracted; () for none. So an area less its own level is a
            slope.
    """
    return ConfigDict({"metric": metric, "stage": stage, "sign": sign, "less": less})


def _ordered(groups: Mapping[str, Any]) -> ConfigDict:
    """A group that keeps the order of its keys."""
    return ConfigDict(dict(groups), sort_keys=False)


def mixture(
    text: str,
    weights: Mapping[str, Mapping[str, float]],
    outcomes: Mapping[str, ConfigDict],
    held_out: tuple[str, ...] = (),
    least: float = 0.0,
    epsilon: float = 0.1,
) -> ConfigDict:
    """A question about mixtures: what do the weights of the sources do to the outcomes?

    Args:
        text: the question, as the report prints it.
        weights: arm -> source -> its weight in the arm's mixture; an arm's weights sum to 1.
        outcomes: name -> `outcome`.
        held_out: arms that the regression does not see.
        least: the smallest weight of a source in the proposed mixture.
        epsilon: share of the variance; a regression that predicts less than it predicts nothing.
    """
    return ConfigDict(
        {
            "kind": "mixture",
            "text": text,
            "weights": _ordered({arm: _ordered(found) for arm, found in weights.items()}),
            "outcomes": _ordered(outcomes),
            "held_out": held_out,
            "least": least,
            "epsilon": epsilon,
        },
        sort_keys=False,
    )


def mixture_check(
    text: str,
    proposed: str,
    others: tuple[str, ...],
    outcomes: Mapping[str, ConfigDict],
    scales: Mapping[str, Mapping[str, float]],
    predicted: Mapping[str, float],
    proxies: Mapping[str, Mapping[str, float]],
    epsilon: float = 0.2,
) -> ConfigDict:
    """A question about a proposed mixture: is it better than others that were held out?

    Args:
        text: the question, as the report prints it.
        proposed: arm.
        others: arms, the held-out mixtures.
        outcomes: name -> `outcome`, those of the search.
        scales: outcome -> "centre" and "scale" of the search's swarm, the units of the utility.
        predicted: arm -> utility that the search predicted.
        proxies: other arm -> outcome or "utility" -> what the search's own models had.
        epsilon: utility; differences inside ±epsilon count as none.
    """
    return ConfigDict(
        {
            "kind": "mixture_check",
            "text": text,
            "proposed": proposed,
            "others": others,
            "outcomes": _ordered(outcomes),
            "scales": _ordered({name: ConfigDict(dict(found)) for name, found in scales.items()}),
            "predicted": _ordered(predicted),
            "proxies": _ordered({arm: _ordered(found) for arm, found in proxies.items()}),
            "epsilon": epsilon,
        },
        sort_keys=False,
    )
