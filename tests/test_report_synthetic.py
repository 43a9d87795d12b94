"""A work directory with known effects, written without training anything; used by test_report_*."""

import json

import numpy as np

from bakein.analysis import verdicts
from bakein.report.records import NAMED_FIRST

STAGES = {"pretrain": None, "sft": "pretrain", "rl": "sft", "rl_from_base": "pretrain"}
ARMS = ("standard", "baked_in", "wrong_traces")
# Mean logit of accuracy by arm and stage: baked_in leads everywhere, wrong_traces does nothing.
LOGITS = {
    "standard": {"pretrain": -3.0, "sft": -1.4, "rl": -0.4, "rl_from_base": -2.6},
    "baked_in": {"pretrain": -1.0, "sft": 0.4, "rl": 2.2, "rl_from_base": 1.0},
    "wrong_traces": {"pretrain": -3.1, "sft": -1.3, "rl": -0.5, "rl_from_base": -2.7},
}
MADE_BY = [
    {
        "versions": {"jax": "0.10.2", "flax": "0.12.8", "bakein": "0.1.0"},
        "git": "abc1234",
        "device": "cpu x2",
    }
]
HOSTILE = (
    "<script>alert(1)</script>",
    "</style></pre></body><img src=x onerror=alert(1)>",
    "{{ 7*7 }}{% raw %} &lt;b&gt; \"'`",
    "\x00\x07\x1b[31mred\x1b[0m\r\x7f\x85",
    "\ud800 lone \udfff",
    "\u202egnp.exe\u2066 \u200b\u2028\ufeff",
)


def question_block():
    common = {"treated": "baked_in", "control": "standard", "metric": "accuracy"}
    return {
        "Q1": {
            "kind": "comparison",
            "text": "Can reasoning be baked in during pretraining?",
            "stage": "rl",
            "epsilon": 0.02,
            **common,
        },
        "Q2": {
            "kind": "persistence",
            "text": "Do the gains persist through post-training?",
            "stages": ["pretrain", "sft", "rl"],
            "epsilon": 0.1,
            **common,
        },
    }


def write_study(
    workdir,
    *,
    seeds=5,
    problems=24,
    n=16,
    facts=20,
    arms=ARMS,
    logits=LOGITS,
    shared=(),
    seed=0,
    completions=None,
    name="synthetic",
):
    """Writes a finished study; `shared` names stages whose node all the arms have in common."""
    rng = np.random.default_rng(seed)
    difficulty = np.sort(rng.normal(0, 1, problems))
    nodes, evals, done = [], {}, set()
    for arm in arms:
        for number in range(seeds):
            for stage, parent in STAGES.items():
                owner = arms[0] if stage in shared else arm
                parent_owner = arms[0] if parent in shared else arm
                id = f"{stage}-{owner}-{number}"
                parents = [f"{parent}-{parent_owner}-{number}"] if parent else []
                kind = "rl" if stage.startswith("rl") else "supervised"
                node = {"id": id, "kind": kind, "stage": stage, "seed": number, "parents": parents}
                nodes.append({**node, "arm": arm})
                evals[id] = f"eval-{id}"
                if id in done:
                    continue
                done.add(id)
                level = logits[owner][stage] + 0.25 * np.sin(number) + rng.normal(0, 0.25)
                write_training(workdir, node, owner, level, rng)
                write_evaluation(workdir, node, level - difficulty, n, facts, rng, completions)
    study = {
        "study": name,
        "config": {"arms": {arm: {"pretrain": {"data": {"arm": arm}}} for arm in arms}},
        **MADE_BY[0],
        "seeds": list(range(seeds)),
        "arms": list(arms),
        "stages": list(STAGES),
        "nodes": nodes,
        "evals": evals,
        "probes": {},
        "contrasts": [
            {
                "name": f"{treated} vs standard after {stage}",
                "question": question,
                "treated": treated,
                "control": "standard",
                "stage": stage,
                "metric": "accuracy",
                "epsilon": 0.02,
            }
            for question, treated in (("Q1", "baked_in"), ("Q5", "wrong_traces"))
            for stage in STAGES
            if treated in arms
        ],
        "questions": question_block(),
        "verdict_rules": verdicts.RULES,
        "bootstrap": {"resamples": 200, "seed": 0, "level": 0.95},
        "k": [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= n],
    }
    study["named_first"] = {key: study[key] for key in NAMED_FIRST}
    write_json(workdir / "study.json", study)
    return study


def write_training(workdir, node, arm, level, rng):
    traces = 20_000 if arm != "standard" and node["stage"] == "pretrain" else 0
    ledger = {
        source: {"tokens": tokens, "documents": tokens // 20, "cut": 0, "skipped": 0}
        for source, tokens in {
            "filler": 40_000 - traces // 2,
            "facts": 20_000 - traces // 2,
            "traces": traces,
        }.items()
        if tokens
    }
    folder = workdir / "stages" / node["id"]
    write_json(
        folder / "stage.json",
        {
            **node,
            "config": {"steps": 30},
            "fingerprint": "f" * 16,
            "status": "finished",
            "made_by": MADE_BY,
            "steps": 30,
            "ledger": ledger
            if node["kind"] == "supervised"
            else {"rollouts": {"tokens": 30 * 2560, "documents": 30 * 256, "cut": 0, "skipped": 0}},
            "flops": 3.6e11,
            "seconds": 12.5,
            "params": 101_000,
        },
    )
    records = []
    for step in range(31):
        share = 1 - np.exp(-step / 10)
        reward = float(1 / (1 + np.exp(-(level - 1.5 + 1.5 * share))))
        if node["kind"] == "supervised":
            records.append(
                {
                    "step": step,
                    "loss": 3 - 2 * share,
                    "accuracy": share / 2,
                    "grad_norm": 1.0,
                    "learning_rate": 3e-3,
                    "tokens": step * 1536,
                }
            )
            continue
        records.append(
            {
                "step": step,
                "reward": reward,
                "reward_std": 0.4,
                "format": 0.9,
                "truncation": 0.01,
                "kl": 0.02,
                "clip_fraction": 0.01,
                "mismatch_mean": 1e-6,
                "mismatch_max": 1e-5,
                "grad_norm": 0.5,
                "loss": 0.0,
                "length": 20.0,
                "samples": step * 256,
                "sampled_tokens": step * 2560,
            }
        )
        if step % 5 == 0:
            records.append(
                {
                    "step": step,
                    "samples": step * 256,
                    "sampled_tokens": step * 2560,
                    "flops": step * 1e9,
                    "heldout": reward,
                    "solved": [reward] * 4,
                }
            )
    write_lines(folder / "records.jsonl", records)


def write_evaluation(workdir, node, logits_of_problem, n, facts, rng, completions):
    id = f"eval-{node['id']}"
    folder = workdir / "stages" / id
    write_json(
        folder / "stage.json",
        {
            "id": id,
            "kind": "eval",
            "stage": "eval",
            "seed": node["seed"],
            "parents": [node["id"]],
            "config": {"n": n},
            "fingerprint": "f" * 16,
            "status": "finished",
            "made_by": MADE_BY,
            "steps": 1,
            "ledger": {},
            "flops": 1e9,
            "seconds": 2.0,
            "params": 101_000,
        },
    )
    records, samples = [], []
    for problem, logit in enumerate(logits_of_problem):
        p = 1 / (1 + np.exp(-logit))
        correct = int(rng.binomial(n, p))
        wrong = int(rng.binomial(n - correct, 0.5))
        counts = {"407": correct, "111": wrong, "222": n - correct - wrong}
        records.append(
            {
                "problem": problem,
                "level": 1 + problem * 4 // len(logits_of_problem),
                "n": n,
                "correct": correct,
                "verified": int(rng.binomial(correct, 0.9)),
                "format": int(rng.binomial(n, 0.95)),
                "truncated": int(rng.binomial(n, 0.02)),
                "greedy": int(rng.random() < p),
                "greedy_format": 1,
                "answer": "407",
                "answers": {a: c for a, c in counts.items() if c},
            }
        )
        for kind in ("greedy", "sample") if problem < 8 else ():
            right = bool(rng.random() < p)
            written = ">074>704>804>804!804" if right else ">074>740>840>841!841"
            samples.append(
                {
                    "problem": problem,
                    "level": 1 + problem * 4 // len(logits_of_problem),
                    "prompt": "?rot swp inc nop 407=",
                    "completion": completions[kind] if completions else written,
                    "answer": "804",
                    "right": right,
                    "format": True,
                    "steps": [True, right, right, right],
                    "kind": kind,
                }
            )
    decay = {"pretrain": 0.95, "sft": 0.6, "rl": 0.55, "rl_from_base": 0.9}[node["stage"]]
    records += [{"fact": i, "recalled": int(rng.random() < decay)} for i in range(facts)]
    write_lines(folder / "records.jsonl", records)
    write_lines(folder / "samples.jsonl", samples)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


def test_the_synthetic_study_is_complete_and_deterministic(tmp_path):
    first = write_study(tmp_path / "a", seeds=1, problems=4)
    second = write_study(tmp_path / "b", seeds=1, problems=4)
    assert first == second
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.json*"))
    assert len(files) == 1 + 12 * (2 + 3)
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
