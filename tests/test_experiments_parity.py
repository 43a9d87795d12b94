"""The parity oracle as a study: its arms lie around the switch, at every scale."""

from pathlib import Path

import pytest

from bakein.data.worlds.parity import greedy_switch
from bakein.study.config import resolve
from bakein.study.experiment import load_experiment

FILE = Path(__file__).parent.parent / "experiments" / "parity_switch.py"


@pytest.mark.parametrize("scale", ["tiny", "small", "paper", "smoke"])
def test_the_question_lies_around_the_switch(scale):
    study = resolve(load_experiment(f"{FILE}:{scale}", []))
    question = study.questions["switch"]
    below, above = (study.worlds[arm].long_share for arm in (question.control, question.treated))
    assert 0.28 <= below < greedy_switch() < above <= 0.38
    for arm, stages in study.arms.items():
        background = stages["pretrain"].data.background
        assert [name for name, weight in background.items() if weight] == [arm]
