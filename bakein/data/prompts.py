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
    rows = []
    for row, prompt in enumerate(prompts):
        tokens = [BOS, *tokenizer.encode(prompt)]
        if len(tokens) > length:
            raise DataError(
                f"prompt {row} ({prompt[:40]!r}): {len(tokens)} positions, must be at most {length}"
            )
        rows.append(tokens)
    return pad_rows(rows, length)


def pad_rows(rows: Sequence[Sequence[int]], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of token ids padded on the right, and 1 on them and 0 on padding. int32 [B, length]."""
    tokens_BL = np.full((len(rows), length), PAD, np.int32)
    segments_BL = np.zeros((len(rows), length), np.int32)
    for row, tokens in enumerate(rows):
        tokens_BL[row, : len(tokens)] = tokens
        segments_BL[row, : len(tokens)] = 1
    return tokens_BL, segments_BL
