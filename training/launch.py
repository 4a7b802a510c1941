"""Where a run computes: device, precision, and the processes that torchrun started."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from datetime import timedelta

import torch

from ser_stream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Launch:
    """Device and precision of this process.

    Attributes:
        device: where the network runs.
        precision: "fp32", or "bf16" for forward passes in bfloat16 where that is safe.
        rank: this process among ``world_size``.
        world_size: processes that share each batch; 1 without torchrun.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    rank: int = 0
    world_size: int = 1


def launch(device: str = "auto", precision: str = "auto") -> Launch:
    """Read what torchrun set, if it did, and choose device and precision.

    Args:
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        precision: "auto" (bf16 on a GPU that has it, else fp32), "fp32" or "bf16".

    Raises:
        ConfigError: another word, or a GPU that is not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device {device}: want auto, cpu or cuda")
    if precision not in ("auto", "fp32", "bf16"):
        raise ConfigError(f"--precision {precision}: want auto, fp32 or bf16")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch finds no GPU here")
    cuda = device != "cpu" and torch.cuda.is_available()
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    where = torch.device("cpu")
    if cuda:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        where = torch.device("cuda", local)
        torch.cuda.set_device(where)
    if world_size > 1 and not torch.distributed.is_initialized():
        # The first optimiser imports this. A group that is there by then is kept, threads and all,
        # until the interpreter ends, which now and then aborts a process whose work is done.
        importlib.import_module("torch._dynamo")
        # The first process may compute features for hours while the others wait.
        torch.distributed.init_process_group(
            "nccl" if cuda else "gloo", timeout=timedelta(hours=12)
        )
    if precision == "auto":
        fast = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if fast else "fp32"
    return Launch(where, precision, rank, world_size)


def from_first(values: tuple[float, ...], launch: Launch) -> tuple[float, ...]:
    """What the first process has for ``values``, in all of them."""
    if launch.world_size == 1:
        return values
    shared = torch.tensor(values, dtype=torch.float64, device=launch.device)
    torch.distributed.broadcast(shared, 0)
    return tuple(shared.tolist())


def mean_over_all(value: float, launch: Launch) -> float:
    """Mean of ``value`` over all processes."""
    if launch.world_size == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=launch.device)
    torch.distributed.all_reduce(shared)
    return float(shared.item()) / launch.world_size


def wait_for_all() -> None:
    """Wait until every process of torchrun is here; returns at once without it."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def finish() -> None:
    """Leave the group that `launch` joined, if it did."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
