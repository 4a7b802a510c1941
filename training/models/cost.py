"""What a network costs: its parameters and its multiply-adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(net: nn.Module) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in net.parameters())


def multiply_adds(net: nn.Module, example_inputs: Tensor | Sequence[Tensor], **more: Tensor) -> int:
    """Count the multiply-adds of one window.

    Convolutions, matrix products and LSTMs count; element-wise work, sums and pooling do not.

    Args:
        net: any network.
        example_inputs: its inputs (batch, ...), or its only one.
        **more: inputs by name.
    """
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    counter = FlopCounterMode(display=False)
    lstms = _LstmCounter(counter)
    handles = [
        handle
        for module in net.modules()
        if isinstance(module, nn.LSTM)
        for handle in (
            module.register_forward_pre_hook(lstms.enter),
            module.register_forward_hook(lstms.leave),
        )
    ]
    training = net.training
    try:
        net.eval()
        with torch.no_grad(), counter:
            net(*inputs, **more)
    finally:
        net.train(training)
        for handle in handles:
            handle.remove()
    flops = counter.get_total_flops() - lstms.seen
    return (flops // 2 + lstms.multiply_adds) // inputs[0].shape[0]


class _LstmCounter:
    """Counts LSTMs by formula: whether PyTorch's counter sees them depends on the kernel in use."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self._counter = counter
        self._before = 0
        self.seen = 0
        self.multiply_adds = 0

    def enter(self, module: nn.Module, args: Any) -> None:
        self._before = self._counter.get_total_flops()

    def leave(self, module: nn.LSTM, args: Any, output: Any) -> None:
        self.seen += self._counter.get_total_flops() - self._before
        x = args[0]
        steps = x.data.shape[0] if isinstance(x, PackedSequence) else x.shape[0] * x.shape[1]
        h = module.hidden_size
        directions = 2 if module.bidirectional else 1
        n_in = module.input_size
        for _ in range(module.num_layers):
            # Four gates, each of the input and of the state before.
            self.multiply_adds += steps * directions * 4 * h * (n_in + h)
            n_in = directions * h
