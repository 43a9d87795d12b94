"""The token ledger: what has been drawn from each source, exactly. It is also the data position.

A ledger maps a source's name to its counts, plain ints and so JSON as it is:

    documents  documents placed, cut ones included
    tokens     tokens placed (a document of n text tokens has n + 1)
    cut        tokens lost from the ends of documents that were cut to fit a phase
    skipped    documents passed over because they are longer than a row

The next document of a source is number `documents + skipped` of its stream: the ledger needs no
companion to resume from.
"""

from collections.abc import Iterable, Mapping

Ledger = dict[str, dict[str, int]]

COUNTS = ("documents", "tokens", "cut", "skipped")


def empty_ledger(names: Iterable[str]) -> Ledger:
    """A ledger of zeros for these sources."""
    return {name: dict.fromkeys(COUNTS, 0) for name in names}


def copy_ledger(ledger: Mapping[str, Mapping[str, int]]) -> Ledger:
    """A deep copy, of plain dicts."""
    return {name: dict(counts) for name, counts in ledger.items()}


def add_ledgers(ledgers: Iterable[Ledger]) -> Ledger:
    """The sum over shards; a source that one of them lacks counts as zero there."""
    total: Ledger = {}
    for ledger in ledgers:
        for name, counts in ledger.items():
            sums = total.setdefault(name, dict.fromkeys(COUNTS, 0))
            for key in COUNTS:
                sums[key] += counts[key]
    return total


def subtract_ledgers(after: Ledger, before: Ledger) -> Ledger:
    """What was drawn between two ledgers of the same sources."""
    return {
        name: {key: counts[key] - before[name][key] for key in COUNTS}
        for name, counts in after.items()
    }


def total_tokens(ledger: Ledger) -> int:
    """Tokens placed, over all sources."""
    return sum(counts["tokens"] for counts in ledger.values())
