"""The registry of networks: one file per paper, and one for the network that is shipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from ser_stream.errors import ConfigError
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


class UnknownModelError(ConfigError, KeyError):
    """A name that is not in the registry."""

    def __str__(self) -> str:  # a KeyError's would be in quotes
        return str(self.args[0])


class UnknownParameterError(ConfigError, TypeError):
    """A parameter that the network's configuration does not have."""


def make_model(name: str, params: Mapping[str, Any]) -> nn.Module:
    """Build network ``name`` from its configuration; lists, as TOML has them, become tuples.

    Raises:
        ConfigError: no such network, a parameter that it lacks, or a value that cannot work.
    """
    config = check_model(name, params)
    return MODELS[name][1](config)


def check_model(name: str, params: Mapping[str, Any]) -> Any:
    """Build the configuration of network ``name`` and nothing else; raises like `make_model`."""
    if name not in MODELS:
        raise UnknownModelError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    config_type, _ = MODELS[name]
    known = [f.name for f in fields(config_type)]
    if unknown := [key for key in params if key not in known]:
        raise UnknownParameterError(
            f"{name}: unknown parameter {', '.join(unknown)}; known: {', '.join(known)}"
        )
    return config_type(**{key: _frozen(value) for key, value in params.items()})


def _frozen(value: Any) -> Any:
    """Turn lists into tuples, at any depth."""
    return tuple(_frozen(v) for v in value) if isinstance(value, (list, tuple)) else value
