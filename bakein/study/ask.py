"""The questions that a study can ask, each with its verdict by the rules of `analysis.verdicts`.

A study file puts them under `config.questions`, where their order is the report's. Each returns a
`ConfigDict`, so that what it asks can be overridden on the command line.
"""

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
            "stages": tuple(stages),
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
            "rewards": tuple(rewards),
            "true": true,
            "before": before,
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
            "corrupted": tuple(corrupted),
            "correct": correct,
            "none": none,
            "stage": stage,
            "metric": metric,
            "epsilon": epsilon,
        }
    )
