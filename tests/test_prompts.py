"""Prompts are padded on the right; one that is too long is told."""

import numpy as np
import pytest
from data_fakes import Characters

from bakein.data.errors import DataError
from bakein.data.prompts import encode_prompts
from bakein.data.tokenizers import BOS, PAD


def test_prompts_are_padded_on_the_right():
    tokens_BP, segments_BP = encode_prompts(Characters(), ["ab", ""], 4)
    np.testing.assert_array_equal(tokens_BP, [[BOS, ord("a"), ord("b"), PAD], [BOS, PAD, PAD, PAD]])
    np.testing.assert_array_equal(segments_BP, [[1, 1, 1, 0], [1, 0, 0, 0]])
    assert tokens_BP.dtype == segments_BP.dtype == np.int32


def test_a_prompt_may_fill_its_row_and_no_more():
    assert encode_prompts(Characters(), ["abc"], 4)[1].all()
    with pytest.raises(DataError, match=r"prompt 1 \('abcd'\): 5 positions, must be at most 4"):
        encode_prompts(Characters(), ["a", "abcd"], 4)
