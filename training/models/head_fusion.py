"""Paper 1: Xu & Zhang, "Improve Accuracy of SER with Attention Head Fusion" (CCWC 2020)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ser_stream.errors import ConfigError

CHANNELS = (32, 48, 64, 80)
N_POOLED = 2  # a max-pool follows the first two middle layers


@dataclass(frozen=True)
class HeadFusionConfig:
    """Sizes of the network; the defaults are the paper's best (section IV.C).

    Attributes:
        n_classes: outputs.
        n_head: attention maps that are fused.
        n_size: channels of each attention map.
        n_layers: middle convolution layers, conv2 and on (the rows of Table IV).
        attention: False leaves the attention layer out (last row of Table IV).
        dropout: before the classifier; the paper has none.
    """

    n_classes: int = 4
    n_head: int = 4
    n_size: int = 64
    attention: bool = True
    dropout: float = 0.0
    n_layers: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.n_layers <= len(CHANNELS):
            raise ConfigError(
                f"head_fusion: got n_layers = {self.n_layers}; set it to 1 to {len(CHANNELS)}"
            )
        if self.n_classes < 2:
            raise ConfigError(f"head_fusion: got n_classes = {self.n_classes}; name two or more")
        if min(self.n_head, self.n_size) < 1:
            raise ConfigError(
                f"head_fusion: got n_head = {self.n_head} and n_size = {self.n_size}; "
                "both must be at least 1 (`attention = false` leaves the layer out)"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"head_fusion: got dropout = {self.dropout}; need 0 <= dropout < 1")


class HeadFusion(nn.Module):
    """CNN over an MFCC image, self-attention over its positions, heads averaged.

    Input: float32 (batch, frames, coefficients). Output: logits (batch, n_classes).
    """

    def __init__(self, config: HeadFusionConfig) -> None:
        super().__init__()
        self.config = config
        # (10, 2): the 10 runs along frequency, the 2 along time (section III.B).
        self.conv1a = nn.Conv2d(1, 8, (10, 2), bias=False)
        self.conv1b = nn.Conv2d(1, 8, (2, 8), bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        channels = (16, *CHANNELS[: config.n_layers])
        for i, (n_in, n_out) in enumerate(pairwise(channels), start=2):
            # The paper's names, which are also the keys of a checkpoint: conv2, bn2, conv3, ...
            self.add_module(f"conv{i}", nn.Conv2d(n_in, n_out, 3, padding=1, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(n_out))
        width = channels[-1]  # 80 with all four
        n = config.n_head * config.n_size
        if config.attention:
            self.key = nn.Linear(width, n)
            self.query = nn.Linear(width, n)
            self.value = nn.Linear(width, n)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.n_size if config.attention else width, config.n_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, classes) of features (B, T, F)."""
        x = self.positions(features)  # (B, P, C)
        pooled = self.fuse(x) if self.config.attention else x.mean(dim=1)
        return self.classify(self.dropout(pooled))

    def positions(self, features: Tensor) -> Tensor:
        """Convolve (B, T, F) features into (B, P, C): one vector per position of the last map.

        With all four layers C = 80 and P = (F // 4) * (T // 4).
        """
        x = features.transpose(1, 2).unsqueeze(1)  # (B, T, F) -> (B, 1, F, T)
        a = self.conv1a(F.pad(x, (0, 1, 4, 5)))  # same size: (B, 8, F, T)
        b = self.conv1b(F.pad(x, (3, 4, 0, 1)))
        x = F.relu(self.bn1(torch.cat([a, b], dim=1)))  # (B, 16, F, T)
        for i, (conv, bn) in enumerate(self.middle()):
            x = F.relu(bn(conv(x)))  # (B, 32, F, T), (B, 48, F // 2, T // 2), ...
            if i < N_POOLED:
                x = F.max_pool2d(x, 2)
        return x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, P = H*W, C)

    def middle(self) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
        """Convolutions after the first, each with its batch normalisation."""
        numbers = range(2, 2 + self.config.n_layers)
        return [
            (
                cast(nn.Conv2d, self.get_submodule(f"conv{i}")),
                cast(nn.BatchNorm2d, self.get_submodule(f"bn{i}")),
            )
            for i in numbers
        ]

    def fuse(self, x: Tensor) -> Tensor:
        """Equations (1) to (3) and the global average pool, (B, P, C) -> (B, n_size).

        The mean over positions p of ``sum_q A[p, q] V[q]`` is ``sum_q a[q] V[q]`` with
        ``a[q] = mean_p A[p, q]``; each a sums to 1, so V's affine map can be applied to the one
        pooled vector instead of to every position: the same value for a fraction of the work.
        """
        c = self.config
        k = self._heads(self.key(x))  # (B, n_head, P, n_size)
        q = self._heads(self.query(x))
        attention = torch.softmax(k @ q.transpose(2, 3), dim=-1)  # (2): (B, n_head, P, P)
        a = attention.mean(dim=2)  # (B, n_head, P)
        pooled = a @ x  # (B, n_head, C)
        weight = self.value.weight.view(c.n_head, c.n_size, -1)
        bias = self.value.bias.view(c.n_head, c.n_size)
        v = torch.matmul(weight, pooled.unsqueeze(-1)).squeeze(-1) + bias  # (B, n_head, n_size)
        return v.mean(dim=1)  # (3)

    def for_inference(self) -> nn.Module:
        """Return a network with the same logits and less to compute; see `FoldedHeadFusion`."""
        return FoldedHeadFusion(self) if self.config.attention else self

    def _heads(self, x: Tensor) -> Tensor:
        c = self.config
        return x.unflatten(2, (c.n_head, c.n_size)).transpose(1, 2)


class FoldedHeadFusion(nn.Module):
    """`HeadFusion` rearranged for inference; every step is an identity, not an approximation.

    - Batch normalisation is an affine map per channel and goes into the convolution before it.
    - conv1a and conv1b become one convolution whose kernels are theirs, padded with zeros.
    - 2x2 max-pooling drops an odd last row or column, so it is not computed before.
    - K Q^T = (x W_k + b_k)(x W_q + b_q)^T. Terms that are the same for all q cancel in the softmax
      over q, so K Q^T may be replaced by (x M + u) x^T with M = W_k W_q^T, u = W_q b_k.
    - Value map, mean over heads and classifier are affine: one matrix G, applied after pooling.
    """

    m: Tensor
    u: Tensor

    def __init__(self, net: HeadFusion) -> None:
        super().__init__()
        c = net.config
        with torch.no_grad():
            first = torch.zeros(16, 1, 10, 8)
            first[:8, :, :, 3:5] = net.conv1a.weight
            first[8:, :, 4:6, :] = net.conv1b.weight
            self.conv1 = _folded(first, net.bn1)
            self.middle = nn.ModuleList(_folded(conv.weight, bn) for conv, bn in net.middle())
            key, query, value = (
                layer.weight.view(c.n_head, c.n_size, -1)
                for layer in (net.key, net.query, net.value)
            )
            self.register_buffer("m", key.transpose(1, 2) @ query)  # (n_head, C, C)
            bias = net.key.bias.view(c.n_head, 1, c.n_size)
            self.register_buffer("u", bias @ query)  # (n_head, 1, C)
            last = net.classify.weight / c.n_head  # (classes, n_size)
            self.classify = nn.Linear(c.n_head * value.shape[2], c.n_classes)
            self.classify.weight.copy_(torch.cat([last @ v for v in value], dim=1))
            value_bias = net.value.bias.view(c.n_head, c.n_size)
            self.classify.bias.copy_(net.classify.bias + (last @ value_bias.T).sum(dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, classes) of features (B, T, F)."""
        x = features.transpose(1, 2).unsqueeze(1)  # (B, T, F) -> (B, 1, F, T)
        x = F.relu(self.conv1(F.pad(x, (3, 4, 4, 5))))
        for i, conv in enumerate(self.middle):
            if i < N_POOLED:
                x = F.max_pool2d(F.relu(conv(_pad_to_even(x))), 2)
            else:
                x = F.relu(conv(F.pad(x, (1, 1, 1, 1))))
        x = x.flatten(2).unsqueeze(1)  # (B, C, H, W) -> (B, 1, C, P)
        y = x.transpose(2, 3)  # (B, 1, P, C)
        attention = torch.softmax((y @ self.m + self.u) @ x, dim=-1)  # (B, n_head, P, P)
        pooled = attention.mean(dim=2, keepdim=True) @ y  # (B, n_head, 1, C)
        return self.classify(pooled.flatten(1))


def _folded(weight: Tensor, bn: nn.BatchNorm2d) -> nn.Conv2d:
    """Convolution with ``bn`` in it; the caller pads."""
    out, into, rows, columns = weight.shape
    conv = nn.Conv2d(into, out, (rows, columns), bias=False)
    conv.weight.copy_(weight)
    return fuse_conv_bn_eval(conv.eval(), copy.deepcopy(bn).eval())


def _pad_to_even(x: Tensor) -> Tensor:
    """Pad for a 3x3 convolution whose odd last row and column would not be pooled."""
    return F.pad(x, (1, 1 - x.shape[3] % 2, 1, 1 - x.shape[2] % 2))
