"""The shipped network: related to the five papers', modulated by evidence about the speaker.

Parallel filters along time and along frequency (papers 1 and 3), attention pooling (papers 1 and 3)
beside mean and standard deviation (paper 2's statistical pooling), and a last layer that is
modulated by what is known of the speaker (feature-wise linear modulation: Perez et al., AAAI 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_stream.errors import ConfigError
from training.models.mscnn_spu import statistical_pooling
from training.models.widths import Widths


@dataclass(frozen=True)
class AdaptiveCnnConfig:
    """Sizes.

    Attributes:
        n_classes: outputs.
        n_bands: log-mel bands, the first features of a frame; a multiple of 8.
        n_prosody: features that follow them: pitch, periodicity, level.
        n_views: how many times a frame's features come, normalised in different ways.
        n_embedding: values that describe the evidence about the speaker.
        n_filters: of each of the two shapes of the first layer.
        channels: of the four layers after it.
        n_prosody_channels: of the two layers over pitch, periodicity and level.
        n_heads: of the attention over time.
        n_hidden: width of the maps that are pooled, and of the layer after the pooling.
        dropout: before both of the last two layers.
    """

    n_classes: int = 4
    n_bands: int = 48
    n_prosody: int = 3
    n_views: int = 2
    n_embedding: int = 2
    n_filters: int = 12
    channels: tuple[int, int, int, int] = (32, 48, 80, 96)
    n_prosody_channels: tuple[int, int] = (32, 48)
    n_heads: int = 4
    n_hidden: int = 128
    dropout: float = 0.3

    def __post_init__(self) -> None:
        sizes = (
            self.n_bands, self.n_prosody, self.n_views, self.n_embedding, self.n_filters,
            self.n_heads, self.n_hidden, *self.channels, *self.n_prosody_channels,
        )  # fmt: skip
        if self.n_embedding < 1:
            raise ConfigError("adaptive_cnn: is told of the speaker: set `embedding`")
        if min(self.n_bands, self.n_prosody) < 1:
            raise ConfigError("adaptive_cnn: needs a front end with bands and prosody")
        if min(sizes) < 1:
            raise ConfigError(f"adaptive_cnn: a size is too small in {self}; use positive sizes")
        if len(self.channels) != 4 or len(self.n_prosody_channels) != 2:
            raise ConfigError("adaptive_cnn: need four channels and two n_prosody_channels")
        if self.n_bands % 8:
            raise ConfigError(f"adaptive_cnn: got n_bands = {self.n_bands}; use a multiple of 8")
        if self.n_classes < 2:
            raise ConfigError(f"adaptive_cnn: got n_classes = {self.n_classes}; name two or more")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"adaptive_cnn: got dropout = {self.dropout}; need 0 <= dropout < 1")


def widths(given: Widths) -> dict[str, int]:
    """Parameters that follow from the front end and from the description of the speaker."""
    return {
        "n_bands": given.bands,
        "n_prosody": given.frame - given.bands,
        "n_views": given.views,
        "n_embedding": given.embedding,
    }


class AdaptiveCnn(nn.Module):
    """Convolutions over bands and time, joined by prosody, pooled over time.

    Input: float32 (batch, frames, n_views * (n_bands + n_prosody)), float32 (batch, n_embedding).
    Output: logits (batch, n_classes).
    """

    def __init__(self, config: AdaptiveCnnConfig) -> None:
        super().__init__()
        self.config = c = config
        first = 2 * c.n_filters
        self.along_bands = nn.Conv2d(c.n_views, c.n_filters, (3, 9), padding=(1, 4), bias=False)
        self.along_time = nn.Conv2d(c.n_views, c.n_filters, (9, 3), padding=(4, 1), bias=False)
        self.bn = nn.BatchNorm2d(first)
        widths = (first, *c.channels)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
            )
            for n_in, n_out in pairwise(widths)
        )
        p1, p2 = c.n_prosody_channels
        self.prosody = nn.ModuleList([_conv1d(c.n_views * c.n_prosody, p1, 7), _conv1d(p1, p2, 5)])
        self.join = _conv1d(c.channels[-1] * (c.n_bands // 8) + p2, c.n_hidden, 3)
        self.attention = nn.Conv1d(c.n_hidden, c.n_heads, 1)
        self.hidden = nn.Sequential(
            nn.Dropout(c.dropout),
            nn.Linear((c.n_heads + 2) * c.n_hidden, c.n_hidden),
            nn.BatchNorm1d(c.n_hidden),
            nn.ReLU(),
            nn.Dropout(c.dropout),
        )
        self.modulate = nn.Linear(c.n_embedding, 2 * c.n_hidden)
        self.classify = nn.Linear(c.n_hidden, c.n_classes)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Logits (B, classes) of features (B, T, views * F) and embedding (B, n_embedding)."""
        x = self.hidden(self.pool(self.maps(features)))  # (B, n_hidden)
        scale, shift = self.modulate(embedding).chunk(2, dim=1)
        return self.classify(x * (1.0 + scale) + shift)

    def maps(self, features: Tensor) -> Tensor:
        """Features over time, (B, T, views * features) -> (B, n_hidden, T // 4)."""
        c = self.config
        x = features.unflatten(2, (c.n_views, c.n_bands + c.n_prosody)).transpose(1, 2)
        bands, prosody = x[..., : c.n_bands], x[..., c.n_bands :]  # (B, views, T, ...)
        if self.training:
            # Faster on a CPU, and the same values.
            bands = bands.contiguous(memory_format=torch.channels_last)
        h = torch.cat([self.along_bands(bands), self.along_time(bands)], dim=1)
        h = F.max_pool2d(F.relu(self.bn(h)), 2)  # (B, 24, T // 2, bands // 2)
        for layer, pooling in zip(self.layers, ((2, 2), (1, 2), None, None), strict=True):
            h = layer(h)
            if pooling is not None:
                h = F.max_pool2d(h, pooling)
        h = h.transpose(2, 3).flatten(1, 2)  # (B, C, T // 4, bands // 8) -> (B, C * bands // 8, T')
        p = prosody.permute(0, 1, 3, 2).flatten(1, 2)  # (B, views * 3, T)
        for layer in self.prosody:
            # A plane of channels and time, so that the exporter sees the same lengths as above.
            p = F.max_pool2d(layer(p).unsqueeze(1), (1, 2)).squeeze(1)  # (B, 48, T // 4)
        return self.join(torch.cat([h, p], dim=1))

    def pool(self, maps: Tensor) -> Tensor:
        """Attention heads, mean and standard deviation over time, (B, C, T) -> (B, (H + 2) * C)."""
        weights = torch.softmax(self.attention(maps), dim=2)  # (B, H, T)
        attended = torch.matmul(weights, maps.transpose(1, 2))  # (B, H, C)
        statistics = statistical_pooling(maps, statistics=("mean", "std"))  # (B, 2, C)
        return torch.cat([attended.float(), statistics], dim=1).flatten(1)


def _conv1d(n_in: int, n_out: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(n_in, n_out, size, padding=size // 2, bias=False),
        nn.BatchNorm1d(n_out),
        nn.ReLU(),
    )
