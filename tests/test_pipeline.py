"""The pipeline: exact totals and ledgers, the same background in all arms, whole documents."""

import numpy as np
import pytest
from data_fakes import Characters, documents_of, numbered_source
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_fakes import BACKGROUND, LONGEST, PACKING, PHASES, TOKENS, batches_of, sources

from bakein.data import corruption
from bakein.data.documents import ENDLESS, world_documents
from bakein.data.errors import DataError
from bakein.data.ledger import add_ledgers, total_tokens
from bakein.data.mixture import Mixture
from bakein.data.packing import Packing
from bakein.data.pipeline import Batches, make_batches, read_ledger
from bakein.data.schedules import constant, early
from bakein.data.sources import Source
from bakein.data.tokenizers import EOS, CharTokenizer
from bakein.data.worlds.registers import Registers


def counted(batches):
    """Tokens and documents by the letter of the source, from the arrays alone."""
    found = {}
    for batch in batches:
        for _, tokens, targets, *_ in documents_of(batch):
            # The target still shows the letter where the document was cut to its first token.
            documents, size = found.get(chr(targets[0]), (0, 0))
            found[chr(targets[0])] = (documents + 1, size + len(tokens))
    return found


@settings(deadline=None, max_examples=30)
@given(
    tokens=st.integers(400, 3000),
    share=st.floats(0, 0.5),
    span=st.floats(0.5, 1),
    shards=st.sampled_from([1, 2, 4]),
    shortest=st.integers(4, LONGEST),
)
def test_ledger_steps_and_totals_are_exact(tokens, share, span, shards, shortest):
    packing = Packing(batch=8, length=60, fill=0.6, shards=shards)
    iterator = batches_of(early({"traces": share}, tokens, span), packing, shortest=shortest)
    batches = list(iterator)
    assert len(batches) == packing.steps(tokens)
    ledger = read_ledger([iterator.get_state()], sources())
    names = {"w": "web", "f": "facts", "t": "traces"}
    assert {names[letter]: count for letter, count in counted(batches).items()} == {
        name: (counts["documents"], counts["tokens"])
        for name, counts in ledger.items()
        if counts["documents"]
    }
    assert total_tokens(ledger) == tokens
    # Within a document of each shard; of the two levels, traces have one competitor.
    assert abs(ledger["traces"]["tokens"] - share * tokens) <= shards * (LONGEST + 2)


def test_shares_are_followed_at_every_step():
    mixture = Mixture(BACKGROUND, PHASES)
    packing = Packing(4, 48, 0.8, 1)
    iterator = make_batches(sources(), mixture, packing, range(packing.shards), 0)
    for _ in iterator:
        (ledger,) = iterator.get_state()["shards"].values()
        target = mixture.targets(total_tokens(ledger))
        assert abs(ledger["traces"]["tokens"] - target["traces"]) <= LONGEST + 1


def test_the_clock_is_the_same_in_all_arms():
    """Whatever the arms mix in, they reach the same tokens by the same step, to a document."""
    tokens = {}
    for share in (0.0, 0.4):
        iterator = batches_of(constant({"traces": share}, TOKENS))
        tokens[share] = []
        for _ in iterator:
            shards = iterator.get_state()["shards"].values()
            tokens[share].append(sum(total_tokens(ledger) for ledger in shards))
    assert len(tokens[0.0]) == len(tokens[0.4])
    assert tokens[0.0][-1] == tokens[0.4][-1] == TOKENS
    difference = np.subtract(tokens[0.0], tokens[0.4])
    assert np.abs(difference).max() <= PACKING.shards * (LONGEST + 1)


def test_arms_read_the_same_background_in_the_same_order():
    orders = {}
    for share in (0.0, 0.4):
        kept = sources()
        mixture = Mixture(BACKGROUND, early({"traces": share}, TOKENS, 0.5))
        list(make_batches(kept, mixture, Packing(4, 48, 0.8, 1), (0,), 0))
        # A document that found no room is read again by the next batch: once is enough here.
        orders[share] = {
            name: [i for i, j in zip(read, [None, *read], strict=False) if i != j]
            for name in BACKGROUND
            for read in [kept[name].documents.read]
        }
    for name in BACKGROUND:
        common = min(len(order[name]) for order in orders.values())
        assert common > 5
        assert orders[0.0][name][:common] == orders[0.4][name][:common]


def test_documents_arrive_whole():
    """Every document but those that the ledger counts as cut reads as it was written."""
    iterator = batches_of()
    by_letter = {source.documents.letter: source for source in sources().values()}
    broken = 0
    for batch in iterator:
        for _, tokens, targets, positions, _ in documents_of(batch):
            np.testing.assert_array_equal(positions, np.arange(len(tokens)))
            np.testing.assert_array_equal(tokens[1:], targets[:-1])
            text = Characters().decode(targets)
            index = text[1:].split("|")[0]
            whole = index.isdigit() and by_letter[text[0]].documents[int(index)]
            broken += not whole or text != whole.prompt + whole.completion or targets[-1] != 2
    ledger = read_ledger([iterator.get_state()], sources())
    assert bool(broken) == any(counts["cut"] for counts in ledger.values())
    # At most a cut per phase and shard, and one per row of the last batch.
    assert broken <= len(PHASES) * PACKING.shards + PACKING.batch


def test_sft_trains_on_completions_only():
    prompts = trained = 0
    for batch in batches_of(mask_prompt=True):
        for _, tokens, targets, _, mask in documents_of(batch):
            text = Characters().decode(targets)
            if text[0] != "f" and targets[-1] == 2:
                half = len(text) // 2
                assert mask.tolist() == [0] * half + [1] * (len(tokens) - half)
                prompts += 1
        trained += batch["mask"].sum()
    assert prompts > 20
    assert trained < TOKENS


def test_arms_of_a_world_differ_in_their_steps_alone():
    """Worlds, characters and batches together: read back, the traces say what they should."""
    world = Registers(slots=3, digits=3, templates=1, test_share=0.05)
    tokenizer = CharTokenizer(world.alphabet)
    packing = Packing(batch=4, length=64, fill=0.7, shards=2)
    prompts, right = {}, {}
    for rate in (0.0, 1.0):
        traces = world_documents(world, "trace", corruption.steps, rate, None, 11)
        mixed = {
            "traces": Source(traces, tokenizer, True, 11),
            "direct": Source(
                world_documents(world, "direct", corruption.none, 0.0, 50, 12), tokenizer, True, 12
            ),
        }
        mixture = Mixture({"direct": 1.0}, constant({"traces": 0.5}, 1500))
        problems = {(p := world.train(11)[i]).prompt: p for i in range(99)}
        prompts[rate], right[rate] = [], []
        for batch in make_batches(mixed, mixture, packing, range(packing.shards), 0):
            for _, _, targets, _, mask in documents_of(batch):
                prompt = tokenizer.decode(targets[mask == 0])
                completion = tokenizer.decode(targets[mask == 1])
                if ">" in completion and targets[-1] == EOS:
                    prompts[rate].append(prompt)
                    right[rate] += world.check(problems[prompt], completion).steps
    assert prompts[0.0] == prompts[1.0]
    assert len(prompts[0.0]) > 15
    assert all(right[0.0])
    assert not any(right[1.0])


def test_ledger_counts_epochs():
    iterator = batches_of()
    list(iterator)
    state = iterator.get_state()
    ledger = read_ledger([state], sources())
    assert ledger["facts"]["epochs"] == ledger["facts"]["documents"] / 7 > 1
    assert ledger["web"]["epochs"] == ledger["web"]["documents"] / ENDLESS
    assert add_ledgers(state["shards"].values()).keys() == ledger.keys()


def test_a_document_longer_than_a_row_is_skipped_and_counted():
    packing = Packing(batch=4, length=16, fill=0.5, shards=1)
    mixture = Mixture({"web": 1.0}, constant({}, 500))
    mixed = {"web": numbered_source("w", shortest=8, longest=17)}
    iterator = make_batches(mixed, mixture, packing, range(packing.shards), 0)
    list(iterator)
    counts = read_ledger([iterator.get_state()], mixed)["web"]
    lengths = [len(d["tokens"]) for d in map(mixed["web"].stream(0, 1).__getitem__, range(99))]
    drawn = lengths[: counts["documents"] + counts["skipped"]]
    assert counts["skipped"] == sum(n > 16 for n in drawn) > 0
    assert counts["tokens"] == 500


def test_a_fill_that_cannot_be_reached_is_told_at_once_and_changes_nothing():
    packing = Packing(batch=4, length=20, fill=0.95, shards=1)
    mixture = Mixture({"web": 1.0}, constant({}, 100_000))
    half = {"web": numbered_source("w", shortest=11, longest=11)}
    for prefetch in (0, 2):
        iterator = make_batches(half, mixture, packing, range(packing.shards), prefetch)
        before = iterator.get_state()
        with pytest.raises(DataError, match=r"fill: 0.95 of the positions .* step 1 reached 0.60"):
            next(iterator)
        assert iterator.get_state() == before


def test_a_full_batch_takes_a_fill_of_one():
    packing = Packing(batch=4, length=24, fill=1.0, shards=2)
    mixture = Mixture({"web": 1.0}, constant({}, 24 * 4 * 3))
    full = {"web": numbered_source("w", shortest=11, longest=11)}
    batches = list(make_batches(full, mixture, packing, range(packing.shards), 0))
    assert len(batches) == 3
    assert all((batch["segments"] > 0).all() for batch in batches)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": {"web": None}}, r"sources: \['web'\], but the mixture names \['facts', "),
        ({"shards": (0, 2)}, "shard 2: there are 2, from 0"),
        ({"phases": constant({}, 1)}, "tokens: 1, too few for 2 shards"),
    ],
)
def test_what_does_not_fit_together_is_told(change, message):
    phases = change.get("phases", PHASES)
    given_sources = change.get("sources", {k: v for k, v in sources().items() if k != "traces"})
    if "sources" not in change and phases is PHASES:
        given_sources = sources()
    with pytest.raises(DataError, match=message):
        Batches(given_sources, Mixture(BACKGROUND, phases), PACKING, change.get("shards", (0, 1)))
