"""The registry of networks: one file per paper, and one for the network that is shipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

from torch import nn

from ser_stream.errors import ConfigError
from ser_stream.typed import FieldError, typed
from training.models import adaptive_cnn
from training.models.adaptive_cnn import AdaptiveCnn, AdaptiveCnnConfig
from training.models.attention_pooling import AttentionPooling, AttentionPoolingConfig
from training.models.context_attention import ContextAttention, ContextAttentionConfig
from training.models.head_fusion import HeadFusion, HeadFusionConfig
from training.models.ilt_cat import IltCat, IltCatConfig
from training.models.mscnn_spu import MscnnSpu, MscnnSpuConfig
from training.models.widths import Widths

# Inputs that a network may take beside the features: what is known of the speaker, how many frames
# are the utterance's own, and word vectors with their number; see `ser_stream.models.inputs`.
EMBEDDING, LENGTHS, TOKENS = "embedding", "lengths", "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkKind:
    """A row of the registry; none of its fields has a default.

    Attributes:
        config: frozen dataclass of the parameters, with ``n_classes`` among them.
        module: builds the network of a ``config``.
        widths: parameters that follow from the recipe's labels, front end and inputs, by name,
            besides ``n_classes``; no recipe repeats them.
        takes: which of `EMBEDDING`, `LENGTHS` and `TOKENS` the network takes.
        needs: which of them a network of this ``config`` cannot do without.
        inference: the network that is exported in the place of a trained one, with the same logits.
    """

    config: type[Any]
    module: Callable[[Any], nn.Module]
    widths: Callable[[Widths], dict[str, int]]
    takes: frozenset[str]
    needs: Callable[[Any], frozenset[str]]
    inference: Callable[[Any], nn.Module]

    def __post_init__(self) -> None:
        known = self.config.__dataclass_fields__ if is_dataclass(self.config) else {}
        if "n_classes" not in known:
            raise ConfigError(f"a network needs a dataclass with n_classes, got {self.config}")
        if unknown := self.takes - {EMBEDDING, LENGTHS, TOKENS}:
            raise ConfigError(f"{self.config.__name__}: unknown inputs {sorted(unknown)}")


def any_width(widths: Widths) -> dict[str, int]:
    """No parameters: the network takes frames of any width."""
    return {}


def frame_width(widths: Widths) -> dict[str, int]:
    """The width of a frame as ``n_features``."""
    return {"n_features": widths.features}


def nothing(config: object) -> frozenset[str]:
    """Needs no input but the features."""
    return frozenset()


def as_trained(net: nn.Module) -> nn.Module:
    """The network itself."""
    return net


MODELS: dict[str, NetworkKind] = {
    "head_fusion": NetworkKind(
        config=HeadFusionConfig,
        module=HeadFusion,
        widths=any_width,
        takes=frozenset(),
        needs=nothing,
        inference=HeadFusion.for_inference,
    ),
    "mscnn_spu": NetworkKind(
        config=MscnnSpuConfig,
        module=MscnnSpu,
        widths=lambda w: {
            "n_features": w.features,
            "n_text": w.words,
            "n_embedding": w.embedding,
        },
        takes=frozenset({EMBEDDING, LENGTHS, TOKENS}),
        needs=lambda config: frozenset() if config.modality == "audio" else frozenset({TOKENS}),
        inference=as_trained,
    ),
    "attention_pooling": NetworkKind(
        config=AttentionPoolingConfig,
        module=AttentionPooling,
        widths=any_width,
        takes=frozenset(),
        needs=nothing,
        inference=AttentionPooling.for_inference,
    ),
    "ilt_cat": NetworkKind(
        config=IltCatConfig,
        module=IltCat,
        widths=frame_width,
        takes=frozenset(),
        needs=nothing,
        inference=as_trained,
    ),
    "context_attention": NetworkKind(
        config=ContextAttentionConfig,
        module=ContextAttention,
        widths=frame_width,
        takes=frozenset({LENGTHS}),
        needs=nothing,
        inference=as_trained,
    ),
    "adaptive_cnn": NetworkKind(
        config=AdaptiveCnnConfig,
        module=AdaptiveCnn,
        widths=adaptive_cnn.widths,
        takes=frozenset({EMBEDDING}),
        needs=lambda config: frozenset({EMBEDDING}),
        inference=as_trained,
    ),
}


def network_kind(name: str) -> NetworkKind:
    """Look up a network.

    Raises:
        FieldError: there is none of that name, in the field "model".
    """
    if name not in MODELS:
        raise FieldError("model", f"unknown model {name!r}; known: {', '.join(MODELS)}")
    return MODELS[name]


def make_model(name: str, params: Mapping[str, Any]) -> nn.Module:
    """Build network ``name`` from its configuration; lists, as TOML has them, become tuples.

    Raises:
        ConfigError: no such network, a parameter that it lacks, or a value that cannot work.
    """
    config = check_model(name, params)
    return MODELS[name].module(config)


def check_model(name: str, params: Mapping[str, Any], where: str = "") -> Any:
    """Build the configuration of network ``name`` and nothing else; raises like `make_model`.

    Args:
        name: of the network.
        params: its parameters.
        where: their path in a file, for errors.
    """
    return typed(dict(params), network_kind(name).config, where=where or name)
