"""experiments/imitation_exploration.py: valid at every scale, and what its shares are made of."""

from pathlib import Path

import pytest

from bakein.model import flops_per_token
from bakein.study.config import resolve
from bakein.study.experiment import load_experiment

FILE = Path(__file__).parents[1] / "experiments" / "imitation_exploration.py"
SHARES = {
    "rl_100": 0.0,
    "rl_90": 0.1,
    "rl_75": 0.25,
    "rl_50": 0.5,
    "rl_25": 0.75,
    "sft_100": 1.0,
}


@pytest.mark.parametrize("scale", ["tiny", "small", "paper", "smoke"])
def test_every_share_spends_the_same_before_and_after(scale):
    study = resolve(load_experiment(f"{FILE}:{scale}", []))
    asked = study.questions["Q7_baked_in"]
    assert asked.shares == {f"baked_in/{stage}": share for stage, share in SHARES.items()}
    model, stages = study.model_config(vocab_size=52), study.arms["baked_in"]

    def supervised(stage):
        return 3 * flops_per_token(model, 0, stage.length) * stage.tokens / stage.fill

    def rl(stage):
        completions = stage.steps * stage.prompts * stage.group
        sampled = stage.prompt_length + 0.75 * stage.max_new_tokens
        learnt = stage.prompt_length + stage.max_new_tokens - 1
        longest = stage.prompt_length + stage.max_new_tokens
        return flops_per_token(model, 0, longest) * completions * (sampled + 3 * learnt)

    budget = supervised(stages["sft_100"])
    for name, share in SHARES.items():
        last = stages[name]
        after = rl(last) if last.kind == "rl" else 0.0
        first = last if last.kind == "supervised" else stages[last.parent]
        before = supervised(first) if share else 0.0
        assert before == pytest.approx(share * budget, rel=0.01)
        assert after == pytest.approx((1 - share) * budget, rel=0.01)
        assert first.parent == ("pretrain" if share else "")
    assert rl(stages["rl_after_sft"]) == pytest.approx(budget, rel=0.01)
    assert stages["rl_after_sft"].parent == "sft_100"
