"""Speaker embeddings: Snyder et al., "X-vectors: Robust DNN Embeddings" (ICASSP 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_stream.errors import ConfigError

# Kernel and dilation of the frame layers: [t-2, t+2], {t-2, t, t+2}, {t-3, t, t+3}, {t}, {t}
# (Table 1).
CONTEXTS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))
# Frames that one output of the frame layers sees.
RECEPTIVE_FIELD = 1 + sum((kernel - 1) * dilation for kernel, dilation in CONTEXTS)
# Keeps the root's slope finite where a channel never changes.
VARIANCE_FLOOR = 1e-5


@dataclass(frozen=True)
class XVectorConfig:
    """Sizes of the network; the defaults are the paper's (Table 1).

    Attributes:
        n_speakers: outputs of the classifier.
        n_features: values per frame.
        widths: of the five frame layers.
        dimension: of the embedding, and of the layer after it.
        dropout: of whole channels after the pooling; the paper has none.
        margin: 0 classifies by segment7 and softmax, as the paper does. Above 0 it is the angle in
            radians by which the own speaker's has to be smaller than the others' (additive angular
            margin: Deng et al., CVPR 2019, equation 3), and the embedding is classified itself.
        scale: what the cosines are multiplied by where there is a margin.
    """

    n_speakers: int
    n_features: int
    widths: tuple[int, ...] = (512, 512, 512, 512, 1500)
    dimension: int = 512
    dropout: float = 0.0
    margin: float = 0.0
    scale: float = 30.0

    def __post_init__(self) -> None:
        if len(self.widths) != len(CONTEXTS):
            raise ConfigError(f"xvector: got {len(self.widths)} widths; give {len(CONTEXTS)}")
        if min(self.n_features, self.dimension, *self.widths) < 1:
            raise ConfigError("xvector: n_features, dimension and widths must be at least 1")
        if self.n_speakers < 2:
            raise ConfigError(f"xvector: got n_speakers = {self.n_speakers}; need two or more")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"xvector: got dropout = {self.dropout}; need 0 <= dropout < 1")
        if not (0.0 <= self.margin < math.pi / 2 and self.scale > 0.0):
            raise ConfigError(
                f"xvector: got margin = {self.margin}, scale = {self.scale}; "
                "need 0 <= margin < pi / 2 and scale > 0"
            )


class XVector(nn.Module):
    """Five frame layers, statistics pooling, two segment layers.

    Input: float32 (batch, frames, n_features), at least `RECEPTIVE_FIELD` frames. Output: logits
    (batch, n_speakers). Convolutions see nothing but the frames they are given, so what is pooled
    is `RECEPTIVE_FIELD` - 1 frames shorter.

    Attributes:
        centre: what `embed` takes off every embedding, (dimension,); 0 while training.
    """

    centre: Tensor

    def __init__(self, config: XVectorConfig) -> None:
        super().__init__()
        self.config = c = config
        frame_layers: list[nn.Module] = []
        for (n_in, n_out), (kernel, dilation) in zip(
            pairwise((c.n_features, *c.widths)), CONTEXTS, strict=True
        ):
            frame_layers += [
                nn.Conv1d(n_in, n_out, kernel, dilation=dilation),
                nn.ReLU(),
                nn.BatchNorm1d(n_out),
            ]
        self.frame_layers = nn.Sequential(*frame_layers)
        self.dropout = nn.Dropout(c.dropout)
        self.segment6 = nn.Linear(2 * c.widths[-1], c.dimension)
        if c.margin:
            self.speakers = nn.Parameter(torch.empty(c.n_speakers, c.dimension))
            nn.init.xavier_normal_(self.speakers)
        else:
            self.segment7 = nn.Sequential(
                nn.ReLU(),
                nn.BatchNorm1d(c.dimension),
                nn.Linear(c.dimension, c.dimension),
                nn.ReLU(),
                nn.BatchNorm1d(c.dimension),
            )
            self.classify = nn.Linear(c.dimension, c.n_speakers)
        self.register_buffer("centre", torch.zeros(c.dimension))

    def embed(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Segment6 before its nonlinearity, less ``centre``, (batch, dimension).

        Args:
            features: see the class.
            lengths: int64 (batch,), frames that are a recording's own; what follows them is padding
                and changes nothing. All of them without.
        """
        x = self.frame_layers(features.transpose(1, 2))  # (B, T, F) -> (B, C, T')
        pooled = self.dropout(statistics_pooling(x, lengths))  # (B, 2 C)
        return self.segment6(pooled) - self.centre

    def forward(
        self, features: Tensor, lengths: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        """Logits; with ``target`` (batch,) the margin is in those of the own speaker."""
        embedding = self.embed(features, lengths)
        if not self.config.margin:
            return self.classify(self.segment7(embedding))
        cosine = F.linear(F.normalize(embedding), F.normalize(self.speakers))  # (B, N)
        if target is not None:
            own = F.one_hot(target, self.config.n_speakers).bool()
            # Away from 0 and pi, where the arc cosine has no slope.
            angle = torch.acos(cosine.clamp(-1.0 + 1e-6, 1.0 - 1e-6))
            later = torch.cos((angle + self.config.margin).clamp(max=math.pi))
            cosine = torch.where(own, later, cosine)
        return self.config.scale * cosine


class Embedder(nn.Module):
    """What is exported of a network: features (batch, frames, n_features) to embeddings."""

    def __init__(self, net: XVector) -> None:
        super().__init__()
        self.net = net

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings (B, dimension) of features (B, T, F)."""
        return self.net.embed(features)


def statistics_pooling(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Mean and standard deviation over time (section 2.2), (B, C, T') -> (B, 2 C).

    ``lengths`` (B,) counts the frames before the frame layers, all of them without: only outputs
    that saw nothing else are pooled.
    """
    if lengths is None:
        mean = x.mean(dim=2)
        variance = (x - mean.unsqueeze(2)).square().mean(dim=2)
    else:
        n = lengths - (RECEPTIVE_FIELD - 1)
        own = (torch.arange(x.shape[2], device=x.device) < n.unsqueeze(1)).unsqueeze(
            1
        )  # (B, 1, T')
        count = n.unsqueeze(1).to(x.dtype)
        mean = (x * own).sum(dim=2) / count
        variance = ((x - mean.unsqueeze(2)).square() * own).sum(dim=2) / count
    return torch.cat([mean, (variance + VARIANCE_FLOOR).sqrt()], dim=1)
