"""What a layer's backward pass keeps of its forward pass, and what it computes anew.

By falling memory and rising work: none, dots, dots_no_batch, attention, full.
"""

import jax

# A kernel's outputs, under this name: with them kept, its backward pass does not run it again. Only
# splash gives them the name. cuDNN's do not have it, so under every policy but "none" its backward
# pass runs it again.
ATTENTION = "attention"

_kept = jax.checkpoint_policies
_attention = _kept.save_only_these_names(ATTENTION)

POLICIES = {
    "none": None,  # everything is kept: no remat at all
    "dots": _kept.save_from_both_policies(_kept.dots_saveable, _attention),
    # Not the scores of attention, which grow with the square of the length.
    "dots_no_batch": _kept.save_from_both_policies(
        _kept.dots_with_no_batch_dims_saveable, _attention
    ),
    "attention": _attention,  # of the reference, which is no kernel, and of cuDNN's: as "full"
    "full": _kept.nothing_saveable,
}
