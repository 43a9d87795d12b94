"""One small pipeline of three numbered sources, for the tests of the whole."""

import numpy as np
from data_fakes import numbered_source

from bakein.data.mixture import Mixture
from bakein.data.packing import Packing
from bakein.data.pipeline import make_batches
from bakein.data.schedules import constant, linear

LONGEST = 18  # characters; a document takes one position more
PACKING = Packing(batch=4, length=48, fill=0.8, shards=2)
TOKENS = 2000
PHASES = linear({"traces": 0.3}, 900, 0.0) + constant({"traces": 0.5}, TOKENS - 900)
BACKGROUND = {"web": 0.75, "facts": 0.25}


def sources(**kwargs):
    return {
        "web": numbered_source("w", **kwargs),
        "facts": numbered_source("f", size=7, seed=3),
        "traces": numbered_source("t", **kwargs),
    }


def batches_of(phases=PHASES, packing=PACKING, shards=None, prefetch=0, **kwargs):
    mixture = Mixture(BACKGROUND, phases)
    shards = range(packing.shards) if shards is None else shards
    return make_batches(sources(**kwargs), mixture, packing, shards, prefetch)


def assert_equal_batches(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
