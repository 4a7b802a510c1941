"""Paper 4: He et al., "Effective Integration of Transformer for Network-based SER".

ILT (section 2.2) runs a BiLSTM and a transformer side by side on the output of a CNN; CAT (section
2.3) lets a CNN and a BiLSTM attend to each other. The baselines of Tables 1 and 2 are here too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ser_stream.errors import ConfigError
from training.models.context_attention import BiLstm

ARCHITECTURES = (
    "cnn-transformer",
    "cnn-lstm-transformer",
    "lstm-transformer",
    "cnn+lstm",
    "ilt",
    "cat",
)
FUSIONS = ("concat", "plus", "trainable")
DIRECTIONS = ("both", "cnn-to-lstm", "lstm-to-cnn")


@dataclass(frozen=True)
class IltCatConfig:
    """Architecture and sizes; the paper gives the structure, every size is a **Decision**.

    Attributes:
        n_classes: outputs.
        n_features: log-mel bands of the input.
        architecture: "ilt", "cat", or a baseline: "cnn-transformer", "cnn-lstm-transformer",
            "lstm-transformer", "cnn+lstm".
        fusion: how "ilt" joins its two vectors: "concat" (12), "plus" (13), "trainable" (14).
        alpha: weight of the BiLSTM in "plus".
        positional_encoding: add equations (3) and (4) to what enters a transformer.
        direction: of "cat": "both", or one with the other's weight at 0 (Table 2).
        channels: of the four convolution blocks; the last is the width d of all that follows.
        n_head: heads of a transformer.
        n_feedforward: hidden width of its feed-forward layer.
        stride: frames per step of the 1-D convolution before a BiLSTM that reads the input.
        dropout: in each convolution block.
        transformer_dropout: after the attention and after the feed-forward layer.
    """

    n_classes: int = 4
    n_features: int = 40
    architecture: str = "ilt"
    fusion: str = "trainable"
    alpha: float = 0.5
    positional_encoding: bool = False
    direction: str = "both"
    channels: tuple[int, ...] = (16, 32, 64, 128)
    n_head: int = 4
    n_feedforward: int = 256
    stride: int = 4
    dropout: float = 0.2
    transformer_dropout: float = 0.1

    def __post_init__(self) -> None:
        for name, value, known in (
            ("architecture", self.architecture, ARCHITECTURES),
            ("fusion", self.fusion, FUSIONS),
            ("direction", self.direction, DIRECTIONS),
        ):
            if value not in known:
                raise ConfigError(
                    f"ilt_cat: got {name} = {value!r}; choose from {', '.join(known)}"
                )
        if not self.channels or min(self.channels) < 1:
            raise ConfigError(f"ilt_cat: got channels = {list(self.channels)}; name one per block")
        if self.n_head < 1 or self.channels[-1] % (2 * self.n_head):
            raise ConfigError(
                f"ilt_cat: got n_head = {self.n_head} for a width of {self.channels[-1]}; "
                "the last of `channels` must be a multiple of 2 * n_head"
            )
        if self.n_features < 2 ** len(self.channels):
            raise ConfigError(
                f"ilt_cat: got n_features = {self.n_features}, which {len(self.channels)} poolings "
                f"leave nothing of; use {2 ** len(self.channels)} bands or more"
            )
        if min(self.n_feedforward, self.stride) < 1:
            raise ConfigError(
                f"ilt_cat: got n_feedforward = {self.n_feedforward} and stride = {self.stride}; "
                "set both to 1 or more"
            )
        if self.n_classes < 2:
            raise ConfigError(f"ilt_cat: got n_classes = {self.n_classes}; name two or more")
        if not 0.0 <= self.alpha <= 1.0:
            raise ConfigError(f"ilt_cat: got alpha = {self.alpha}; need 0 <= alpha <= 1")
        if not (0.0 <= self.dropout < 1.0 and 0.0 <= self.transformer_dropout < 1.0):
            raise ConfigError(
                f"ilt_cat: got dropout = {self.dropout} and transformer_dropout = "
                f"{self.transformer_dropout}; need 0 <= dropout < 1"
            )


class IltCat(nn.Module):
    """CNN, BiLSTM and transformer over log-mels, joined as ``config.architecture`` says.

    Input: float32 (batch, frames, n_features), at least 16 frames. Output: logits
    (batch, n_classes). A window of 2 s, 198 frames, has 12 positions after the CNN.
    """

    def __init__(self, config: IltCatConfig) -> None:
        super().__init__()
        self.config = config
        name = config.architecture
        d = config.channels[-1]
        if name != "lstm-transformer":
            self.cnn = Cnn(config.channels, config.dropout)
        if name in ("cnn-lstm-transformer", "ilt"):
            self.lstm = BiLstm(d, d // 2)  # (6) to (8)
        if name in ("lstm-transformer", "cnn+lstm", "cat"):
            self.lstm = StridedBiLstm(config.n_features, d, config.stride)
        if name in ("cnn-transformer", "cnn-lstm-transformer", "lstm-transformer", "ilt"):
            self.transformer = Transformer(config)
        if name == "ilt":
            self.aggregate = AttentionAggregate(d)
            if config.fusion == "trainable":
                self.fusion_logits = nn.Parameter(torch.zeros(2))  # W_A, W_B
        if name == "cat" and config.direction != "lstm-to-cnn":
            self.cnn_to_lstm = Transformer(config)
        if name == "cat" and config.direction != "cnn-to-lstm":
            self.lstm_to_cnn = Transformer(config)
        concat = name == "ilt" and config.fusion == "concat"
        self.classify = nn.Linear(2 * d if concat else d, config.n_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, classes) of features (B, T, F)."""
        return self.classify(self.pool(features))

    def pool(self, features: Tensor) -> Tensor:
        """Describe each window by one vector, (B, T, F) -> (B, d) or (B, 2 * d)."""
        name = self.config.architecture
        if name == "ilt":
            c = self.cnn(features)  # (5): (B, K, d)
            lstm = self.aggregate(self.lstm(c))  # (6) to (10): (B, d)
            return self.fuse(lstm, self.transformer(c, c))
        if name == "cat":
            return self.cross(self.cnn(features), self.lstm(features))
        if name == "cnn+lstm":
            # As in CAT, with the transformers left out.
            return self.cnn(features).mean(dim=1) + self.lstm(features).mean(dim=1)
        if name == "lstm-transformer":
            x = self.lstm(features)
        else:
            x = self.cnn(features)
            if name == "cnn-lstm-transformer":
                x = self.lstm(x)
        return self.transformer(x, x)

    def fuse(self, lstm: Tensor, transformer: Tensor) -> Tensor:
        """Equations (12) to (16): join O_LSTM and O_Trans, (B, d) each."""
        if self.config.fusion == "concat":
            return torch.cat([lstm, transformer], dim=1)  # (12): (B, 2 * d)
        if self.config.fusion == "plus":
            alpha = self.config.alpha
            return alpha * lstm + (1.0 - alpha) * transformer  # (13)
        weights = self.fusion_weights()
        return weights[0] * lstm + weights[1] * transformer  # (14)

    def fusion_weights(self) -> Tensor:
        """Equations (15) and (16): alpha_A and alpha_B, which sum to 1."""
        return torch.softmax(self.fusion_logits, dim=0)

    def cross(self, cnn: Tensor, lstm: Tensor) -> Tensor:
        """Section 2.3: (B, K, d) and (B, L, d) attend to each other; both results are added."""
        if self.config.direction == "cnn-to-lstm":
            return self.cnn_to_lstm(cnn, lstm)
        if self.config.direction == "lstm-to-cnn":
            return self.lstm_to_cnn(lstm, cnn)
        return self.cnn_to_lstm(cnn, lstm) + self.lstm_to_cnn(lstm, cnn)


class Cnn(nn.Module):
    """Equation (5): blocks of convolution, batch normalisation, ReLU, average pool and dropout.

    (batch, frames, bands) -> (batch, K, d) with K = frames // 16. **Decision**: the bands that the
    poolings leave (2 of 40) are averaged: each has already seen 46 x 46 of the input, so their mean
    has every band in view.
    """

    def __init__(self, channels: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
            for n_in, n_out in pairwise((1, *channels))
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(n) for n in channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Sequence (B, K, d) of features (B, T, F)."""
        x = x.unsqueeze(1)  # (B, T, F) -> (B, 1, T, F)
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns, strict=True)):
            x = conv(x)
            if i == 0 and self.training:
                # Channels last in memory from here on: a quarter less time on a CPU.
                x = x.contiguous(memory_format=torch.channels_last)
            x = self.dropout(F.avg_pool2d(F.relu(bn(x)), 2))  # (B, C, T // 2, F // 2)
        return x.mean(dim=3).transpose(1, 2)  # (B, d, K, 2) -> (B, d, K) -> (B, K, d)


class StridedBiLstm(nn.Module):
    """A BiLSTM over the input, which a 1-D convolution makes shorter first (section 2.3).

    (batch, frames, bands) -> (batch, frames // stride, d). **Decision**: a kernel of two strides,
    d / 2 channels, ReLU.
    """

    def __init__(self, n_features: int, d: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_features, d // 2, 2 * stride, stride)
        self.pad = (stride // 2, stride - stride // 2)
        self.bilstm = BiLstm(d // 2, d // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Sequence (B, L, d) of features (B, T, F)."""
        x = F.pad(x.transpose(1, 2), self.pad)  # (B, T, F) -> (B, F, T + stride)
        x = F.relu(self.conv(x)).transpose(1, 2)  # (B, d / 2, L) -> (B, L = T // stride, d / 2)
        return self.bilstm(x)


class AttentionAggregate(nn.Module):
    """Equations (9) and (10): the sum of a sequence, weighted by a softmax over its steps."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.w = nn.Linear(d, 1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """Weighted sum (B, d) of the sequence h (B, K, d)."""
        return (self.weights(h) * h).sum(dim=1)  # (10): (B, K, d) -> (B, d)

    def weights(self, h: Tensor) -> Tensor:
        """Weights beta (B, K, 1); each column sums to 1."""
        return torch.softmax(self.w(h), dim=1)  # (9)


class Transformer(nn.Module):
    """One encoder layer that asks ``memory``, averaged over the steps of ``query``.

    Self-attention where both are one sequence. **Decision**: normalisation after each residual sum,
    as in the paper's reference [12]; a cross transformer adds the query's side.
    """

    def __init__(self, config: IltCatConfig) -> None:
        super().__init__()
        d = config.channels[-1]
        self.positional_encoding = config.positional_encoding
        self.attention = MultiHeadAttention(d, config.n_head)
        self.norm1 = nn.LayerNorm(d)
        self.expand = nn.Linear(d, config.n_feedforward)
        self.contract = nn.Linear(config.n_feedforward, d)
        self.norm2 = nn.LayerNorm(d)
        self.dropout = nn.Dropout(config.transformer_dropout)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Let ``query`` (B, K, d) attend to ``memory`` (B, L, d); (B, K, d)."""
        if self.positional_encoding:
            query = query + positional_encoding(query.shape[1], query.shape[2], query.device)
            memory = memory + positional_encoding(memory.shape[1], memory.shape[2], memory.device)
        x = self.norm1(query + self.dropout(self.attention(query, memory)))  # (B, K, d)
        x = self.norm2(x + self.dropout(self.contract(F.relu(self.expand(x)))))
        return x.mean(dim=1)  # (B, K, d) -> (B, d)


class MultiHeadAttention(nn.Module):
    """Equations (1) and (2)."""

    def __init__(self, d: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.query = nn.Linear(d, d)
        self.key = nn.Linear(d, d)
        self.value = nn.Linear(d, d)
        self.out = nn.Linear(d, d)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Attention of ``query`` (B, K, d) over ``memory`` (B, L, d); (B, K, d)."""
        z = self.weights(query, memory) @ self._heads(self.value(memory))  # (1): (B, h, K, d / h)
        return self.out(z.transpose(1, 2).flatten(2))  # (2): (B, h, K, d / h) -> (B, K, d)

    def weights(self, query: Tensor, memory: Tensor) -> Tensor:
        """Attention (B, h, K, L) of K queries over L memories; each row sums to 1."""
        q = self._heads(self.query(query))
        k = self._heads(self.key(memory))
        return torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[3]), dim=3)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.n_head, -1)).transpose(1, 2)  # (B, K, d) -> (B, h, K, d / h)


def positional_encoding(length: int, d: int, device: torch.device | None = None) -> Tensor:
    """Equations (3) and (4): float32 (length, d), sines in the even columns, cosines in the odd."""
    position = torch.arange(length, dtype=torch.float32, device=device).unsqueeze(1)
    even = torch.arange(0, d, 2, dtype=torch.float32, device=device)
    angle = position * torch.exp(even * (-math.log(10000.0) / d))  # pos / 10000^(2i / d)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)  # from (length, d / 2, 2)
