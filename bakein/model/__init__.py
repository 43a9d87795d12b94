"""The decoder, its cache and its configurations: pure functions of parameters and arrays."""

from bakein.model.cache import Cache, init_cache
from bakein.model.config import LinearScaling, Llama3Scaling, ModelConfig
from bakein.model.costs import abstract_params, count_params, flops_per_token
from bakein.model.decoder import Decoder
from bakein.model.kernels import check_platform
from bakein.model.scoring import score_positions

__all__ = [
    "Cache",
    "Decoder",
    "LinearScaling",
    "Llama3Scaling",
    "ModelConfig",
    "abstract_params",
    "check_platform",
    "count_params",
    "flops_per_token",
    "init_cache",
    "score_positions",
]
