"""What stages are fed with: the tokenizer, the sources of a stage, the evaluated problems."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from bakein.data import corruption as corruptions
from bakein.data.corruption import Corruption
from bakein.data.documents import ENDLESS, text_documents, world_documents
from bakein.data.errors import DataError
from bakein.data.files import read_jsonl, read_text
from bakein.data.ledger import add_ledgers, subtract_ledgers
from bakein.data.mixture import Mixture
from bakein.data.packing import Packing
from bakein.data.sources import Source, fingerprint
from bakein.data.tokenizers import CharTokenizer, Tokenizer, train_bpe
from bakein.data.worlds.world import Document, Problem
from bakein.evals.attacks import attack_prompts
from bakein.evals.budgets import make_forcing
from bakein.evals.evaluate import Prompts
from bakein.study.digest import digest, seed_of
from bakein.study.errors import ConfigError, naming
from bakein.study.probes import AttackProbe, BudgetProbe, ProbeConfig
from bakein.study.schema import (
    DataConfig,
    EvaluationConfig,
    RLConfig,
    StageConfig,
    Study,
    SupervisedConfig,
    TextSource,
    WorldSource,
)

_LOOKED_AT = 64  # documents of a source that stand for all
# Attempts at each problem that the fingerprint of an attack reads.
_FINGERPRINT_ATTEMPTS = 8


class Materials:
    """Makes the data of a study's stages; what is read from disk is read once.

    Attributes:
        tokenizer: of the study.
        windows: the documents of a text source, by its name.
        attack: what a probe's attack asks, and the completions that it is after or None, by its
            name, the size and the number of attempts.
    """

    def __init__(self, study: Study):
        """Reads nothing but what the tokenizer needs.

        Raises:
            DataError: a file cannot be read, or a world cannot be made.
        """
        self._study = study
        self._texts = functools.cache(self._read_texts)
        self.windows = functools.cache(self._cut_windows)
        self._finite = functools.cache(self._make_world_documents)
        self.attack = functools.cache(self._make_attack)
        self.tokenizer = self._make_tokenizer()

    # --- tokenizer

    def _make_tokenizer(self) -> Tokenizer:
        config = self._study.tokenizer
        if config.kind == "characters":
            worlds = self._study.worlds.values()
            return CharTokenizer(
                "".join(sorted(set().union(*(world.alphabet for world in worlds))))
            )
        texts = itertools.chain.from_iterable(
            self._training_texts(name, config.documents or None) for name in config.sources
        )
        return train_bpe(texts, config.vocabulary)

    def _training_texts(self, name: str, count: int | None) -> list[str]:
        source = self._study.sources[name]
        if isinstance(source, TextSource):
            return list(self._texts(name))[:count]
        data = DataConfig({}, {}, None, corruptions.none, 0.0, False)
        documents = self._documents(name, data, seed_of(self._study.seed, "tokenizer", name))
        if count is None and len(documents) >= ENDLESS:
            raise ConfigError(
                "config.tokenizer.documents is 0; it must be at least 1, as source "
                f"{name} is endless"
            )
        size = len(documents) if count is None else min(count, len(documents))
        return [documents[i].prompt + documents[i].completion for i in range(size)]

    # --- documents

    def _read_texts(self, name: str) -> tuple[str, ...]:
        source = self._study.sources[name]
        if not source.field:
            return tuple(read_text(path) for path in source.paths)
        return tuple(row[0] for path in source.paths for row in read_jsonl(path, (source.field,)))

    def _cut_windows(self, name: str) -> tuple[Document, ...]:
        source = self._study.sources[name]
        return text_documents(self._texts(name), self.tokenizer, source.window)

    def _documents(self, name: str, data: DataConfig, seed: int) -> Sequence[Document]:
        source = self._study.sources[name]
        if isinstance(source, TextSource):
            return self.windows(name)
        if not isinstance(source, WorldSource):
            from bakein.data import tfds_export  # costs a second; most studies do not need it

            return tfds_export.read(source.path, source.split)
        corrupted = name in data.share and data.rate > 0
        how = (data.corruption, data.rate) if corrupted else (corruptions.none, 0.0)
        # A number of them is made as a whole; the arms read the same.
        make = self._finite if source.documents else self._make_world_documents
        return make(name, *how, seed)

    def _make_world_documents(
        self, name: str, corruption: Corruption, rate: float, seed: int
    ) -> Sequence[Document]:
        source = self._study.sources[name]
        return world_documents(
            world=self._study.worlds[source.world],
            form=source.form,
            corruption=corruption,
            rate=rate,
            size=source.documents or None,
            seed=seed,
        )

    def sources(self, stage: str, config: SupervisedConfig, member: int) -> dict[str, Source]:
        """The sources that a stage's mixture names, for one member.

        Seeds are made of (study, member, stage, source) and not of the arm: arms of one member see
        the same documents of a source in the same order.
        """
        names = [*config.data.background, *config.data.share]
        seeds = {n: seed_of(self._study.seed, "member", member, stage, "data", n) for n in names}
        sources = {}
        for name in names:
            with naming(f"config.sources.{name}"):
                documents = self._documents(name, config.data, seeds[name])
                sources[name] = Source(
                    documents, self.tokenizer, config.data.mask_prompt, seeds[name]
                )
        return sources

    def prompts(self, stage: str, config: RLConfig, member: int) -> Sequence[Problem]:
        """The training problems of an RL stage, for one member."""
        seed = seed_of(self._study.seed, "member", member, stage, "prompts")
        return self._study.worlds[config.world].train(seed)

    def test_problems(self, path: str, config: EvaluationConfig | ProbeConfig) -> list[Problem]:
        """The frozen problems: the same for every stage, arm and member.

        Args:
            path: of the configuration, for a mistake in it.
            config: of the evaluation or of a probe; of one world they ask the same problems.
        """
        seed = seed_of(self._study.seed, "evaluation")
        with naming(f"{path}.problems"):
            return self._test(config.world, config.problems, seed)

    def curve_problems(self, stage: str, config: RLConfig) -> list[Problem]:
        """The held-out problems of an RL curve: the same for every arm and member."""
        seed = seed_of(self._study.seed, "curve")
        with naming(f"config.stages.{stage}.curve_problems"):
            return self._test(config.world, config.curve_problems, seed)

    def facts(self, config: EvaluationConfig) -> list[Problem]:
        """The facts that are asked for."""
        if not config.recall:
            return []
        seed = seed_of(self._study.seed, "facts")
        with naming("config.evaluation.facts"):
            return self._test(config.recall, config.facts, seed)

    def _test(self, name: str, count: int, seed: int) -> list[Problem]:
        """Held-out problems, looked at: what is wrong with them would else be found after training.

        Raises:
            DataError: there are not as many, one is asked twice, is no text, has another level than
                the world has, or holds what the study's tokens cannot tell.
        """
        world = self._study.worlds[name]
        problems = world.test(count, seed)
        if len(problems) != count:
            raise DataError(f"test of world {name} gave {len(problems)} problems, not {count}")
        seen = set()
        for problem in problems:
            told = f"test of world {name} gave {problem!r:.200}"
            if not (isinstance(problem.prompt, str) and isinstance(problem.answer, str)):
                raise DataError(f"{told}; prompt and answer must be text")
            if problem.level not in world.levels:
                raise DataError(f"{told}; its level must be one of {world.levels}")
            if problem.prompt in seen:
                raise DataError(f"{told} twice; held-out problems must be distinct")
            seen.add(problem.prompt)
            self.tokenizer.encode(problem.prompt)
        return problems

    def _make_attack(self, name: str, size: int, attempts: int) -> tuple[Prompts, list[str] | None]:
        """Frozen like the problems: the same for every stage, arm and member."""
        config = self._study.probes[name]
        world = self._study.worlds[config.world]
        problems = self.test_problems(f"config.probes.{name}", config)
        attack = dataclasses.replace(config.attack, attempts=attempts)
        seed = seed_of(self._study.seed, "probe", name)
        prompts = attack_prompts(self.tokenizer, world, problems, attack, size, seed)
        if not config.target:
            return prompts, None
        documents = (world.document(p, config.target, p.steps) for p in problems)
        return prompts, [document.completion for document in documents]

    # --- identity

    def fingerprint(
        self, stage: str, config: StageConfig | EvaluationConfig | ProbeConfig, member: int
    ) -> str:
        """Digest of what a stage reads: its first documents, or its problems and their verifier.

        Of a probe, `stage` is its name.

        Raises:
            ConfigError: what it would read is not there, or does not fit.
            DataError: a text cannot be told in the study's tokens.
        """
        if isinstance(config, SupervisedConfig):
            sources = self.sources(stage, config, member)
            _check_rows(stage, config, sources)
            return fingerprint(sources)
        verifier = self._verifier(config.world)
        if isinstance(config, RLConfig):
            problems = self.prompts(stage, config, member)
            first = [problems[i] for i in range(min(64, len(problems)))]
            held_out = self.curve_problems(stage, config) if config.curve_every else []
            return digest([verifier, first, held_out])
        if isinstance(config, ProbeConfig):
            path = f"config.probes.{stage}"
            with naming(path):
                return digest([verifier, self.test_problems(path, config), self._asked(stage)])
        recall = self._verifier(config.recall) if config.recall else None
        problems = self.test_problems("config.evaluation", config)
        return digest([verifier, problems, recall, self.facts(config)])

    def _verifier(self, world: str) -> list[Any]:
        """What checks completions: the source of the world's class, and its fields."""
        return [type(self._study.worlds[world]), self._study.worlds[world]]

    def _asked(self, name: str) -> list[Any]:
        """What a probe makes of its problems, the first of its attempts standing for all."""
        config = self._study.probes[name]
        if isinstance(config, AttackProbe):
            attempts = min(config.attempts, _FINGERPRINT_ATTEMPTS)
            attacks = [self.attack(name, size, attempts) for size in config.sizes]
            for _, targets in attacks:
                for target in targets or ():
                    self.tokenizer.encode(target)
            return [[prompts.texts, targets] for prompts, targets in attacks]
        if isinstance(config, BudgetProbe):
            for budget in config.budgets:
                make_forcing(self.tokenizer, config.thinking, budget)
        return []


def _check_rows(stage: str, config: SupervisedConfig, sources: Mapping[str, Source]) -> None:
    """Some of a source's documents may be longer than a row and left out, but not all of them."""
    for name, source in sources.items():
        if all(length > config.length for length in source.lengths(_LOOKED_AT)):
            raise ConfigError(
                f"config.stages.{stage}.length is {config.length}; it must be at least "
                f"{min(source.lengths(_LOOKED_AT))}, the shortest of the first {_LOOKED_AT} "
                f"documents of source {name}"
            )


def packing(stage: str, config: SupervisedConfig) -> Packing:
    """The shape of a stage's batches.

    Raises:
        ConfigError: its numbers do not fit.
    """
    with naming(f"config.stages.{stage}"):
        return Packing(config.batch, config.length, config.fill, config.shards)


def mixture(config: SupervisedConfig) -> Mixture:
    """Which source comes when.

    Raises:
        ValueError: the shares or the schedule do not fit; not of a study that was resolved.
    """
    phases = config.data.schedule(config.data.share, config.tokens)
    return Mixture(background=config.data.background, phases=tuple(phases))


def describe(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What was drawn between two states of the data: `traces 310 tokens, facts 120 tokens`."""
    drawn = subtract_ledgers(*(add_ledgers(s["shards"].values()) for s in (after, before)))
    parts = [f"{name} {counts['tokens']} tokens" for name, counts in drawn.items()]
    return ", ".join(parts)
