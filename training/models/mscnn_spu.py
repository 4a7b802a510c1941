"""Paper 2: Peng et al., "Efficient Speech Emotion Recognition Using Multi-Scale CNN and Attention".

(ICASSP 2021.) The network of its Figure 1, for sound, words or both, and every row of its tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_stream.errors import ConfigError

MODALITIES = ("audio", "text", "both")
STATISTICS = ("max", "mean", "std")
POOLINGS = {"spu": STATISTICS, "max": ("max",)}
SWEM = ("max", "mean")
# Variance below which a channel counts as constant: its standard deviation has no gradient there.
VARIANCE_FLOOR = 1e-10


@dataclass(frozen=True)
class MscnnSpuConfig:
    """Sizes and parts of the network (section 3 and section 4.2).

    What belongs to a branch that is left out counts for nothing.

    Attributes:
        n_classes: outputs.
        modality: "audio", "text" or "both" (Table 1).
        n_features: width of a frame; 32 MFCCs with first and second differences.
        n_text: width of a word vector; GloVe's. **Decision**: word vectors are inputs and stay as
            they were pre-trained.
        n_filters: channels of each scale.
        scales: frames, and words, that a filter of each scale spans. **Decision**: the same for
            both, those of the text CNN (Kim 2014) that the paper builds on. So the channels of both
            branches are as many, as the attention needs.
        pooling: of the sound, "spu" (maximum, mean and standard deviation) or "max" (Table 2).
        text_pooling: of the words, likewise.
        swem: append the maximum and the mean of the word vectors themselves (Table 2).
        attention: let the pooled sound weigh the words (Table 2). **Decision**: it has as many
            contexts as the sound has statistics, one where that is pooled by "max".
        n_embedding: width of an utterance embedding (the paper's x-vector) appended to the pooled
            sound; 0 for none.
        n_hidden: width of the fully connected layer. **Decision**: 256.
        dropout: before the last layer.
        modality_dropout: probability, in training, that an utterance with sound loses its words,
            and likewise its embedding, which is zero then. **Decision**: the paper always has both
            and needs none.
    """

    n_classes: int = 4
    modality: str = "audio"
    n_features: int = 96
    n_text: int = 300
    n_filters: int = 128
    scales: tuple[int, ...] = (3, 4, 5)
    pooling: str = "spu"
    text_pooling: str = "spu"
    swem: bool = True
    attention: bool = True
    n_embedding: int = 0
    n_hidden: int = 256
    dropout: float = 0.3
    modality_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("modality", self.modality, MODALITIES),
            ("pooling", self.pooling, POOLINGS),
            ("text_pooling", self.text_pooling, POOLINGS),
        ):
            if value not in known:
                raise ConfigError(
                    f"mscnn_spu: got {name} = {value!r}; choose from {', '.join(known)}"
                )
        if not self.scales or min(self.scales) < 1:
            raise ConfigError(
                f"mscnn_spu: got scales = {list(self.scales)}; name one or more lengths in steps"
            )
        widths = (self.n_features, self.n_text, self.n_filters, self.n_hidden)
        if min(widths) < 1 or self.n_embedding < 0:
            raise ConfigError(f"mscnn_spu: a width is too small in {self}; use positive widths")
        if self.n_classes < 2:
            raise ConfigError(f"mscnn_spu: got n_classes = {self.n_classes}; name two or more")
        for name, share in (
            ("dropout", self.dropout),
            ("modality_dropout", self.modality_dropout),
        ):
            if not 0.0 <= share < 1.0:
                raise ConfigError(f"mscnn_spu: got {name} = {share}; need 0 <= {name} < 1")


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
        """Maps (B, n_channels, N) of x (B, N, d)."""
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


def attention_weights(contexts: Tensor, maps: Tensor, valid: Tensor) -> Tensor:
    """Equation (4): softmax over the valid steps of e . h_k, float32 (B, G, N).

    Steps that are not valid weigh 0; so does every step of a text that has no valid one.

    Args:
        contexts: (B, G, C), one e per statistic of the audio.
        maps: feature maps of the text (B, C, N).
        valid: bool (B, N), the steps that count.
    """
    scores = _product(contexts, maps)  # (B, G, C) @ (B, C, N) -> (B, G, N)
    mask = ~valid.unsqueeze(1)  # (B, 1, N)
    # A finite fill: with -inf everywhere, as in a text without steps, a softmax is NaN.
    weights = torch.softmax(scores.masked_fill(mask, torch.finfo(scores.dtype).min), dim=2)
    return weights.masked_fill(mask, 0.0)


def attend(contexts: Tensor, maps: Tensor, valid: Tensor) -> Tensor:
    """Equation (5): the words as each context weighs them, (B, G, C).

    Arguments as in `attention_weights`; a text without a valid step gives zeros.
    """
    weights = attention_weights(contexts, maps, valid)
    return _product(weights, maps.transpose(1, 2))  # (B, G, N) @ (B, N, C) -> (B, G, C)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product in full precision: half of it is too coarse for what a softmax takes."""
    a, b = a.float(), b.float()
    if torch.is_autocast_enabled(a.device.type):
        with torch.autocast(a.device.type, enabled=False):
            return a @ b
    return a @ b


class MscnnSpu(nn.Module):
    """Multi-scale convolutions over frames and over words, pooled, and the words weighed by sound.

    Input, of which a branch that is left out takes none: float32 features (batch, frames,
    n_features); int64 lengths (batch,), valid frames, 1 or more (None: all of them); float32
    embedding (batch, n_embedding); float32 tokens (batch, words, n_text), at least one step; int64
    text_lengths (batch,), valid words, 0 for none (None: all of them). Padding is at the end.
    Output: logits (batch, n_classes).

    **Decision**: where an utterance has no valid word, a learned vector stands for all that the
    words would give: the text SPU, SWEM and the attention. It is trained by such utterances and by
    `modality_dropout`; before, it is zero.
    """

    def __init__(self, config: MscnnSpuConfig) -> None:
        super().__init__()
        self.config = config
        self.audio_statistics = POOLINGS[config.pooling]
        self.text_statistics = POOLINGS[config.text_pooling]
        width = 0
        if config.modality != "text":
            self.audio = MultiScaleConv(config.n_features, config.n_filters, config.scales)
            width += len(self.audio_statistics) * self.audio.n_channels + config.n_embedding
        if config.modality != "audio":
            self.text = MultiScaleConv(config.n_text, config.n_filters, config.scales)
            n_text = len(self.text_statistics) * self.text.n_channels
            if config.swem:
                n_text += len(SWEM) * config.n_text
            if config.attention and config.modality == "both":
                n_text += len(self.audio_statistics) * self.text.n_channels
            self.no_text = nn.Parameter(torch.zeros(n_text))
            width += n_text
        self.reduce = nn.Linear(width, config.n_hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.n_hidden, config.n_classes)

    def forward(
        self,
        features: Tensor | None = None,
        lengths: Tensor | None = None,
        embedding: Tensor | None = None,
        tokens: Tensor | None = None,
        text_lengths: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, classes); see `pool`."""
        pooled = self.pool(features, lengths, embedding, tokens, text_lengths)
        return self.classify(self.dropout(F.relu(self.reduce(pooled))))

    def pool(
        self,
        features: Tensor | None = None,
        lengths: Tensor | None = None,
        embedding: Tensor | None = None,
        tokens: Tensor | None = None,
        text_lengths: Tensor | None = None,
    ) -> Tensor:
        """Describe each utterance by one vector: sound, embedding, words, SWEM, attention.

        Features (B, T, F), embedding (B, E) and tokens (B, N, d) to (B, width).
        """
        parts: list[Tensor] = []
        contexts = None
        if self.config.modality != "text":
            contexts = self.pool_audio(_given(features, "features"), lengths)  # (B, G, C)
            parts.append(contexts.flatten(1))
            if self.config.n_embedding:
                embedding = _given(embedding, "embedding")
                if self._drops:
                    embedding = embedding.masked_fill(self._lost(embedding).unsqueeze(1), 0.0)
                parts.append(embedding)
        if self.config.modality != "audio":
            parts.append(self.pool_text(_given(tokens, "tokens"), text_lengths, contexts))
        return torch.cat(parts, dim=1)

    @property
    def _drops(self) -> bool:
        return self.training and self.config.modality_dropout > 0.0

    def _lost(self, x: Tensor) -> Tensor:
        """Which utterances of a batch lose ``x``, bool (batch,)."""
        return torch.rand(len(x), device=x.device) < self.config.modality_dropout

    def pool_audio(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Equation (3) for the sound, (B, T, d) -> (B, statistics, channels)."""
        valid = None
        if lengths is not None:
            valid = valid_steps(lengths.to(features.device), features.shape[1])  # (B, T)
            # A filter that reaches past the end must see what it sees at the end of a batch: zeros.
            features = features.masked_fill(~valid.unsqueeze(2), 0.0)
        return statistical_pooling(self.audio(features), valid, self.audio_statistics)

    def pool_text(
        self, tokens: Tensor, lengths: Tensor | None = None, contexts: Tensor | None = None
    ) -> Tensor:
        """Text SPU, SWEM and equation (6), (B, N, d) -> (B, n_text).

        ``contexts`` (B, G, C) are the sound's; None where the words are alone.
        """
        batch, n_steps = tokens.shape[:2]
        if lengths is None:
            lengths = torch.full((batch,), n_steps, device=tokens.device)
        lengths = lengths.to(tokens.device)
        if self._drops and contexts is not None:
            lengths = lengths.masked_fill(self._lost(tokens), 0)
        valid = valid_steps(lengths, n_steps)  # (B, N)
        tokens = tokens.masked_fill(~valid.unsqueeze(2), 0.0)
        maps = self.text(tokens)  # (B, C, N)
        # Pooling needs a step; that of a text without one is replaced below.
        pooled = valid_steps(lengths.clamp(min=1), n_steps)
        parts = [statistical_pooling(maps, pooled, self.text_statistics).flatten(1)]
        if self.config.swem:
            words = tokens.transpose(1, 2)  # (B, N, d) -> (B, d, N)
            parts.append(statistical_pooling(words, pooled, SWEM).flatten(1))
        if self.config.attention and contexts is not None:
            parts.append(attend(contexts, maps, valid).flatten(1))  # (B, G, C) -> (B, G * C)
        return torch.where(lengths.unsqueeze(1) > 0, torch.cat(parts, dim=1), self.no_text)


def _given(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ValueError(f"the network takes {name}; pass `{name}`")
    return value
