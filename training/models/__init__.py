"""The registry of networks: one file per paper, and one for the network that is shipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ser_stream.typed import FieldError, typed
from training.models.adaptive_cnn import AdaptiveCnn, AdaptiveCnnConfig
from training.models.attention_pooling import AttentionPooling, AttentionPoolingConfig
from training.models.context_attention import ContextAttention, ContextAttentionConfig
from training.models.head_fusion import HeadFusion, HeadFusionConfig
from training.models.ilt_cat import IltCat, IltCatConfig
from training.models.mscnn_spu import MscnnSpu, MscnnSpuConfig

MODELS: dict[str, tuple[type[Any], type[nn.Module]]] = {
    "head_fusion": (HeadFusionConfig, HeadFusion),
    "mscnn_spu": (MscnnSpuConfig, MscnnSpu),
    "attention_pooling": (AttentionPoolingConfig, AttentionPooling),
    "ilt_cat": (IltCatConfig, IltCat),
    "context_attention": (ContextAttentionConfig, ContextAttention),
    "adaptive_cnn": (AdaptiveCnnConfig, AdaptiveCnn),
}


def make_model(name: str, params: Mapping[str, Any]) -> nn.Module:
    """Build network ``name`` from its configuration; lists, as TOML has them, become tuples.

    Raises:
        ConfigError: no such network, a parameter that it lacks, or a value that cannot work.
    """
    config = check_model(name, params)
    return MODELS[name][1](config)


def check_model(name: str, params: Mapping[str, Any], where: str = "") -> Any:
    """Build the configuration of network ``name`` and nothing else; raises like `make_model`.

    Args:
        name: of the network.
        params: its parameters.
        where: their path in a file, for errors.
    """
    if name not in MODELS:
        raise FieldError("model", f"unknown model {name!r}; known: {', '.join(MODELS)}")
    config_type, _ = MODELS[name]
    return typed(dict(params), config_type, where=where or name)
