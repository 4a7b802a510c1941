"""The registry of networks: one file per paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from training.models.head_fusion import HeadFusion, HeadFusionConfig

MODELS: dict[str, tuple[type[Any], type[nn.Module]]] = {
    "head_fusion": (HeadFusionConfig, HeadFusion),
}


def make_model(name: str, params: Mapping[str, Any]) -> nn.Module:
    """Build network ``name`` from its configuration.

    Raises:
        KeyError: no such network.
        TypeError: a parameter that the network's configuration does not have.
    """
    if name not in MODELS:
        raise KeyError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    config_type, net_type = MODELS[name]
    return net_type(config_type(**params))
