"""Paper 3: Li et al., "An Attention Pooling based Representation Learning Method for SER".

(Interspeech 2018.)
"""

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
N_POOLED = 2  # a max-pool follows conv2 and conv3
POOLINGS = ("attention", "bilinear", "gap")
# Added under the square root of bilinear pooling, whose slope at 0 would be infinite.
SQRT_FLOOR = 1e-8


@dataclass(frozen=True)
class AttentionPoolingConfig:
    """Sizes of the network; the defaults are Figure 1.

    Attributes:
        n_classes: outputs.
        pooling: "gap", "bilinear" or "attention" (the rows of Table 1).
        shapes: filters of conv1, each (height along frequency, width along time).
        channels_per_shape: filters of each shape.
        n_layers: middle layers, conv2 and on; 0 is the filter-shape study of section 3.2, where
            conv1 is pooled at once (one shape, 16 channels, "gap").
    """

    n_classes: int = 4
    pooling: str = "attention"
    shapes: tuple[tuple[int, int], ...] = ((10, 2), (2, 8))
    channels_per_shape: int = 8
    n_layers: int = 4

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ConfigError(
                f"attention_pooling: got pooling = {self.pooling!r}; "
                f"choose from {', '.join(POOLINGS)}"
            )
        if not self.shapes or any(len(s) != 2 or min(s) < 1 for s in self.shapes):
            raise ConfigError(
                f"attention_pooling: got shapes = {self.shapes}; "
                "list pairs of bins and frames, as in [[10, 2], [2, 8]]"
            )
        if self.channels_per_shape < 1:
            raise ConfigError(
                f"attention_pooling: got channels_per_shape = {self.channels_per_shape}; "
                "set it to 1 or more"
            )
        if not 0 <= self.n_layers <= len(CHANNELS):
            raise ConfigError(
                f"attention_pooling: got n_layers = {self.n_layers}; set it to 0 to {len(CHANNELS)}"
            )
        if self.n_classes < 2:
            raise ConfigError(
                f"attention_pooling: got n_classes = {self.n_classes}; name two or more"
            )


class AttentionPooling(nn.Module):
    """CNN over a spectrogram whose last map is pooled into class scores.

    Input: float32 (batch, frames, bins), at least 4 of each. Output: logits (batch, n_classes).
    It costs about 1 GMAC for 200 x 400.
    """

    def __init__(self, config: AttentionPoolingConfig) -> None:
        super().__init__()
        self.config = config
        first = config.channels_per_shape * len(config.shapes)  # 16
        # Height x width as in Figure 1: the 10 of 10 x 2 runs along frequency.
        self.conv1 = nn.ModuleList(
            nn.Conv2d(1, config.channels_per_shape, shape, bias=False) for shape in config.shapes
        )
        self.bn1 = nn.BatchNorm2d(first)
        channels = (first, *CHANNELS[: config.n_layers])
        self.convs = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False) for n_in, n_out in pairwise(channels)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(n) for n in channels[1:])
        self.pool = POOLS[config.pooling](channels[-1], config.n_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, classes) of features (B, T, F)."""
        return self.pool(self.maps(features))

    def maps(self, features: Tensor) -> Tensor:
        """Convolve (B, T, F) features into the last feature map, (B, 80, F // 4, T // 4)."""
        x = features.transpose(1, 2).unsqueeze(1)  # (B, T, F) -> (B, 1, F, T)
        x = torch.cat([_same(conv, x) for conv in self.conv1], dim=1)  # (B, 16, F, T)
        if self.convs:
            # With channels last in memory, training takes two thirds of the time on a CPU.
            x = x.contiguous(memory_format=torch.channels_last)
        x = F.relu(self.bn1(x))
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns, strict=True)):
            x = bn(conv(x))
            if i < N_POOLED:
                x = F.max_pool2d(x, 2)  # before ReLU, with which it commutes: a quarter of the work
            x = F.relu(x)
        return x

    def for_inference(self) -> nn.Module:
        """Return a network with the same logits, batch normalisation folded in."""
        return FoldedAttentionPooling(self)


class GlobalAveragePool(nn.Module):
    """Equation (3), averaged: a linear map of the mean over positions."""

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of the feature map (B, C, H, W)."""
        return self.classify(x.mean(dim=(2, 3)))  # (B, C, H, W) -> (B, C)


class BilinearPool(nn.Module):
    """Section 3.3: X^T X, signed square root, L2 normalisation and a linear map of all C * C."""

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(width * width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of the feature map (B, C, H, W)."""
        x = x.flatten(2).float()  # (B, C, H, W) -> (B, C, P); X of the paper is (P, C)
        if torch.is_autocast_enabled(x.device.type):
            # In half precision the product would be too coarse for the floor below.
            with torch.autocast(x.device.type, enabled=False):
                y = x @ x.transpose(1, 2)
        else:
            y = x @ x.transpose(1, 2)  # X^T X: (B, C, C)
        # Divided by the number of positions, so that the floor means the same for any window.
        y = (y / x.shape[2]).flatten(1)  # (B, C, C) -> (B, C*C)
        # Signed square root, without a step at 0, where rounding would decide.
        y = y.sign() * ((y.abs() + SQRT_FLOOR).sqrt() - SQRT_FLOOR**0.5)
        return self.classify(F.normalize(y, dim=1))


class AttentionPool(nn.Module):
    """Equations (9) and (10): class-specific top-down maps times one bottom-up map, summed.

    The bottom-up map passes a softmax over positions (section 3.3). **Decision**: the product is
    summed as in (10), not averaged as the text says, since that softmax already adds up to 1.
    """

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.top_down = nn.Conv2d(width, n_classes, 1)  # X a_k
        self.bottom_up = nn.Conv2d(width, 1, 1, bias=False)  # X b; a softmax ignores a bias

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of the feature map (B, C, H, W)."""
        top_down = self.top_down(x).flatten(2)  # (B, K, H, W) -> (B, K, P)
        return (top_down * self.weights(x)).sum(dim=2)  # (10): 1^T (X a_k o X b)

    def weights(self, x: Tensor) -> Tensor:
        """Bottom-up attention (B, 1, P) over the positions of (B, C, H, W); each row sums to 1."""
        return torch.softmax(self.bottom_up(x).flatten(2), dim=2)


POOLS: dict[str, type[GlobalAveragePool | BilinearPool | AttentionPool]] = {
    "gap": GlobalAveragePool,
    "bilinear": BilinearPool,
    "attention": AttentionPool,
}


class FoldedAttentionPooling(nn.Module):
    """`AttentionPooling` with batch normalisation folded into the convolution before it."""

    def __init__(self, net: AttentionPooling) -> None:
        super().__init__()
        with torch.no_grad():
            # bn1 runs over the channels of all shapes; each convolution takes its own part of it.
            n = net.config.channels_per_shape
            self.conv1 = nn.ModuleList(
                _folded(conv, _channels(net.bn1, slice(i * n, (i + 1) * n)))
                for i, conv in enumerate(net.conv1)
            )
            self.convs = nn.ModuleList(
                _folded(conv, bn) for conv, bn in zip(net.convs, net.bns, strict=True)
            )
        self.pool = copy.deepcopy(net.pool)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, classes) of features (B, T, F)."""
        x = features.transpose(1, 2).unsqueeze(1)  # (B, T, F) -> (B, 1, F, T)
        x = F.relu(torch.cat([_same(conv, x) for conv in self.conv1], dim=1))
        for i, conv in enumerate(self.convs):
            x = F.relu(conv(x))  # here ReLU comes first: runtimes fuse it with the convolution
            if i < N_POOLED:
                x = F.max_pool2d(x, 2)
        return self.pool(x)


def _same(conv: nn.Module, x: Tensor) -> Tensor:
    """Convolve to the same size; an even kernel gets its extra zero at the end."""
    rows, columns = cast(nn.Conv2d, conv).kernel_size
    return conv(F.pad(x, ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2)))


def _channels(bn: nn.BatchNorm2d, part: slice) -> nn.BatchNorm2d:
    """Copy those channels of ``bn``."""
    out = nn.BatchNorm2d(bn.weight[part].numel(), eps=bn.eps)
    out.load_state_dict({k: v[part] if v.ndim else v for k, v in bn.state_dict().items()})
    return out


def _folded(conv: nn.Module, bn: nn.Module) -> nn.Conv2d:
    """Copy ``conv`` with ``bn`` in it."""
    return fuse_conv_bn_eval(
        cast(nn.Conv2d, copy.deepcopy(conv).eval()), cast(nn.BatchNorm2d, copy.deepcopy(bn).eval())
    )
