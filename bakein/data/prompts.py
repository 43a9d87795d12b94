"""Prompts for sampling: padded on the right to one length.

B prompts, P positions.
"""

from collections.abc import Sequence

import numpy as np

from bakein.data.errors import DataError
from bakein.data.tokenizers import BOS, PAD, Tokenizer


def encode_prompts(
    tokenizer: Tokenizer, prompts: Sequence[str], length: int
) -> tuple[np.ndarray, np.ndarray]:
    """tokens_BP = [BOS] + prompt, then padding; segments_BP is 1 on them and 0 on padding. int32.

    Raises:
        DataError: If a prompt takes more than `length` positions.
    """
    tokens_BP = np.full((len(prompts), length), PAD, np.int32)
    segments_BP = np.zeros((len(prompts), length), np.int32)
    for row, prompt in enumerate(prompts):
        tokens = [BOS, *tokenizer.encode(prompt)]
        if len(tokens) > length:
            raise DataError(
                f"prompt {row} ({prompt[:40]!r}): {len(tokens)} positions, must be at most {length}"
            )
        tokens_BP[row, : len(tokens)] = tokens
        segments_BP[row, : len(tokens)] = 1
    return tokens_BP, segments_BP
