"""A world, a reward, arms and a study of your own, in one file: running sums.

bakein run experiments/my_study.py
"""

import dataclasses
import re

from bakein.data.worlds.world import (
    Check,
    Document,
    Endless,
    Problem,
    balanced,
    distinct,
    fill,
    generator,
    split_of_whole,
)
from bakein.rl import rewards
from bakein.study import ask, base


@dataclasses.dataclass(frozen=True)
class Sums:
    """`?314=` asks for 3+1+4 mod 10; the trace `>3>4>8!8` shows the running sums."""

    digits: int  # the longest problem; levels are 2 to digits

    alphabet = "?=>!0123456789"
    forms = ("trace", "direct")

    @property
    def levels(self):
        return tuple(range(2, self.digits + 1))

    def train(self, seed):
        return Endless(lambda block: self.draw(("train", seed, block), 256), 256)

    def test(self, n, seed):
        return self.draw(("test", seed), n)

    def draw(self, names, n):
        """Draws n problems of a split, by hash: a trace solves no held-out problem on its way."""
        rng = generator("sums", *names)

        def stream(level):
            while True:
                digits = rng.integers(10, size=level)
                key = "".join(map(str, digits))
                steps = tuple(str(s % 10) for s in digits.cumsum())
                mine = split_of_whole(key, (key[:i] for i in range(2, level)), 0.2) == names[0]
                yield (key, Problem(f"?{key}=", steps[-1], steps, level)) if mine else None

        unique = distinct if names[0] == "test" else iter
        streams = {level: unique(stream(level)) for level in self.levels}
        return fill(balanced(n, self.levels), streams, patience=1000, where="sums")

    def document(self, problem, form, steps):
        trace = "".join(f">{step}" for step in steps) if form == "trace" else ""
        return Document(problem.prompt, f"{trace}!{steps[-1]}")

    def wrong_step(self, problem, index, rng):
        return str((int(problem.steps[index]) + rng.integers(1, 10)) % 10)

    def check(self, problem, completion):
        found = re.fullmatch(r"((?:>\d)*)!(\d)", completion, re.ASCII)
        if not found:
            return Check(right=False, format=False, steps=())
        shown = found[1].split(">")[1:]
        truth = problem.steps[: len(shown)] + ("",) * (len(shown) - len(problem.steps))
        steps = tuple(a == b for a, b in zip(shown, truth, strict=True))
        return Check(found[2] == problem.answer, True, steps, answer=found[2])


@rewards.each
def shown_work(world, problem, completion):
    """A reward: 1 for a right answer, half of it for one without a trace."""
    check = world.check(problem, completion)
    return check.right * (1.0 if check.steps else 0.5)


def get_config(arg=None):
    config = base.study("my_study", seeds=3)
    config.worlds.sums = base.world(Sums, digits=5)
    config.sources.traces = base.source("sums", "trace")
    config.sources.direct = base.source("sums", "direct")
    config.stages.pretrain = base.supervised(
        tokens=300_000,
        data=base.data(background={"direct": 1.0}, share={"traces": 0.0}),
    )
    config.stages.rl = base.rl(parent="pretrain", world="sums", reward=shown_work)
    config.arms.none = base.arm()
    config.arms.some = base.arm({"pretrain.data.share.traces": 0.2})
    config.evaluation = base.evaluation(world="sums", problems=64)
    config.questions.Q1 = ask.comparison(
        "Do running sums in pretraining help?", treated="some", control="none", stage="rl"
    )
    return config
