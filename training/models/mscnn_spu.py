"""Paper 2: Peng et al., "Efficient Speech Emotion Recognition Using Multi-Scale CNN and Attention".

(ICASSP 2021.) This file holds the audio branch; `MultiScaleConv` and `statistical_pooling` are the
blocks of both branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_stream.errors import ConfigError

STATISTICS = ("max", "mean", "std")
POOLINGS = {"spu": STATISTICS, "max": ("max",)}
# Variance below which a channel counts as constant: its standard deviation has no gradient there.
VARIANCE_FLOOR = 1e-10


@dataclass(frozen=True)
class MscnnSpuConfig:
    """Sizes of the audio branch (sections 3.1, 3.2 and 4.2).

    Attributes:
        n_classes: outputs.
        n_features: width of a frame; 32 MFCCs with first and second differences.
        n_filters: channels of each scale.
        scales: frames that a filter of each scale spans. **Decision**: as in the text CNN (Kim
            2014) that the paper builds on.
        pooling: "spu" (maximum, mean and standard deviation) or "max" (a row of Table 2).
        n_embedding: width of an utterance embedding (the paper's x-vector) appended to the pooled
            vector; 0 for none.
        n_hidden: width of the fully connected layer. **Decision**: 256.
        dropout: before the last layer.
    """

    n_classes: int = 4
    n_features: int = 96
    n_filters: int = 128
    scales: tuple[int, ...] = (3, 4, 5)
    pooling: str = "spu"
    n_embedding: int = 0
    n_hidden: int = 256
    dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ConfigError(
                f"mscnn_spu: got pooling = {self.pooling!r}; choose from {', '.join(POOLINGS)}"
            )
        if not self.scales or min(self.scales) < 1:
            raise ConfigError(
                f"mscnn_spu: got scales = {list(self.scales)}; name one or more lengths in frames"
            )
        if min(self.n_features, self.n_filters, self.n_hidden) < 1 or self.n_embedding < 0:
            raise ConfigError(f"mscnn_spu: a width is too small in {self}; use positive widths")
        if self.n_classes < 2:
            raise ConfigError(f"mscnn_spu: got n_classes = {self.n_classes}; name two or more")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"mscnn_spu: got dropout = {self.dropout}; need 0 <= dropout < 1")


class MultiScaleConv(nn.Module):
    """Equations (1) and (2): parallel convolutions of shape (s, d) over a sequence of vectors.

    d is the whole width of a vector, so each is a one-dimensional convolution along the sequence.
    The length is kept: s - 1 zeros are shared between both ends, one more at the end for an even s.
    Input: (batch, steps, width). Output: (batch, n_channels, steps), scale after scale.
    """

    def __init__(self, width: int, n_filters: int, scales: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(width, n_filters, s) for s in scales)
        self.pads = tuple(((s - 1) // 2, s // 2) for s in scales)
        self.n_channels = n_filters * len(scales)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)  # (B, N, d) -> (B, d, N)
        maps = [
            F.relu(conv(F.pad(x, pad))) for conv, pad in zip(self.convs, self.pads, strict=True)
        ]
        return torch.cat(maps, dim=1)  # (B, n_filters * scales, N)


def statistical_pooling(
    x: Tensor, valid: Tensor | None = None, statistics: Sequence[str] = STATISTICS
) -> Tensor:
    """Equation (3): statistics of (B, C, N) over its last axis, as (B, len(statistics), C).

    Args:
        x: feature maps.
        valid: bool (B, N), the steps that count; at least one in each row. None: all.
        statistics: of "max", "mean" and "std" (**Decision**: the population's, which one step has).
    """
    x = x.float()  # sums over hundreds of steps lose digits in half precision
    mask = None if valid is None else valid.unsqueeze(1)  # (B, 1, N)
    pooled: dict[str, Tensor] = {}
    if "max" in statistics:
        pooled["max"] = (x if mask is None else x.masked_fill(~mask, -torch.inf)).amax(dim=2)
    if "mean" in statistics or "std" in statistics:
        mean = _mean(x, mask)  # (B, C)
        pooled["mean"] = mean
        if "std" in statistics:
            variance = _mean((x - mean.unsqueeze(2)).square(), mask)
            # The slope of a square root at 0 is infinite; below the floor it is cut off.
            pooled["std"] = variance.clamp(min=VARIANCE_FLOOR).sqrt()
    return torch.stack([pooled[name] for name in statistics], dim=1)


def _mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of (B, C, N) over the steps in ``mask`` (B, 1, N)."""
    if mask is None:
        return x.mean(dim=2)
    return x.masked_fill(~mask, 0.0).sum(dim=2) / mask.sum(dim=2)


def valid_steps(lengths: Tensor, n_steps: int) -> Tensor:
    """Bool (B, n_steps): the steps before each length."""
    return torch.arange(n_steps, device=lengths.device) < lengths.unsqueeze(1)


class MscnnSpu(nn.Module):
    """Multi-scale convolutions over a sequence of frames, pooled by its statistics.

    Input: float32 (batch, frames, n_features), int64 (batch,) valid frames (None: all of them) and,
    where the configuration has one, float32 (batch, n_embedding).
    Output: logits (batch, n_classes).
    """

    def __init__(self, config: MscnnSpuConfig) -> None:
        super().__init__()
        self.config = config
        self.statistics = POOLINGS[config.pooling]
        self.audio = MultiScaleConv(config.n_features, config.n_filters, config.scales)
        width = len(self.statistics) * self.audio.n_channels + config.n_embedding
        self.reduce = nn.Linear(width, config.n_hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.n_hidden, config.n_classes)

    def forward(
        self, features: Tensor, lengths: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        pooled = self.pool(features, lengths)
        if self.config.n_embedding:
            if embedding is None:
                raise ValueError("the network takes an utterance embedding; pass `embedding`")
            pooled = torch.cat([pooled, embedding], dim=1)
        return self.classify(self.dropout(F.relu(self.reduce(pooled))))

    def pool(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Describe each utterance by one vector, (B, N, d) -> (B, statistics * channels)."""
        valid = None
        if lengths is not None:
            valid = valid_steps(lengths.to(features.device), features.shape[1])  # (B, N)
            # A filter that reaches past the end must see what it sees at the end of a batch: zeros.
            features = features.masked_fill(~valid.unsqueeze(2), 0.0)
        maps = self.audio(features)  # (B, C, N)
        return statistical_pooling(maps, valid, self.statistics).flatten(1)  # (B, S, C) -> (B, S*C)
