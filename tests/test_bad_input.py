"""What a user can get wrong: exit code 2 and one line that says what, where and what is allowed."""

import dataclasses
import json
import re
import shutil
import traceback
from pathlib import Path

import pytest
from tiny_study import FILE, get_config, nodes

from bakein.cli import main
from bakein.data.pipeline import make_batches, read_ledger
from bakein.data.worlds.world import Document
from bakein.study.config import resolve
from bakein.study.materials import Materials, mixture, packing
from bakein.study.workdir import Workdir

README = str(Path(FILE).parents[1] / "README.md")

CHANGED = """
from bakein.data import corruption, schedules
from bakein.study import ask, base
import functools
import tiny_study

def get_config(arg=None):
    config = tiny_study.get_config()
{change}
    return config
"""


@pytest.fixture
def fails(capsys):
    """Runs the command line, and returns the one line that it must have said."""

    def run(*arguments, code=2):
        capsys.readouterr()
        try:
            given = main([str(argument) for argument in arguments])
        except BaseException:
            pytest.fail(f"a traceback: {traceback.format_exc()}")
        printed = capsys.readouterr()
        assert given == code, printed.err
        assert printed.err.count("\n") == 1, printed.err
        assert printed.err.startswith("bakein: ")
        assert "Traceback" not in printed.err
        return printed.err.rstrip("\n")

    return run


def experiment(folder, change):
    path = folder / "changed.py"
    lines = "\n".join(f"    {line}" for line in change.splitlines())
    path.write_text(CHANGED.format(change=lines))
    return path


OVERRIDES = {
    "misspelt key": ("--config.stages.sft.tokenz=3", r"no 'tokenz'; did you mean 'tokens'\?"),
    "misspelt group": ("--config.stagez.sft.tokens=3", r"no 'stagez'; did you mean 'stages'"),
    "misspelt arm": ("--config.arms.baked.pretrain.tokens=3", r"did you mean 'baked_in'"),
    "wrong type": ("--config.stages.sft.tokens=many", r"tokens.*many|many.*tokens"),
    "a fraction for a count": ("--config.stages.sft.batch=2.5", r"batch.*2\.5|2\.5.*batch"),
    "a group": ("--config.stages.sft=3", r"config\.stages\.sft: is a group of keys .*tokens"),
    "a function": ("--config.stages.rl.reward=x", r"stages\.rl\.reward: is a function"),
    "a key below a value": ("--config.seeds.x=3", r"config\.seeds is 2, and has no keys"),
    "a stray argument": ("tokens=3", r"not an argument; overrides are --config\.key=value"),
    "an unknown option": ("--wrokdir=x", r"--wrokdir=x: not an argument"),
    "an abbreviation": ("--work=x", r"--work=x: not an argument"),
    "an override without a value": ("--config.seeds", r"--config\.seeds: not an argument"),
    "negative rate": (
        "--config.stages.sft.optimizer.learning_rate=-1",
        r"stages\.sft \(arm standard\)\.optimizer: learning_rate is -1\.0, allowed: above 0",
    ),
    "corruption above 1": ("--config.stages.sft.data.rate=1.5", r"data\.rate is 1\.5; .* 0 to 1"),
    "a rate that is no number": ("--config.stages.pretrain.fill=nan", r"fill is nan; .*above 0"),
    "an infinite weight": ("--config.stages.sft.data.background.examples=inf", r"examples is inf"),
    "negative weight": ("--config.stages.sft.data.background.examples=-1", r"examples is -1\.0"),
    "shares above 1": (
        "--config.arms.baked_in.pretrain.data.share.traces=1.2",
        r"pretrain \(arm baked_in\)\.data: share of 'traces': 1\.2, must be between 0 and 1",
    ),
    "no seeds": ("--config.seeds=0", r"config\.seeds is 0; it must be at least 1"),
    "batch and accumulation": (
        "--config.stages.sft.accumulation=3", r"batch is 8; it must be a multiple of accumulation"
    ),
    "batch and shards": ("--config.stages.sft.shards=3", r"batch is 8; .* of shards \(3\)"),
    "completions and minibatches": (
        "--config.stages.rl.minibatches=3", r"minibatches is 3; .*divides the 16 completions"
    ),
    "an unknown parent": ("--config.stages.sft.parent=pretain", r"did you mean 'pretrain'"),
    "a cycle": (
        "--config.stages.pretrain.parent=rl", r"the parents of pretrain, rl, sft form a cycle"
    ),
    "an unknown arm in a question": (
        "--config.questions.Q1.treated=bakedin", r"no 'bakedin'; did you mean 'baked_in'"
    ),
    "an arm against itself": (
        "--config.questions.Q1.control=baked_in", r"treated is 'baked_in'; it must be another arm"
    ),
    "an unknown stage in a question": ("--config.questions.Q1.stage=rll", r"did you mean 'rl'"),
    "an unknown metric": (
        "--config.questions.Q1.metric=acuracy", r"Q1\.metric: no 'acuracy'; did you mean 'accuracy'"
    ),
    "a metric that is not measured": ("--config.questions.Q1.metric=pass@64", r"no 'pass@64'"),
    "k above the samples": ("--config.evaluation.k=(1,8)", r"evaluation\.k is 8; .* 1 to 4"),
    "no k": ("--config.evaluation.k=()", r"evaluation\.k is \(\); it must be at least one number"),
    "more problems than there are": (
        "--config.evaluation.problems=100000", r"config\.evaluation\.problems: .*ask for fewer"
    ),
    "more facts than there are": ("--config.evaluation.facts=17", r"evaluation\.facts: .*17"),
    "more documents than there are": (
        "--config.sources.facts.documents=17", r"config\.sources\.facts: documents: 17, .* 1 and 16"
    ),
    "an unknown form": ("--config.sources.traces.form=tracee", r"did you mean 'trace'"),
    "an unknown world": ("--config.stages.rl.world=register", r"did you mean 'registers'"),
    "a world out of range": ("--config.worlds.registers.digits=9", r"worlds\.registers: digits: 9"),
    "a prompt that is too long": (
        "--config.stages.rl.prompt_length=4", r"stages\.rl\.prompt_length: prompt 0 .* at most 4"
    ),
    "no new tokens": ("--config.stages.rl.max_new_tokens=0", r"max_new_tokens is 0"),
    "top_p": ("--config.stages.rl.top_p=0.0", r"top_p is 0\.0; it must be in \(0, 1\]"),
    "a clip": ("--config.stages.rl.clip_low=2.0", r"clip_low is 2\.0"),
    "a clip that is no number": ("--config.stages.rl.clip_high=nan", r"clip_high is nan"),
    "a cap below 0": ("--config.stages.rl.importance_cap=-1", r"importance_cap is -1\.0; .* >= 0"),
    "refills below 0": ("--config.stages.rl.refills=-1", r"refills is -1; it must be 0 \(none\)"),
    "a loss by its name": ("--config.stages.rl.loss=gspo", r"stages\.rl\.loss: is a function"),
    "an aggregation": ("--config.stages.rl.aggregation=tokens", r"aggregation.*tokens"),
    "a group of one": ("--config.stages.rl.group=1", r"group is 1; it must be at least 2"),
    "a curve without problems": ("--config.stages.rl.curve_problems=0", r"curve_problems is 0"),
    "heads": ("--config.model.kv_heads=3", r"config: model\.kv_heads is 3; .*divisor of heads"),
    "a dtype": ("--config.model.dtype=float8", r"model\.dtype is 'float8'"),
    "a kernel of another platform": (
        "--config.model.attention=splash",
        r"config: model\.attention is 'splash', a kernel for the tpu; on the cpu it must be 'ref",
    ),
    "a length that the mesh does not divide": (
        "--config.model.kv_heads=2 --config.mesh.tensor=2 --config.model.shard_length=True"
        " --config.tokenizer.kind=bpe --config.tokenizer.vocabulary=300"  # which 2 divides
        " --config.tokenizer.sources=('traces',) --config.tokenizer.documents=20"
        " --config.stages.sft.length=31",
        r"stages\.sft: length is 31; it must be a multiple of 2, the mesh's tensor 2",
    ),
    "an optimizer's schedule": (
        "--config.stages.sft.optimizer.schedule=cosin", r"schedule is 'cosin', allowed: cosine"
    ),
    "few resamples": ("--config.bootstrap.resamples=5", r"resamples is 5; .*at least 100"),
    "a level": ("--config.bootstrap.level=95.0", r"level is 95\.0; it must be above 0 and below 1"),
    "a tokenizer": ("--config.tokenizer.kind=word", r"tokenizer\.kind: no 'word'"),
    "a name with a slash": ("--config.name=../x", r"config\.name is '\.\./x'; it must be made of"),
    "rows and the mesh": (
        "--config.evaluation.rows=30", r"config\.evaluation: rows is 30; it must be a multiple of 8"
    ),
    "batch and the mesh": (
        "--config.stages.sft.batch=12",
        r"config\.stages\.sft: batch / accumulation is 12; it must be a multiple of 8, the mesh's",
    ),
    "prompts and the mesh": (
        "--config.stages.rl.minibatches=4", r"rl: prompts \* group .* is 4; .* multiple of 8"
    ),
    "a mesh of other devices": ("--config.mesh.tensor=3", r"config\.mesh: .*tensor=3.*devices, 8"),
    "a model that the mesh does not divide": (
        "--config.mesh.tensor=8", r"config\.mesh: .*it must be a multiple of 8"
    ),
    "a profile of one number": ("--profile=5", r"--profile: '5' is not START:STOP, .* as 10:15"),
    "a profile of words": ("--profile=a:b", r"--profile: 'a:b' is not START:STOP"),
    "a profile below 0": ("--profile=-1:3", r"--profile: '-1:3' is not START:STOP"),
    "a profile of nothing": ("--profile=3:3", r"'3:3' is not .* with START < STOP"),
    "a profile backwards": ("--profile=4:2", r"'4:2' is not START:STOP"),
    "a profile beyond all stages": (
        "--profile=99:100", r"--profile=99:100: no stage makes more than 9 updates"
    ),
    "tokens for no shard": (
        "--config.stages.sft.tokens=4 --config.stages.sft.shards=8",
        r"config\.stages\.sft: tokens: 4, too few for 8 shards",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OVERRIDES)
def test_a_wrong_override(case, fails, tmp_path):
    override, says = OVERRIDES[case]
    line = fails("run", FILE, "--workdir", tmp_path / "run", *override.split(" "))
    assert re.search(says, line), line
    assert not list(tmp_path.glob("run/stages/*"))


CHANGES = {
    "an arm's misspelt key": (
        "config.arms.x = base.arm({'pretrain.data.share.trace': 0.1})",
        r"arms\.x\.pretrain\.data\.share: no 'trace'; did you mean 'traces'",
    ),
    "an arm's wrong type": (
        "config.arms.x = base.arm({'sft.tokens': 'many'})",
        r"stages\.sft \(arm x\)\.tokens is 'many'; it must be an int",
    ),
    "an arm's number for a group": (
        "config.arms.x = base.arm({'sft.data': 3})", r"sft \(arm x\)\.data is 3; .*group of keys"
    ),
    "an arm's number for a stage": (
        "config.arms.x = base.arm({'sft': 3}, stages=('pretrain', 'sft'))",
        r"config\.stages\.sft: make it with base\.supervised",
    ),
    "an arm's word for a function": (
        "config.arms.x = base.arm({'rl.reward': 'exact'})", r"reward is 'exact'; .* a function"
    ),
    "a reward of one completion": (
        "config.stages.rl.reward = lambda world, problem, completion: 1.0",
        r"rl \(arm standard\)\.reward is <function .*a group of completions; rewards\.each",
    ),
    "a reward without its parameter": (
        "from bakein.rl import rewards\nconfig.stages.rl.reward = rewards.random",
        r"reward is <class .*random'>; it must be a function of a group",
    ),
    "a word for a loss": (
        "config.arms.x = base.arm({'rl.loss': 'gspo'})", r"loss is 'gspo'; .* a function"
    ),
    "a schedule's span": (
        "config.stages.pretrain.data = base.data(background={'facts': 1.0}, share={'traces': 0.5},"
        " schedule=functools.partial(schedules.early, span=0.2))",
        r"stages\.pretrain \(arm standard\)\.data: span: 0\.2 of training cannot hold",
    ),
    "a source that does not exist": (
        "config.stages.sft.data.background = {'exampels': 1.0}", r"did you mean 'examples'"
    ),
    "a source in both": (
        "config.stages.sft.data.share = {'examples': 0.1}", r"'examples': in the background and in"
    ),
    "a world's missing field": (
        "del config.worlds.facts['seed']", r"config\.worlds\.facts\.seed is missing; Facts declares"
    ),
    "a world's unknown field": (
        "config.worlds.facts.entites = 3", r"config\.worlds\.facts: no 'entites'; did you mean"
    ),
    "no arms": ("config.arms = base.arm()", r"config\.arms: none"),
    "an arm of no such stage": (
        "config.arms.x = base.arm(stages=('pretrain', 'stf'))", r"arms\.x\.stages: no 'stf'; did"
    ),
    "an arm without a parent": (
        "config.arms.x = base.arm(stages=('rl',))", r"x\.stages is \('rl',\); .*'sft', the parent"
    ),
    "a question about a stage that an arm leaves out": (
        "config.arms.baked_in.stages = ('pretrain', 'sft')", r"stage of arm baked_in: no 'rl'"
    ),
    "a stage named stages": (
        "config.stages.stages = base.supervised(parent='sft')", r"stages: 'stages' is taken"
    ),
    "a question without stages": (
        "config.questions.Q2.stages = ()", r"questions\.Q2: stages are \(\); they must be"
    ),
    "an arm with a slash": ("config.arms['a/b'] = base.arm()", r"config\.arms is 'a/b'"),
    "seeds in words": ("del config.seeds; config.seeds = 'five'", r"config\.seeds is 'five'"),
    "a stage by hand": ("config.stages.x = {'kind': 'rl'}", r"stages\.x: make it with base"),
    "a wrong attribute": ("config.stagez.x = 3", r"changed\.py:9: AttributeError.*stagez"),
    "a scale": ("base.scale('tinny', {'tiny': {}})", r"no 'tinny'; did you mean 'tiny'"),
    "BPE without sources": (
        "config.tokenizer = base.tokenizer(kind='bpe', vocabulary=300)", r"sources is \(\)"
    ),
    "BPE on an endless source": (
        "config.tokenizer = base.tokenizer(kind='bpe', vocabulary=300, sources=('traces',))",
        r"tokenizer\.documents is 0; it must be at least 1, as source traces is endless",
    ),
    "a schedule without its span": (
        "config.stages.pretrain.data.schedule = schedules.early",
        r"data\.schedule is <function early.*partial\(schedules\.early, span=0\.5\)",
    ),
    "a loss of another shape": (
        "from bakein.rl import losses\nconfig.stages.rl.loss = losses.k3",
        r"rl \(arm standard\)\.loss is <function k3.*clip_low=, clip_high=",
    ),
    "a corruption without a rate": (
        "from bakein.data import corruption\n"
        "config.arms.x = base.arm({'pretrain.data.share.traces': 0.2,"
        " 'pretrain.data.corruption': corruption.steps})",
        r"pretrain \(arm x\)\.data\.rate is 0\.0; it must be above 0",
    ),
    "a rate without a corruption": (
        "config.arms.x = base.arm({'pretrain.data.share.traces': 0.2, 'pretrain.data.rate': 0.5})",
        r"data\.rate is 0\.5; it must be 0, as data\.corruption is none",
    ),
    "a corruption of text": (
        "config.sources.traces = base.text((__file__,), window=16)\n"
        "config.arms.x = base.arm({'pretrain.data.share.traces': 0.2, 'pretrain.data.rate': 0.5,"
        " 'pretrain.data.corruption': corruption.steps})",
        r"data\.corruption is <function steps.*none, as source traces is no world's",
    ),
    "windows longer than a row": (
        "config.sources.facts = base.text((__file__,), window=99)",
        r"sources\.facts\.window is 99; it must be at most 32, the length of a row",
    ),
    "documents longer than a row": (
        "config.stages.sft.length = 5\nconfig.stages.sft.fill = 0.5",
        r"stages\.sft\.length is 5; it must be at least \d+, the shortest of the first 64",
    ),
    "a world by a function": (
        "config.worlds.facts = base.world(lambda entities: None, entities=3)",
        r"worlds\.facts: make it with base\.world\(ItsClass, .*of a dataclass",
    ),
    "an arm by a number": ("config.arms.x = 3", r"arms\.x is 3; make it with base\.arm"),
    "a question by a number": (
        "config.questions.x = 3", r"questions\.x is 3; .*bakein\.study\.ask"
    ),
    "a path for paths": (
        "config.sources.facts = base.text('corpus.txt')",
        r"paths is 'corpus\.txt'; it must be a tuple",
    ),
    "a stage for a question's stages": (
        "config.questions.x = ask.persistence('Text?', 'baked_in', 'standard', 'pretrain')",
        r"questions\.x\.stages is 'pretrain'; it must be a tuple",
    ),
    "a reward for rewards": (
        "config.questions.x = ask.spurious('Text?', 'baked_in', 'rl', 'rl', 'sft')",
        r"questions\.x\.rewards is 'rl'; it must be a tuple",
    ),
    "a stage for a slope's stages": (
        "config.questions.x = ask.conditional('Text?', 'baked_in', 'standard', 'rl', 'pass_area')",
        r"questions\.x\.stages is 'rl'; it must be a tuple",
    ),
    "a stage for stages": (
        "config.arms.x = base.arm(stages='pretrain')",
        r"x\.stages is 'pretrain'; it must be a tuple",
    ),
    "more problems for a curve than there are": (
        "config.stages.rl.curve_problems = 99_999",
        r"config\.stages\.rl\.curve_problems: .*has only",
    ),
    "curves over different problems": (
        "config.arms.x = base.arm({'rl.curve_problems': 7})\n"
        "config.contrasts.c = ask.contrast('x', 'standard', 'rl', 'rl_area', 0.02)",
        r"c\.metric is 'rl_area'; it must be of RL curves over the same held-out problems",
    ),
    "curves that share no samples": (
        "config.arms.x = base.arm({'rl.steps': 9, 'rl.curve_every': 8})\n"
        "config.contrasts.c = ask.contrast('baked_in', 'standard', 'rl', 'rl_area', 0.02)",
        r"c\.metric is 'rl_area'; .*some arm's begins, after 0, at 128, .* ends at 80",
    ),
    "an area over one k": (
        "config.evaluation.k = (1, 1)\n"
        "config.contrasts.c = ask.contrast('baked_in', 'standard', 'rl', 'pass_area', 0.02)",
        r"c\.metric: no 'pass_area'",
    ),
}  # fmt: skip
WORLDS = {
    "fewer problems": ("problems[1:]", r"gave 7 problems, not 8"),
    "one problem over and over": ("problems[:1] * n", r"twice; held-out problems must be distinct"),
    "an answer that is a number": (
        "[dataclasses.replace(p, answer=3) for p in problems]", r"prompt and answer must be text"
    ),
    "another level": (
        "[dataclasses.replace(p, level='d2') for p in problems]", r"its level must be one of"
    ),
    "a character of no alphabet": (
        "[dataclasses.replace(p, prompt='~' + p.prompt) for p in problems]", r"problems: .*'~'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WORLDS)
def test_a_wrong_world(case, refused):
    """Known before anything is trained."""
    problems, says = WORLDS[case]
    refused(
        "import dataclasses\n"
        "class Wrong(tiny_study.Registers):\n"
        "    def test(self, n, seed):\n"
        "        problems = super().test(n, seed)\n"
        f"        return {problems}\n"
        "config.worlds.registers.make = Wrong",
        says,
    )


@pytest.fixture
def refused(fails, tmp_path):
    """Asserts that the tiny study with a change says this, and that nothing is begun."""

    def check(change, says):
        line = fails("run", experiment(tmp_path, change), "--workdir", tmp_path / "run")
        assert re.search(says, line), line
        assert not list(tmp_path.glob("run/stages/*"))

    return check


@pytest.mark.parametrize("case", CHANGES)
def test_a_wrong_experiment(case, refused):
    refused(*CHANGES[case])


PROBE = "base.budget_probe(world='registers', answer='!', **{changes})"
ATTACK = "base.attack_probe(world='registers', **{changes})"


def question(metric, stage="rl"):
    """A change of the tiny study: a probe after SFT and RL, and a question about it."""
    probe = PROBE.format(changes={"stages": ("sft", "rl"), "budgets": (0, 4)})
    asked = f"'Why?', 'baked_in', 'standard', {stage!r}, metric={metric!r}"
    kind = "comparison" if isinstance(stage, str) else "persistence"
    return f"config.probes.budgets = {probe}\nconfig.questions.Q3 = ask.{kind}({asked})"


def probe(template=PROBE, name="x", **changes):
    """A change of the tiny study: one probe."""
    return f"config.probes[{name!r}] = " + template.format(changes=changes)


PROBES = {
    "a misspelt key": (probe(budget=(1,)), r"budget probe: no 'budget'; did you mean 'budgets'"),
    "an unknown stage": (probe(stages=("sftt",)), r"probes\.x\.stages: no 'sftt'; .* 'sft'"),
    "a word for numbers": (probe(k="a"), r"probes\.x\.k is 'a'; .* a tuple"),
    "another world": (
        "config.probes.x = base.evaluation_probe(world='register')", r"mean 'registers'"
    ),
    "no world": ("config.probes.x = base.evaluation_probe()", r"probes\.x\.world: no ''"),
    "k above the samples": (probe(k=(1, 32)), r"probes\.x\.k is 32; it must be 1 to 16"),
    "no budgets": (probe(budgets=()), r"probes\.x\.budgets is \(\); .*at least one number"),
    "a negative budget": (probe(budgets=(2, -1)), r"x\.budgets is \(2, -1\); .*0 or more"),
    "a budget twice": (probe(budgets=(2, 2)), r"x\.budgets is \(2, 2\); .*different numbers"),
    "a budget in words": (probe(budgets=("two",)), r"x\.budgets\[0\] is 'two'; .* an int"),
    "no answer": (
        "config.probes.x = base.budget_probe(world='registers')", r"probes\.x: answer is ''"
    ),
    "an answer in another alphabet": (
        "config.probes.x = base.budget_probe(world='registers', answer='A')",
        r"probes\.x: character 'A' at 0",
    ),
    "no room for the answer": (
        probe(answer_tokens=1), r"probes\.x: answer_tokens is 1; it must be above 1"
    ),
    "filler that goes on": (
        probe(filler=">", continuation="0", continuations=1), r"probes\.x: .* only one of them"
    ),
    "a continuation that never comes": (probe(continuation="0"), r"x: continuations is 0"),
    "no samples": (probe(samples=0), r"probes\.x: eval samples is 0; it must be >= 1"),
    "more problems than there are": (
        probe(problems=100_000), r"probes\.x\.problems: .*ask for fewer"
    ),
    "rows and the mesh": (probe(rows=30), r"probes\.x: rows is 30; .* a multiple of 8"),
    "a name with a slash": (probe(name="a/b"), r"config\.probes is 'a/b'; it must be made of"),
    "the name of a metric": (probe(name="accuracy"), r"another name than a metric's"),
    "a probe by hand": ("config.probes.x = {'a': 1}", r"probes\.x is .*make it with a function"),
    "an unknown target": (probe(ATTACK, target="direkt"), r"x\.target: no 'direkt'; .* 'direct'"),
    "more attempts than samples": (probe(ATTACK, attempts=17), r"x\.attempts is 17; .* 1 to 16"),
    "no sizes": (probe(ATTACK, sizes=()), r"probes\.x\.sizes is \(\)"),
    "a prefill in another alphabet": (probe(ATTACK, prefill="A"), r"probes\.x: character 'A'"),
    "an attack in words": (probe(ATTACK, change="noise"), r"x\.change is 'noise'; .* a function"),
    "an attack in another alphabet": (
        "import dataclasses\n"
        "def shout(world, problem, size, rng):\n"
        "    return dataclasses.replace(problem, prompt=problem.prompt.upper())\n"
        "config.probes.x = base.attack_probe(world='registers', change=shout)",
        r"probes\.x: character '[A-Z]' at \d",
    ),
    "a question about an unknown probe": (
        question("budget/4/accuracy"), r"Q3\.metric: probe: no 'budget'; did you mean 'budgets'"
    ),
    "about an unknown variant": (
        question("budgets/5/accuracy"), r"variant of probe budgets: no '5'; .*known: 0, 4"
    ),
    "about an unknown metric": (
        question("budgets/4/acuracy"), r"metric of probe budgets: no 'acuracy'; .* 'accuracy'"
    ),
    "about half a metric": (question("budgets/4"), r"metric of probe budgets: no ''"),
    "about a k that is not measured": (question("budgets/4/pass@2"), r"no 'pass@2'.*'pass@1'"),
    "about another stage": (
        question("budgets/4/accuracy", "pretrain"), r"budgets is not made after pretrain"
    ),
    "about one stage too many": (
        question("budgets/4/accuracy", ("pretrain", "rl")), r"budgets is not made after pretrain"
    ),
    "about facts that are not asked for": (
        "config.evaluation.recall = ''\nconfig.questions.Q1.metric = 'recall'",
        r"Q1\.metric: no 'recall'; known: accuracy, ",
    ),
    "a gap of facts that are not asked for": (
        "config.evaluation.recall = ''\nconfig.questions.Q2.metric = 'recall'",
        r"Q2\.metric: no 'recall'; known: accuracy, ",
    ),
    "a gap of what has no logit": (
        question("budgets/4/pass@1", ("sft", "rl")), r"metric of probe budgets: no 'pass@1'"
    ),
    "a gap of what has no logit either": (
        "config.questions.Q2.metric = 'pass@1'", r"Q2\.metric: no 'pass@1'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBES)
def test_a_wrong_probe(case, refused):
    refused(*PROBES[case])


def lift(kind="wrong_traces", **changes):
    """A change of the tiny study: a third arm, and a question about a share of a gain."""
    asked = {
        "wrong_traces": {"corrupted": ("third",), "correct": "baked_in", "none": "standard"}
        | {"stage": "rl"},
        "spurious": {"arm": "third", "rewards": ("rl",), "true": "sft", "before": "pretrain"},
    }[kind]
    arm = "config.arms.third = base.arm({'rl.temperature': 0.9})"
    return f"{arm}\nconfig.questions.Q4 = ask.{kind}('Why?', **{asked | changes})"


LIFTS = {
    "an unknown arm": (lift(corrupted=("thrid",)), r"questions\.Q4: arm: no 'thrid'; .* 'third'"),
    "an unknown arm of rewards": (lift("spurious", arm="x"), r"questions\.Q4: arm: no 'x'"),
    "no share": (lift(corrupted=()), r"questions\.Q4: corrupted is \(\); it must name"),
    "an arm twice": (lift(correct="third"), r"questions\.Q4 is .*about different arms or stages"),
    "an unknown stage": (lift(stage="r"), r"questions\.Q4: stage: no 'r'; did you mean 'rl'"),
    "an unknown reward": (lift("spurious", rewards=("r",)), r"Q4: stage: no 'r'; .* 'rl'"),
    "an unknown metric": (lift(metric="rl_are"), r"Q4\.metric: no 'rl_are'; .* 'rl_area'"),
    "an area without a curve": (lift("spurious", metric="rl_area"), r"metric: no 'rl_area'"),
    "more than the whole": (lift(epsilon=1.0), r"Q4: epsilon is 1\.0; .* above 0 and below 1"),
}  # fmt: skip


def doses(metric="accuracy", **doses):
    """A change of the tiny study: a question about a dose."""
    return f"config.questions.Q4 = ask.dose('Much?', {doses}, 'tokens', 'rl', metric='{metric}')"


DOSES = {
    "one dose": (doses(standard=1), r"Q4: doses are \{'standard': 1\.0\}; .*at least two diff"),
    "a dose twice": (doses(standard=1, baked_in=1), r"Q4: doses are .*; .* two different amounts"),
    "a dose below 0": (doses(standard=-1, baked_in=1), r"Q4: doses are .*-1\.0.*; .* 0 or more"),
    "an unknown arm": (doses(standard=0, baked=1), r"Q4: arm: no 'baked'; did you mean 'baked_in'"),
    "no strategies": (
        doses(standard=0, baked_in=1, metric="share/code"), r"Q4\.metric: no 'share/code'; known: "
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DOSES)
def test_a_wrong_question_about_a_dose(case, refused):
    refused(*DOSES[case])


@pytest.mark.parametrize("case", LIFTS)
def test_a_wrong_question_about_a_share(case, refused):
    refused(*LIFTS[case])


def spend(**shares):
    """A change of the tiny study: a question about shares of a budget."""
    named = {name.replace("_to_", "/"): share for name, share in shares.items()}
    return f"config.questions.Q7 = ask.frontier('Where?', {named})"


def gains(*pairs):
    """A change of the tiny study: a question about what its stages add."""
    return f"config.questions.Q7 = ask.gains('What?', 'baked_in', {pairs})"


BUDGETS = {
    "an arm alone": (spend(standard=0, baked_in_to_rl=1), r"Q7: shares name 'standard'; .*ARM/ST"),
    "no end": (
        spend(standard_to_rl=0, baked_in_to_rl=0.9), r"Q7: shares are .*0\.9.*; .* the largest 1"
    ),
    "a share twice": (
        spend(standard_to_rl=0, baked_in_to_rl=1, baked_in_to_sft=1), r"Q7: shares are .*different"
    ),
    "an unknown stage": (
        spend(standard_to_rll=0, baked_in_to_rl=1), r"Q7: stage: no 'rll'; did you mean 'rl'"
    ),
    "an area that one end has not": (
        f"{spend(standard_to_sft=0, standard_to_rl=1)}\nconfig.questions.Q7.metric = 'rl_area'",
        r"Q7\.metric: no 'rl_area'",
    ),
    "no gains": (gains(), r"Q7: gains are \(\); they must be at least one pair"),
    "a gain of one stage": (gains(("rl",)), r"Q7: gains have \('rl',\); it must be two stages"),
    "a gain over itself": (gains(("rl", "rl")), r"Q7: gains have \('rl', 'rl'\); .* two stages"),
    "a gain over an unknown stage": (gains(("rl", "stf")), r"Q7: stage: no 'stf'; .* 'sft'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BUDGETS)
def test_a_wrong_question_about_a_budget(case, refused):
    refused(*BUDGETS[case])


def jailbreak(k=(1, 4), **changes):
    """A change of the tiny study: an attack, and a question about its curve."""
    asked = {"probe": "x", "size": 0, "benign": "accuracy/1"} | changes
    arms = "'baked_in', 'standard', 'rl'"
    return f"{probe(ATTACK, k=k)}\nconfig.questions.Q4 = ask.jailbreak('Why?', {arms}, **{asked})"


JAILBREAKS = {
    "an unknown attack": (jailbreak(probe="y"), r"Q4\.metric: probe: no 'y'; known: x"),
    "an unknown size": (jailbreak(size=3), r"variant of probe x: no '3'; .*known: 0"),
    "no curve": (jailbreak(k=(4, 4)), r"probes\.x\.k is \(4, 4\); .* at least two numbers"),
    "no likelihood": (jailbreak(many_shot="x", shots=(0, 1)), r"metric of probe x: no 'nll'"),
    "a stage that is not shown": (
        jailbreak(stages=("sft",)), r"Q4: stages are \('sft',\); 'rl' must be among them"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", JAILBREAKS)
def test_a_wrong_question_about_a_jailbreak_curve(case, refused):
    refused(*JAILBREAKS[case])


def lasting(arms=("standard", "less"), sizes=(20, 80), kind="symmetry", more="", **changes):
    """A change of the tiny study: doses of traces, an attack, and a question about them.

    The attack reads as many tokens as `sizes` say.
    """
    asked = {"arms": {"baked_in": arms}, "shown": ("traces",), "aligned": "pretrain"}
    asked |= {"attacks": {"low": ("a", "b")}, "forbidden": 1, "refusal": "accuracy"} | changes
    if kind == "permanence":
        asked["arms"] = {"baked_in": ("standard",), "less": ("standard",)}
        twin = {"twin": "standard", "benign": ("b", "a"), "over_refusal": "accuracy"}
        asked |= {"treated": "baked_in", "control": "less"} | twin
    attacks = "\n".join(
        f"config.stages.{name} = base.supervised(parent='pretrain', tokens={tokens}, "
        "data=base.data(background={'direct': 1.0}))"
        for name, tokens in zip("ab", sizes, strict=True)
    )
    arm = "config.arms.less = base.arm({'pretrain.data.share.traces': 0.1})"
    return f"{attacks}\n{arm}\n{more}\nconfig.questions.Q6 = ask.{kind}('Why?', **{asked})"


LASTING = {
    "doses that shrink": (
        lasting(arms=("less", "standard")),
        r"Q6: doses of baked_in \(less, standard, baked_in\): 160, 0, 320 tokens; .* begin with 0",
    ),
    "no dose of none": (lasting(arms=("less",)), r"doses of baked_in .*: 160, 320 tokens; they"),
    "a dose twice": (
        lasting(more="config.arms.less.pretrain.data.share.traces = 0.2"),
        r"doses of baked_in \(standard, less, baked_in\): 0, 320, 320 tokens; .* and increase",
    ),
    "doses that do not count": (
        lasting(counted=("sft",)), r"doses of baked_in .*: 0, 0, 0 tokens; they must begin"
    ),
    "doses of the background": (
        lasting(shown=("facts",)), r"doses of baked_in .*: 800, 720, 640 tokens; they must begin"
    ),
    "attacks that shrink": (
        lasting(sizes=(80, 20)),
        r"Q6: sizes of baked_in \(pretrain, a, b\): 0, 80, 20 tokens; they must begin with 0",
    ),
    "an attack twice": (lasting(sizes=(20, 20)), r"sizes of baked_in .*: 0, 20, 20 tokens"),
    "benign sizes that shrink": (
        lasting(kind="permanence"),
        r"Q6: sizes of baked_in \(pretrain, b, a\): 0, 80, 20 tokens; they must begin with 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LASTING)
def test_a_wrong_question_about_what_lasts(case, refused):
    refused(*LASTING[case])


def behind(**changes):
    """A change of the tiny study: a question about what it takes to catch up."""
    asked = {
        "treated": "baked_in",
        "controls": {"standard": 1, "third": 2},
        "stage": "rl",
        "spent": "sft",
        "front": "pretrain",
        "sources": ("traces",),
    }
    arm = "config.arms.third = base.arm({'sft.tokens': 4000})"
    return f"{arm}\nconfig.questions.Q4 = ask.catch_up('When?', **{asked | changes})"


BEHIND = {
    "nobody behind": (behind(controls={}), r"questions\.Q4: controls are empty; they must name"),
    "nobody like that": (behind(controls={"thrid": 1}), r"Q4: arm: no 'thrid'; .* 'third'"),
    "one budget twice": (
        behind(controls={"standard": 2, "third": 2}), r"have \[2\.0, 2\.0\]; they must be different"
    ),
    "a budget of nothing": (behind(controls={"third": 0}), r"have \[0\.0\]; .* above 0"),
    "no sources": (behind(sources=()), r"questions\.Q4: sources are empty; they must name"),
    "an unknown stage to spend on": (behind(spent="sfd"), r"Q4\.spent: no 'sfd'; .* 'sft'"),
    "an unknown stage in front": (behind(front="base"), r"Q4\.front: no 'base'"),
    "a source from elsewhere": (behind(sources=("examples",)), r"Q4\.sources: no 'examples'"),
    "a source that is not read": (
        behind(treated="third", controls={"standard": 1}),
        r"Q4\.sources is 'traces'; it must be read by third",
    ),
    "no tables": (
        "config.published = 'nowhere.json'", r"config\.published: nowhere\.json: No such file"
    ),
    "tables that are none": (
        f"config.published = {README!r}", r"config\.published: .*README\.md: not JSON"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BEHIND)
def test_a_wrong_question_about_catching_up(case, refused):
    refused(*BEHIND[case])


THINKING = PROBE.format(changes={"stages": ("sft",), "budgets": (0, 4, 8), "k": (1, 4)})


def slope(metric="x/slope", kind="conditional", world="registers", **changes):
    """A change of the tiny study: a thinking probe after SFT, and a question about slopes."""
    asked = {
        "conditional": {"stages": ("sft",), "metric": metric},
        "rl_speed": {"stage": "rl", "threshold": 0.5},
    }[kind] | {"treated": "baked_in", "control": "standard", **changes}
    return (
        "config.worlds.other = base.world(tiny_study.Registers, slots=2, digits=3, templates=1, "
        f"test_share=0.1)\nconfig.probes.x = {THINKING}\n"
        f"config.probes.x.world = {world!r}\nconfig.questions.Q3 = ask.{kind}('Why?', **{asked})"
    )


SLOPES = {
    "no slope": (slope("x/4/accuracy"), r"Q3: metric is 'x/4/accuracy'; it must be a slope: PROBE"),
    "an unknown probe": (slope("y/slope"), r"Q3\.metric: probe: no 'y'"),
    "an unknown variant": (slope("x/5/pass_area"), r"variant of probe x: no '5'"),
    "a stage without the probe": (
        slope(stages=("pretrain", "sft")), r"probe x is not made after pretrain"
    ),
    "no stages": (slope(stages=()), r"Q3: stages are \(\); they must be at least one stage"),
    "one budget": (
        f"{slope()}\nconfig.probes.x.budgets = (0, 8)", r"probe is 'x'; .* two positive budgets"
    ),
    "one k": (
        f"{slope('x/4/pass_area')}\nconfig.probes.x.k = (1,)", r"probe x: no 'pass_area'"
    ),
    "another world": (slope(world="other"), r"probes\.x\.world is 'other'; .* 'registers', as"),
    "areas beside": (slope("pass_area", beside=("x",)), r"beside is \('x',\); only PROBE/slope"),
    "itself beside": (slope(beside=("x",)), r"Q3: beside is \('x',\); .*different probes"),
    "an arm against itself": (slope(control="baked_in"), r"it must be another arm"),
    "no curve": (slope(kind="rl_speed", stage="sft"), r"Q3\.stage is 'sft'; .*curve_every"),
    "no accuracy": (slope(kind="rl_speed", threshold=1.5), r"Q3: threshold is 1\.5; .*0 for the"),
    "a threshold in words": (slope(kind="rl_speed", threshold="high"), r"threshold is 'high'"),
}  # fmt: skip


@pytest.mark.parametrize("case", SLOPES)
def test_a_wrong_question_about_a_slope(case, refused):
    refused(*SLOPES[case])


FILES = {
    "missing": (None, r"book: cannot be read: No such file"),
    "empty": (b"", r"book: empty"),
    "blank": (b" \n\n", r"book: empty"),
    "broken JSON": (b'{"text": "ab"}\n{"text": \n', r"book:2: not JSON"),
    "a missing field": (b'{"text": "ab"}\n{"txt": "ab"}\n', r"book:2: no field 'text', only"),
    "a number for text": (b'{"text": 3}\n', r"book:1: field 'text' is int, must be a string"),
    "not UTF-8": (b'{"text": "a"}\n{"text": "\xff"}\n', r"book:2: not UTF-8: byte 0xff"),
    "not an object": (b"[1]\n", r"book:1: a JSON list, must be an object"),
    "another alphabet": ('{"text": "é"}\n'.encode(), r"config\.sources\.book: character"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_broken_data_file(case, fails, tmp_path):
    content, says = FILES[case]
    book = tmp_path / "book"
    if content is not None:
        book.write_bytes(content)
    change = (
        f"config.sources.book = base.text(({str(book)!r},), field='text', window=16)\n"
        "config.stages.sft.data.background = {'book': 1.0}"
    )
    line = fails("run", experiment(tmp_path, change), "--workdir", tmp_path / "run")
    assert re.search(says, line), line


def test_a_document_longer_than_a_row_is_skipped_and_counted():
    study = resolve(get_config())
    materials, config = Materials(study), study.arms["standard"]["sft"]
    sources = materials.sources("sft", config, 0)
    lengths = [len(d.prompt + d.completion) + 1 for d in sources["examples"].documents]
    longer = [*sources["examples"].documents[:2], Document("?inc 111=", "!1123456789")]
    sources["examples"] = dataclasses.replace(sources["examples"], documents=longer)
    assert max(lengths) <= 16
    config = dataclasses.replace(config, length=max(lengths), tokens=300)
    batches = make_batches(sources, mixture(config), packing("sft", config), (0,), 0)
    for _ in batches:
        pass
    ledger = read_ledger([batches.get_state()], sources)["examples"]
    assert ledger["tokens"] == 300
    assert ledger["skipped"] > 1
    assert ledger["epochs"] == (ledger["documents"] + ledger["skipped"]) / 3


COMMANDS = {
    "no command": ((), r"COMMAND.*see bakein --help"),
    "an unknown command": (("runn",), r"invalid choice: 'runn'"),
    "no experiment": (("run",), r"experiment.*see bakein run --help"),
    "an experiment that is not there": (("run", "x.py"), r"x\.py: there is no such file"),
    "an experiment in another language": (("run", README), r"it must be a Python file"),
    "a report of nothing": (("report", "/nowhere"), r"/nowhere/study\.json: No such file"),
    "a report with an override": (("report", "x", "--config.a=1"), r"config\.a=1: not an argument"),
    "data of an unknown source": (
        ("data", FILE, "--source=fact", "--documents=1", "--out=x"), r"did you mean 'facts'"
    ),
    "data of no documents": (
        ("data", FILE, "--source=facts", "--documents=0", "--out=x"), r"--documents is 0"
    ),
    "a word for a number": (
        ("data", FILE, "--source=facts", "--documents=x", "--out=x"), r"--documents.*'x'"
    ),
    "an unknown executor": (("run", FILE, "--executor=rya"), r"--executor: invalid choice: 'rya'"),
    "resources without Ray": (("run", FILE, "--resources=GPU=1"), r"only with --executor=ray"),
    "resources that are none": (
        ("run", FILE, "--executor=ray", "--resources=GPU"), r"--resources GPU: 'GPU' is not like"
    ),
    "fewer retries than none": (
        ("run", FILE, "--executor=ray", "--retries=-1"), r"--retries is -1; it must be at least 0"
    ),
    "a work directory below a file": (
        ("run", FILE, "--workdir", f"{FILE}/x"), r"work directory .*: Not a directory; give another"
    ),
    "a work directory that nobody can write": (
        ("run", FILE, "--workdir", "/proc/x"), r"work directory /proc/x: .*; give another"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", COMMANDS)
def test_a_wrong_command(case, fails):
    arguments, says = COMMANDS[case]
    line = fails(*arguments)
    assert re.search(says, line), line


@pytest.fixture
def workdir(finished_run, tmp_path, one_device):
    """A copy of the finished run without its checkpoints."""
    path = tmp_path / "run"
    shutil.copytree(finished_run, path, ignore=shutil.ignore_patterns("checkpoints"))
    return path


def test_the_work_directory_of_another_study(workdir, fails):
    line = fails("run", FILE, "--workdir", workdir, "--config.name=other")
    assert "belongs to study 'tiny', not 'other'; give another --workdir" in line


def test_no_work_directory_to_reuse(fails, tmp_path):
    workdir, empty = tmp_path / "run", tmp_path / "empty"
    line = fails("run", FILE, "--workdir", workdir, "--reuse", empty)
    assert line == f"bakein: --reuse {empty}: there is no work directory of a study"
    line = fails("run", FILE, "--workdir", workdir, "--reuse", workdir)
    assert line == f"bakein: --reuse {workdir}: is the work directory itself"


def test_a_work_directory_in_use(workdir, fails):
    record = json.loads((workdir / "study.json").read_text())
    del record["named_first"]
    with Workdir(workdir).open(record, lambda path: None):
        line = fails("run", FILE, "--workdir", workdir, "--config.seeds=1")
        assert line.startswith(f"bakein: work directory {workdir} is in use by another process, ")
        assert line.endswith("what it runs differs in config.seeds, seeds, nodes and 6 more")
        assert main(["run", FILE, "--workdir", str(workdir)]) == 0


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
@pytest.mark.parametrize("name", ["study.json", "stage.json"])
def test_a_damaged_json_file(workdir, fails, name, text):
    path = workdir / name if name == "study.json" else next(workdir.glob("stages/*/stage.json"))
    path.write_text(text, encoding="latin-1")
    line = fails("run", FILE, "--workdir", workdir)
    assert re.search(rf"{name} is damaged \(.*\); delete it and run again", line)


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("records.jsonl", "{", r"records\.jsonl:2: not JSON"),
        ("records.jsonl", '{"problem": 0}', r"records\.jsonl:2: key 'level' is missing"),
        ("samples.jsonl", "3", r"samples\.jsonl:2: a record must be a JSON object"),
    ],
)
def test_a_report_of_broken_records(workdir, fails, name, line, says):
    folder = nodes(workdir)["standard", "rl", 0]
    path = (
        workdir / "stages" / json.loads((workdir / "study.json").read_text())["evals"][folder.name]
    )
    lines = (path / name).read_text().splitlines()
    (path / name).write_text("\n".join([lines[0], line, *lines[2:]]) + "\n")
    assert re.search(says, fails("report", workdir))


def test_a_report_of_what_was_not_measured(workdir, fails):
    path = workdir / "study.json"
    study = json.loads(path.read_text())
    study["questions"]["Q1"]["metric"] = "accuracy/9"
    path.write_text(json.dumps(study))
    line = fails("report", workdir)
    assert f"{path}: metric 'accuracy/9' of baked_in after rl was not measured; there is" in line


def test_damaged_records_of_a_stage_that_resumes(workdir, fails):
    folder = nodes(workdir)["standard", "sft", 0]
    info = json.loads((folder / "stage.json").read_text())
    (folder / "stage.json").write_text(json.dumps({**info, "status": "running"}))
    (folder / "records.jsonl").write_text('{"loss": 1}\n{"step": 2}\n')
    shutil.rmtree(nodes(workdir)["standard", "pretrain", 0])  # whose checkpoints were not copied
    line = fails("run", FILE, "--workdir", workdir)
    assert re.search(r"records\.jsonl is damaged \('step'\); delete its folder", line)


def test_an_experiment_that_exits(fails, tmp_path):
    path = tmp_path / "exits.py"
    path.write_text('import sys\n\nsys.exit("no data here")\n')
    assert fails("run", path) == f"bakein: experiment {path}:3: SystemExit: no data here"
