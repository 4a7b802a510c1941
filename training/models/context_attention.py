"""Paper 5: Ramet et al., "Context-aware Attention Mechanism for Speech Emotion Recognition".

(SLT 2018.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ser_stream.errors import ConfigError


@dataclass(frozen=True)
class ContextAttentionConfig:
    """Sizes of the network (sections 2 and 3).

    Attributes:
        n_classes: outputs.
        n_features: low-level descriptors per frame.
        n_hidden: width of each of the three fully connected layers.
        n_lstm: units of the BiLSTM per direction.
        pooling: "mean", "zhou", "yang" or "bilstm" (the proposal): the rows of Table 1.
        n_attention: width of the attention model: the fully connected layer of "yang", both
            directions of the BiLSTM of "bilstm". **Decision**: that of H, 256.
        dropout: after every layer but the attention.
    """

    n_classes: int = 4
    n_features: int = 32
    n_hidden: int = 256
    n_lstm: int = 128
    pooling: str = "bilstm"
    n_attention: int = 256
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ConfigError(
                f"context_attention: got pooling = {self.pooling!r}; "
                f"choose from {', '.join(POOLINGS)}"
            )
        if min(self.n_features, self.n_hidden, self.n_lstm, self.n_attention) < 1:
            raise ConfigError(
                f"context_attention: a width is too small in {self}; use positive widths"
            )
        if self.n_attention % 2:
            raise ConfigError(
                f"context_attention: got n_attention = {self.n_attention}; it must be even, "
                "half for each direction"
            )
        if self.n_classes < 2:
            raise ConfigError(
                f"context_attention: got n_classes = {self.n_classes}; name two or more"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(
                f"context_attention: got dropout = {self.dropout}; need 0 <= dropout < 1"
            )


class ContextAttention(nn.Module):
    """Fully connected layers and a BiLSTM over frames, pooled by an attention over time.

    Input: float32 (batch, frames, n_features) and int64 (batch,) valid frames (None: all of them).
    Output: logits (batch, n_classes).
    """

    def __init__(self, config: ContextAttentionConfig) -> None:
        super().__init__()
        self.config = config
        n = config.n_hidden
        self.fc1 = nn.Linear(config.n_features, n)
        self.fc2 = nn.Linear(n, n)
        self.fc3 = nn.Linear(n, n)
        self.bilstm = BiLstm(n, config.n_lstm)
        self.dropout = nn.Dropout(config.dropout)
        self.pool = POOLINGS[config.pooling](2 * config.n_lstm, config.n_attention)
        self.classify = nn.Linear(2 * config.n_lstm, config.n_classes)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (B, classes) of features (B, T, F), of which the first ``lengths`` (B,) count."""
        h = self.states(features, lengths)  # (B, T, 256)
        valid = None
        if lengths is not None:
            frames = torch.arange(h.shape[1], device=h.device)
            valid = frames < lengths.to(h.device).unsqueeze(1)  # (B, T)
        return self.classify(self.pool(h, lengths, valid))

    def states(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute H, (B, T, F) -> (B, T, 2 * n_lstm)."""
        x = features
        for fc in (self.fc1, self.fc2, self.fc3):
            x = self.dropout(F.relu(fc(x)))  # (B, T, n_hidden)
        return self.dropout(self.bilstm(x, lengths))


class BiLstm(nn.Module):
    """Equations (5) to (9) in both directions, (batch, T, n_in) -> (batch, T, 2 * n_out).

    Padding after ``lengths`` is not seen.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_in, n_out, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """States (B, T, 2 * n_out) of x (B, T, n_in); zeros after ``lengths`` (B,)."""
        if lengths is not None:
            packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            return pad_packed_sequence(self.lstm(packed)[0], True, total_length=x.shape[1])[0]
        if torch.onnx.is_in_onnx_export():
            return self._onnx(x)
        return self.lstm(x)[0]

    def _onnx(self, x: Tensor) -> Tensor:
        """Write ONNX's own operator.

        PyTorch would unroll the LSTM while it traces: a minute for 500 frames, and no other number
        of frames after that.
        """
        n = self.lstm.hidden_size
        w, r, b_w, b_r = (
            torch.stack([_onnx_gates(weights[i]) for weights in self.lstm.all_weights])
            for i in range(4)
        )  # (2, 4n, n_in), (2, 4n, n), (2, 4n), (2, 4n)
        h = torch.onnx.ops.symbolic(
            "LSTM",
            (x.transpose(0, 1), w, r, torch.cat([b_w, b_r], dim=1)),
            attrs={"hidden_size": n, "direction": "bidirectional"},
            dtype=x.dtype,
            shape=(x.shape[1], 2, x.shape[0], n),
            version=14,
        )
        return h.permute(2, 0, 1, 3).flatten(2)  # (T, 2, B, n) -> (B, T, 2, n) -> (B, T, 2n)


def _onnx_gates(weight: Tensor) -> Tensor:
    """Reorder the gates: input, forget, cell, output here; input, output, forget, cell there."""
    n = weight.shape[0] // 4
    i, f, c, o = (weight[k * n : (k + 1) * n] for k in range(4))
    return torch.cat([i, o, f, c])


class MeanPool(nn.Module):
    """The baseline: every valid frame has the same weight."""

    def __init__(self, width: int, n_attention: int) -> None:
        super().__init__()

    def forward(self, h: Tensor, lengths: Tensor | None, valid: Tensor | None) -> Tensor:
        """Weighted sum (B, C) of the states h (B, T, C)."""
        return (h * self.weights(h, lengths, valid)).sum(dim=1)  # (B, T, C) -> (B, C)

    def weights(self, h: Tensor, lengths: Tensor | None, valid: Tensor | None) -> Tensor:
        """Weights (B, T, 1) of the frames; 0 for those that are not valid."""
        one = torch.ones_like(h[:, :, :1])
        return _masked(one, valid, 0.0) / _n_frames(h, lengths)


class ZhouPool(MeanPool):
    """Equations (1) to (4): one vector w, R = H softmax(w^T H)^T."""

    def __init__(self, width: int, n_attention: int) -> None:
        super().__init__(width, n_attention)
        self.w = nn.Linear(width, 1, bias=False)  # a softmax ignores a bias

    def weights(self, h: Tensor, lengths: Tensor | None, valid: Tensor | None) -> Tensor:
        """Weights (B, T, 1) of the states h (B, T, C)."""
        m = self.w(h)  # (1): (B, T, 1)
        return torch.softmax(_masked(m, valid, -torch.inf), dim=1)  # (3), (4)


class YangPool(ZhouPool):
    """The same over tanh(FC(H)), softmax(w^T tanh(FC(H)))."""

    def __init__(self, width: int, n_attention: int) -> None:
        super().__init__(n_attention, n_attention)
        self.fc = nn.Linear(width, n_attention)

    def weights(self, h: Tensor, lengths: Tensor | None, valid: Tensor | None) -> Tensor:
        """Weights (B, T, 1) of the states h (B, T, C)."""
        return super().weights(torch.tanh(self.fc(h)), lengths, valid)


class BiLstmPool(MeanPool):
    """The proposal: a second BiLSTM and a sigmoid, alpha = sigmoid(w^T BiLSTM(H)), R = H alpha^T.

    **Decision**: R is divided by the number of valid frames, so that its size does not depend on
    the length of the window.
    """

    def __init__(self, width: int, n_attention: int) -> None:
        super().__init__(width, n_attention)
        self.bilstm = BiLstm(width, n_attention // 2)
        self.w = nn.Linear(n_attention, 1, bias=False)

    def weights(self, h: Tensor, lengths: Tensor | None, valid: Tensor | None) -> Tensor:
        """Weights (B, T, 1) of the states h (B, T, C)."""
        alpha = torch.sigmoid(self.w(self.bilstm(h, lengths)))  # (B, T, 1)
        return _masked(alpha, valid, 0.0) / _n_frames(h, lengths)


POOLINGS: dict[str, type[MeanPool]] = {
    "mean": MeanPool,
    "zhou": ZhouPool,
    "yang": YangPool,
    "bilstm": BiLstmPool,
}


def _masked(x: Tensor, valid: Tensor | None, value: float) -> Tensor:
    """Put ``value`` into (B, T, 1) where a frame is not valid."""
    return x if valid is None else x.masked_fill(~valid.unsqueeze(2), value)


def _n_frames(h: Tensor, lengths: Tensor | None) -> Tensor | int:
    return h.shape[1] if lengths is None else lengths.to(h.device).view(-1, 1, 1)
